# SPDX-License-Identifier: MIT
"""Child processes: started in the test worker's process group, ended by pid, none left behind."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def gateway_binary():
    override = os.environ.get("KAMIYO_GATEWAY")
    if override:
        return Path(override)
    return ROOT / "build" / os.environ.get("KAMIYO_PRESET", "debug") / "kamiyo-gateway"


def is_sanitized():
    return os.environ.get("KAMIYO_PRESET", "debug") in ("asan", "tsan")


FIRST_PORT, BLOCK, BLOCKS = 13000, 200, 90  # below the kernel's range for outgoing connections


class PortBlock:
    """Ports that are this process's alone, as long as it lives.

    A block is claimed by an abstract unix socket of its number: the kernel gives a name to one process in the network
    namespace and takes it back when that one ends, so that suites side by side, even in different roots, never meet.
    """

    def __init__(self):
        self.turn = 0
        self.claim = socket.socket(socket.AF_UNIX)
        start = random.randrange(BLOCKS)
        for number in range(start, start + BLOCKS):
            try:
                self.claim.bind(f"\0kamiyo-functional-ports-{number % BLOCKS}")
            except OSError:
                continue
            self.first = FIRST_PORT + number % BLOCKS * BLOCK
            return
        raise RuntimeError("every block of ports is claimed")

    def next(self):
        """The one whose last use is longest ago and on which nobody listens."""
        for _ in range(BLOCK):
            port = self.first + self.turn % BLOCK
            self.turn += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise RuntimeError("no free port")


def free_port():
    """A port of 127.0.0.1 nobody listens on, and that no other test is given meanwhile."""
    if not hasattr(free_port, "block"):
        free_port.block = PortBlock()
    return free_port.block.next()


class Process:
    """One child with its output in files."""

    def __init__(self, arguments, directory, name, env=None, pass_fds=(), preexec=None):
        self.stdout_path = Path(directory) / f"{name}.out"
        self.stderr_path = Path(directory) / f"{name}.err"
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.child = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                pass_fds=pass_fds,
                preexec_fn=preexec,
            )
        self.pid = self.child.pid

    @property
    def returncode(self):
        return self.child.poll()

    def signal(self, number):
        if self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, seconds):
        """The exit status, or None when it still runs after that long."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.kill()
        self.child.wait()

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    # What /proc says about it.

    def status_kib(self, field):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise KeyError(field)

    def rss_bytes(self):
        return self.status_kib("VmRSS") * 1024

    def peak_rss_bytes(self):
        return self.status_kib("VmHWM") * 1024

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_port(port, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False

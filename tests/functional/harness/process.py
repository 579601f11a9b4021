# SPDX-License-Identifier: MIT
"""Child processes: started in the test worker's process group, ended by pid, none left behind."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

from harness.wait import PATIENCE, eventually, until

ROOT = Path(__file__).resolve().parents[3]


def gateway_binary():
    override = os.environ.get("KAMIYO_GATEWAY")
    if override:
        return Path(override)
    return ROOT / "build" / os.environ.get("KAMIYO_PRESET", "debug") / "kamiyo-gateway"


def is_sanitized():
    return os.environ.get("KAMIYO_PRESET", "debug") in ("asan", "tsan")


BLOCK = 200


def port_blocks():
    """First ports of blocks outside the kernel's range for outgoing connections, which may take any port of that
    range at any time: one that was closed a moment ago, for another to be refused there or to listen again."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = map(int, file.read().split())
    everywhere = range(13000, 65400, BLOCK)
    return [first for first in everywhere if first + BLOCK <= low or first > high] or list(everywhere)


class PortBlock:
    """Ports that are this process's alone, as long as it lives.

    A block is claimed by an abstract unix socket of its number: the kernel gives a name to one process in the network
    namespace and takes it back when that one ends, so that suites side by side, even in different roots, never meet.
    """

    def __init__(self):
        self.turn = 0
        self.claim = socket.socket(socket.AF_UNIX)
        blocks = port_blocks()
        for first in random.sample(blocks, len(blocks)):
            try:
                self.claim.bind(f"\0kamiyo-functional-ports-{first}")
            except OSError:
                continue
            self.first = first
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

    def pause(self):
        """SIGSTOP, and waits until it has: each thread stops a moment after the signal."""
        self.signal(signal.SIGSTOP)

        def is_stopped():
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{self.pid}/task").iterdir()]
            return set(states) == {"T"}

        eventually(is_stopped, "it does not stop")

    def wait_at_rest(self):
        """Until each thread has slept once: what it was at, the counts after an answer for one, is done."""
        busy = set(Path(f"/proc/{self.pid}/task").iterdir())

        def all_slept():
            for task in list(busy):
                try:
                    if (task / "stat").read_text().rpartition(")")[2].split()[0] != "R":
                        busy.discard(task)
                except OSError:
                    busy.discard(task)  # it has ended
            return not busy

        until(all_slept, interval=0.001)

    def resume(self):
        self.signal(signal.SIGCONT)

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


def wait_for_port(port, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False

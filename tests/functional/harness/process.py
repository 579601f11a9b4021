# SPDX-License-Identifier: MIT
"""Child processes: started in the test worker's process group, ended by pid, none left behind."""

import os
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


def free_port():
    """A port of 127.0.0.1 nobody listens on, outside the kernel's range for outgoing connections.

    Each test worker has a range of its own (KAMIYO_TEST_SLOT), so that two never pick the same.
    """
    slot = int(os.environ.get("KAMIYO_TEST_SLOT", "0"))
    first, count = 10400 + slot * 600, 600
    for _ in range(count):
        free_port.turn = getattr(free_port, "turn", os.getpid() % count) + 1
        port = first + free_port.turn % count
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


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

# SPDX-License-Identifier: MIT
"""`kamiyo-gateway top`: lines where stdout is no terminal, a screen in one, and the terminal as it was afterwards."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

from harness import eventually, timeout
from harness.message import request
from harness.process import free_port, gateway_binary
from harness.wait import PATIENCE

LIMITED = {"allow": [], "tiers": {"anonymous": {"hour": 2}}}
ENVIRONMENT = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z requests [\d.]+/s, limited [\d.]+/s, 99 % within (-|[\d.]+ (us|ms|s)), "
                  r"connections \d+, store memory(, most limited ip:127\.0\.0\.1 \d+)?\Z")


def top(gateway, *arguments, env=None):
    command = [gateway_binary(), "top", "--config", gateway.config_path, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE, env={**ENVIRONMENT, **(env or {})}, check=False)


def spend(gateway, count):
    client = gateway.client()
    for _ in range(count):
        client.exchange(request("GET", "/"))
    client.close()


@timeout(120)
def test_lines_where_stdout_is_no_terminal(t):
    gateway, upstream = t.pair(LIMITED)
    spend(gateway, 9)
    done = top(gateway, "--count", "2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(LINE.match(line) for line in lines), done.stdout
    assert lines[0].endswith("most limited ip:127.0.0.1 7") and "\033" not in done.stdout


@timeout(120)
def test_what_is_wrong_is_told(t):
    gateway, upstream = t.pair({"admin": {"token": "sesame"}})
    nobody = top(gateway, "--admin", f"127.0.0.1:{free_port()}")
    assert nobody.returncode == 1 and "nothing listens on 127.0.0.1:" in nobody.stderr and nobody.stdout == ""
    assert top(gateway, "--count", "1").returncode == 0
    other = top(gateway, env={"ADMIN_TOKEN": "other"})
    assert other.returncode == 1 and "refuses the admin token" in other.stderr
    assert top(gateway, "--count", "0").returncode == 2
    assert top(gateway, "word").returncode == 2
    help_text = top(gateway, "--help")
    assert help_text.returncode == 0 and "--admin" in help_text.stdout


@timeout(120)
def test_a_reader_that_leaves_ends_it(t):
    gateway, upstream = t.pair()
    process = subprocess.Popen([gateway_binary(), "top", "--config", gateway.config_path], stdout=subprocess.PIPE, env=ENVIRONMENT)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE) == 0


class Screen:
    """`top` in a terminal of its own, and what it has written there."""

    def __init__(self, gateway, columns=100, rows=30, env=None):
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        command = [gateway_binary(), "top", "--config", gateway.config_path]
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={**ENVIRONMENT, **(env or {})})
        self.written = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0)[0]:
            self.written += os.read(self.master, 65536).decode()
        return self.written

    def frame(self):
        """The lines of the last whole frame, without escapes."""
        frames = self.read().split("\033[H")
        whole = [frame for frame in frames[1:] if "q quits" in frame]
        return [re.sub(r"\033\[[0-9;?]*[a-zA-Z]", "", line.rstrip("\r")) for line in whole[-1].split("\n")] if whole else []

    def wait(self, text):
        eventually(lambda: any(text in line for line in self.frame()), lambda: f"no {text!r} in {self.frame()}")
        return self.frame()

    def press(self, keys):
        os.write(self.master, keys)

    def end(self, status=0):
        eventually(lambda: self.read() and self.process.poll() is not None, "top does not end")
        self.read()  # what it wrote between the two
        assert self.process.returncode == status, self.written[-500:]
        assert self.written.endswith("\033[?25h\033[?1049l"), self.written[-200:]
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)


@timeout(120)
def test_screen(t):
    gateway, upstream = t.pair({**LIMITED, "workers": 2})
    screen = Screen(gateway)
    lines = screen.wait("live")
    assert screen.written.startswith("\033[?1049h\033[?25l")
    assert lines[1] == "No Redis configured: this gateway decides alone"
    spend(gateway, 9)
    (line,) = [line for line in screen.wait("ip:127.0.0.1") if "ip:127.0.0.1" in line and "anonymous" in line]
    assert line.split() == ["ip:127.0.0.1", "7", "anonymous", "default", "hour"]
    assert "\033[1m" in screen.written
    changed = termios.tcgetattr(screen.slave)
    assert not changed[3] & (termios.ICANON | termios.ECHO)
    # Smaller: nothing is wider or longer than the terminal.
    screen.resize(40, 12)
    screen.written = ""
    os.kill(screen.process.pid, signal.SIGWINCH)

    def fits():  # one from before the resize may come first
        frame = screen.frame()
        return frame and len(frame) <= 12 and max(map(len, frame)) <= 40

    eventually(fits, lambda: f"no frame that fits: {screen.frame()}")
    screen.press(b"x\x1b[A")
    screen.press(b"q")
    screen.end()


@timeout(120)
def test_screen_is_left_by_signals(t):
    gateway, upstream = t.pair()
    for leave in (lambda screen: screen.press(b"\x03"), lambda screen: screen.process.send_signal(signal.SIGTERM),
                  lambda screen: screen.process.send_signal(signal.SIGHUP)):
        screen = Screen(gateway)
        screen.wait("live")
        leave(screen)
        screen.end()


@timeout(120)
def test_no_color(t):
    gateway, upstream = t.pair()
    screen = Screen(gateway, env={"NO_COLOR": "1", "LC_ALL": "C"})
    screen.wait("Requests")
    assert not re.search(r"\033\[[0-9;]*m", screen.written) and screen.written.isascii()
    screen.press(b"q")
    screen.end()


@timeout(120)
def test_screen_comes_back_after_a_restart(t):
    gateway, upstream = t.pair()
    screen = Screen(gateway)
    screen.wait("live")
    gateway.terminate()
    assert gateway.process.wait(PATIENCE) == 0
    screen.wait("connection lost, trying again")
    gateway.start()
    screen.written = ""
    screen.wait("live")
    screen.press(b"q")
    screen.end()

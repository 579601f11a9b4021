# SPDX-License-Identifier: MIT
"""A socket with a buffer and a record of every byte that came."""

import array
import fcntl
import select
import socket
import struct
import termios
import time

from harness.wait import PATIENCE, eventually


class Closed(Exception):
    """The peer closed (or reset) before what was asked for had come; `partial` is what did."""

    def __init__(self, partial, reset=False):
        super().__init__(f"closed{' by reset' if reset else ''} after {bytes(partial)[:200]!r}")
        self.partial = bytes(partial)
        self.reset = reset


class Silent(Exception):
    """Nothing (more) came in time."""

    def __init__(self, partial):
        super().__init__(f"nothing more came after {bytes(partial)[:200]!r}")
        self.partial = bytes(partial)


class Wire:
    def __init__(self, sock, timeout=PATIENCE, record=True):
        self.sock = sock
        self.sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.received = bytearray()
        self.received_count = 0
        self.record = record
        self.ended = False
        self.was_reset = False

    def fileno(self):
        return self.sock.fileno()

    # Sending.

    def send(self, data, timeout=None):
        """Sends all of it. Closed when the peer has reset, Silent when it does not take it."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        view = memoryview(data)
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while view:
            try:
                view = view[self.sock.send(view) :]
                continue
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                raise Closed(b"", True) from None
            self._wait(write=True, end=end, partial=b"(sending)")

    def send_available(self, data):
        """Sends what fits now; the number of bytes taken."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            raise Closed(b"", True)

    def send_while_taken(self, data, most, seconds=0.5):
        """Sends it again and again until nothing is taken for so long; the number of bytes taken, `most` at most."""
        sent, since = 0, time.monotonic()
        while time.monotonic() - since < seconds and sent < most:
            count = self.send_available(data[sent % len(data) :])
            sent += count
            if count:
                since = time.monotonic()
            else:
                time.sleep(0.01)
        return sent

    def send_slowly(self, data, pause=0.001, size=1):
        for start in range(0, len(data), size):
            self.send(data[start : start + size])
            time.sleep(pause)

    def wait_delivered(self):
        """Until the peer's kernel has all that was sent, whether or not the peer has read it."""

        def unacknowledged():
            count = array.array("i", [0])
            fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, count)
            return count[0]

        eventually(lambda: unacknowledged() == 0, "what was sent is not taken by the peer's kernel")

    # Receiving.

    def _wait(self, write, end, partial):
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT if write else select.POLLIN)
        left = end - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise Silent(partial)

    def _pull(self, end, want=65536):
        """One receive into the buffer; False at the end of the stream."""
        while not self.ended:
            try:
                data = self.sock.recv(want)
            except (BlockingIOError, InterruptedError):
                data = None
            except OSError:
                self.ended = self.was_reset = True
                return False
            if data is None:
                self._wait(False, end, self.buffer)
                continue
            if not data:
                self.ended = True
                return False
            self.received_count += len(data)
            if self.record:
                self.received += data
            self.buffer += data
            return True
        return False

    def _end(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def take(self, count):
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_until(self, mark, limit=1 << 20, timeout=None):
        end, start = self._end(timeout), 0
        while True:
            at = self.buffer.find(mark, max(0, start - len(mark)))
            if at >= 0:
                return self.take(at + len(mark))
            start = len(self.buffer)
            if start > limit:
                raise AssertionError(f"no {mark!r} within {limit} bytes")
            if not self._pull(end):
                raise Closed(self.take(len(self.buffer)), self.was_reset)

    def read_exact(self, count, timeout=None):
        end = self._end(timeout)
        while len(self.buffer) < count:
            if not self._pull(end, max(65536, min(count - len(self.buffer), 1 << 20))):
                raise Closed(self.take(len(self.buffer)), self.was_reset)
        return self.take(count)

    def read_some(self, timeout=None):
        """What there is, waiting for at least a byte; b"" at the end of the stream."""
        if not self.buffer:
            self._pull(self._end(timeout))
        return self.take(len(self.buffer))

    def skip(self, count, timeout=None):
        """Reads and forgets that many bytes, in bounded memory."""
        end = self._end(timeout)
        while count:
            if not self.buffer and not self._pull(end, 1 << 18):
                raise Closed(b"", self.was_reset)
            count -= len(self.take(min(count, len(self.buffer))))

    def rest(self, timeout=None):
        """Everything up to the end of the stream."""
        end = self._end(timeout)
        while self._pull(end):
            pass
        return self.take(len(self.buffer))

    def is_closed(self, timeout=None):
        """True when the stream ends within the time and nothing more came on it."""
        try:
            return self.rest(timeout) == b""
        except Silent:
            return False

    def is_silent(self, seconds=0.2):
        """True when for so long neither a byte nor the end comes."""
        if self.buffer or self.ended:
            return False
        try:
            self._pull(time.monotonic() + seconds)
        except Silent:
            return True
        return False

    # Ending.

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.sock.close()

# SPDX-License-Identifier: MIT
"""A raw HTTP client: sends exactly the bytes it is given, reads answers strictly."""

import socket

from harness.message import parse_response_head, read_chunked
from harness.wait import PATIENCE, eventually
from harness.wire import Closed, Silent, Wire


class Client(Wire):
    """One connection to the gateway."""

    def __init__(self, address, timeout=PATIENCE, receive_buffer=None, source=None, record=True):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect(address)
        super().__init__(sock, timeout, record)

    def wait_read(self):
        """Until the gateway has accepted the connection and read all that was sent: from here on it comes first."""
        self.wait_delivered()
        ends = ["%08X:%04X" % (int.from_bytes(socket.inet_aton(host), "little"), port) for host, port in (self.sock.getpeername(), self.sock.getsockname())]

        def unread():
            with open("/proc/net/tcp") as table:
                for row in map(str.split, table):
                    if row[1:3] == ends:
                        return int(row[4].split(":")[1], 16)
            raise AssertionError("the gateway's end of the connection is gone")

        eventually(lambda: unread() == 0, "the gateway does not read what was sent")

    def head(self, method="GET", timeout=None):
        """The next head, interim ones included, without what follows it."""
        try:
            raw = self.read_until(b"\r\n\r\n", timeout=timeout)
        except Closed as error:
            raise AssertionError(f"closed{' by RST' if error.reset else ''} before a whole head, got {error.partial!r}") from None
        except Silent as error:
            raise AssertionError(f"no whole head in time, got {error.partial!r}") from None
        return parse_response_head(raw, method)

    def response(self, method="GET", timeout=None, keep=True):
        """The next final answer with its body. `complete` is False when the body was cut short."""
        interim = []
        while True:
            message = self.head(method, timeout)
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        return self.body(message, timeout, keep)

    def body(self, message, timeout=None, keep=True):
        """Reads the body that follows the head."""
        try:
            if message.framing == "chunked":
                read_chunked(self, message, keep, timeout=timeout)
            elif message.framing == "length":
                if keep:
                    message.body = self.read_exact(message.length, timeout)
                else:
                    self.skip(message.length, timeout)
                message.body_bytes = message.length
            elif message.framing == "close":
                message.body = self.rest(timeout)
                message.body_bytes = len(message.body)
                message.complete = not self.was_reset
        except Closed as error:
            message.complete = False
            message.body = message.body or error.partial
        except Silent as error:
            raise AssertionError(f"{message!r}: the body stalled after {error.partial[-200:]!r}") from None
        return message

    def exchange(self, data, method=None, timeout=None):
        """Sends a request and reads its answer."""
        if isinstance(data, str):
            data = data.encode("latin-1")
        self.send(data)
        return self.response(method or data.split(b" ", 1)[0].decode("latin-1"), timeout)

# SPDX-License-Identifier: MIT
"""The two ends of a counted run, the same to the byte each time: an upstream of fixed answers, a client with one
request in flight."""
import socket
import threading

SMALL = b"hello world, this is the upstream speaking\n"
LARGE = b"x" * 65536


def answer(body):
    return (b"HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Mon, 23 Nov 2026 07:25:59 GMT\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(body)) + body


ANSWERS = {False: answer(SMALL), True: answer(LARGE)}


class Upstream:
    """On a unix socket, where an answer of 64 KB arrives in few pieces and always in the same."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection = self.socket.accept()[0]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    @staticmethod
    def serve(connection):
        pending = b""
        while data := connection.recv(65536):
            pending += data
            while b"\r\n\r\n" in pending:
                head, _, pending = pending.partition(b"\r\n\r\n")
                connection.sendall(ANSWERS[head.startswith(b"GET /large")])


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 17)

    def ask(self, requests, status):
        """Each request once; every answer must have this status."""
        for request in requests:
            self.socket.sendall(request)
            line = self.file.readline()
            if line.split(b" ", 2)[1:2] != [b"%d" % status]:
                raise RuntimeError(f"{line!r} in place of {status}")
            length = 0
            while (line := self.file.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if len(self.file.read(length)) != length:
                raise RuntimeError("the connection ended within an answer")

    def close(self):
        self.file.close()
        self.socket.close()

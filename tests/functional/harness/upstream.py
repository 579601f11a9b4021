# SPDX-License-Identifier: MIT
"""A scripted upstream: answers with given bytes, records every byte that came, trusts nothing."""

import os
import socket
import threading
import time

from harness.message import Loose, parse_request_head, read_request, read_request_body, response
from harness.process import free_port
from harness.wait import PATIENCE, eventually, until
from harness.wire import Closed, Silent, Wire


class Connection(Wire):
    """One connection from the gateway."""

    def __init__(self, sock, upstream, index):
        super().__init__(sock, upstream.timeout, upstream.record)
        self.upstream = upstream
        self.index = index
        self.requests = []
        self.opened_at = time.monotonic()
        self.closed_at = None

    def read_head(self, timeout=None):
        """The next request's head alone, recorded as a request."""
        message = parse_request_head(self.read_until(b"\r\n\r\n", timeout=timeout))
        self.upstream.note(self, message)
        return message

    def read_body(self, message, timeout=None, keep=True):
        read_request_body(self, message, timeout, keep)
        return message

    def read_request(self, timeout=None, keep=True):
        """The next whole request, recorded; None when the connection ended."""
        message = read_request(self, timeout, keep)
        if message is not None:
            self.upstream.note(self, message)
        return message


class Upstream:
    """Listens, and runs `handler(connection)` in a thread for each connection.

    Without a handler it serves requests one after another: `reply` is what each gets (bytes, or a
    function of (request, connection) that returns bytes, None for no answer or False to close);
    `replies` is a list taken first. Whatever the strict reader objects to stands in `errors`.
    """

    def __init__(self, unix=None, ssl_context=None, port=None, backlog=512):
        self.unix = unix
        self.ssl_context = ssl_context
        self.timeout = 60.0
        self.record = True
        self.lock = threading.Lock()
        self.stopping = False
        self.generation = 0
        self.clear()
        if unix:
            if os.path.exists(unix):
                os.unlink(unix)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(unix)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", port or free_port()))
        self.listener.listen(backlog)
        self.port = None if unix else self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        if self.unix:
            return "unix:" + self.unix
        return f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{self.port}"

    def clear(self):
        self.handler = None
        self.reply = response(200, [("Content-Type", "text/plain")], b"ok")
        self.replies = []
        self.requests = []
        self.connections = []
        self.errors = []
        self.keep_bodies = True
        self.remembers = True  # False: requests and closed connections are forgotten, for long runs

    def reset(self):
        """As new: connections closed (and seen closed by the gateway), records and script cleared."""
        with self.lock:
            self.generation += 1
            open_ones = [connection for connection in self.connections if connection.closed_at is None]
        for connection in open_ones:
            connection.half_close()
        for connection in open_ones:
            eventually(lambda c=connection: c.closed_at is not None, "the gateway keeps a connection that its upstream has ended", interval=0.002)
        with self.lock:
            self.clear()

    def note(self, connection, message):
        message.connection = connection
        message.at = time.monotonic()
        if self.remembers:
            with self.lock:
                connection.requests.append(message)
                self.requests.append(message)

    def _accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        if self.ssl_context:
            self._run_tls(sock)
            return
        with self.lock:
            connection = Connection(sock, self, len(self.connections))
            self.connections.append(connection)
            generation = self.generation
        self._serve(connection, generation)

    def _run_tls(self, sock):
        from harness.tls import TlsSocket

        try:
            sock.settimeout(5)
            wrapped = TlsSocket(self.ssl_context.wrap_socket(sock, server_side=True))
        except OSError as error:
            self.handshake_errors = getattr(self, "handshake_errors", []) + [str(error)]
            sock.close()
            return
        with self.lock:
            connection = Connection(wrapped, self, len(self.connections))
            self.connections.append(connection)
            generation = self.generation
        self._serve(connection, generation)

    def _serve(self, connection, generation):
        try:
            (self.handler or self.serve)(connection)
        except (Closed, Silent, ConnectionError):
            pass
        except Exception as error:  # a finding: the test fails on it when it ends
            with self.lock:
                if generation == self.generation:
                    self.errors.append(f"connection {connection.index}: {type(error).__name__}: {error}")
        finally:
            connection.close()
            connection.closed_at = time.monotonic()
            if not self.remembers:
                with self.lock:
                    if connection in self.connections:
                        self.connections.remove(connection)

    def serve(self, connection):
        while True:
            try:
                message = connection.read_request(keep=self.keep_bodies)
            except Closed as error:
                # A gateway may leave in the middle of a request; what came must be a clean beginning.
                connection.cut = error.partial
                return
            if message is None:
                return
            answer = self.answer(message, connection)
            if answer is False:
                return
            if answer is not None:
                connection.send(answer)

    def answer(self, message, connection):
        with self.lock:
            answer = self.replies.pop(0) if self.replies else self.reply
        return answer(message, connection) if callable(answer) else answer

    def wait_requests(self, count, seconds=PATIENCE):
        """The requests, once there are so many."""
        if not until(lambda: len(self.requests) >= count, seconds):
            raise AssertionError(f"the upstream saw {len(self.requests)} requests, expected {count}")
        return list(self.requests)

    def wait_connections(self, count, seconds=PATIENCE):
        if not until(lambda: len(self.connections) >= count, seconds):
            raise AssertionError(f"the upstream saw {len(self.connections)} connections, expected {count}")
        return list(self.connections)

    def open_connections(self):
        return [connection for connection in self.connections if connection.closed_at is None]

    def bytes_seen(self):
        return b"".join(bytes(connection.received) for connection in self.connections)

    def stop_listening(self):
        """New connections are refused from here on; those that are open stay."""
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def close(self):
        self.stop_listening()
        for connection in self.open_connections():
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

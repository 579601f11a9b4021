# SPDX-License-Identifier: MIT
"""Between the gateway and Redis: a proxy that delays, swallows, cuts and lies, and a scripted store."""

import select
import socket
import threading
import time

from harness.process import free_port


def listen(port=None, backlog=128):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port or free_port()))
    sock.listen(backlog)
    return sock


class RedisProxy:
    """Passes bytes both ways; what it does to replies may be changed at any time.

    delay: seconds before each piece of a reply, 0 lets those go at once that wait; swallow: replies vanish; stall: nothing passes in either
    direction, connections stay open; cut_after: closes after so many bytes of replies; instead: these bytes
    in place of a reply.
    """

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.delay, self.swallow, self.stall, self.cut_after, self.instead = 0.0, False, False, None, None
        self.listener = listen()
        self.port = self.listener.getsockname()[1]
        self.accepted = []
        self.pairs = []
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def heal(self):
        self.delay, self.swallow, self.stall, self.cut_after, self.instead = 0.0, False, False, None, None

    def cut_all(self):
        for pair in self.pairs:
            for sock in pair:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.closing = True
        self.listener.close()
        self.cut_all()

    def _accept(self):
        while not self.closing:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(time.monotonic())
            try:
                server = socket.create_connection(self.target, 2)
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client, server):
        waiting = []  # (when, bytes) on the way to the client
        try:
            while not self.closing:
                if self.stall:
                    time.sleep(0.01)
                    continue
                pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.2
                ready, _, _ = select.select([client, server], [], [], min(pause, 0.05))
                if self.stall:
                    continue
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        break
                    server.sendall(data)
                if server in ready:
                    data = server.recv(65536)
                    if not data:
                        break
                    if self.instead is not None:
                        data = self.instead
                    if not self.swallow:
                        waiting.append((time.monotonic() + self.delay, data))
                while waiting and (waiting[0][0] <= time.monotonic() or not self.delay):
                    data = waiting.pop(0)[1]
                    if self.cut_after is not None:
                        client.sendall(data[: self.cut_after])
                        return
                    client.sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()


class ScriptedRedis:
    """A store that greets properly and then answers every command as it is told.

    `reply` is bytes, None (silence), or a function of the list of arguments that gives either.
    """

    def __init__(self, reply=None, greeting=None):
        self.reply, self.greeting = reply, greeting
        self.commands = []
        self.listener = listen()
        self.port = self.listener.getsockname()[1]
        self.accepted = []
        self.sockets = []
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def close(self):
        self.closing = True
        self.listener.close()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while not self.closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.accepted.append(time.monotonic())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        stream = sock.makefile("rb")
        try:
            while True:
                line = stream.readline()
                if not line:
                    return
                arguments = []
                for _ in range(int(line[1:])):
                    size = int(stream.readline()[1:])
                    arguments.append(stream.read(size + 2)[:-2])
                answer = self._answer(arguments)
                if answer is not None:
                    sock.sendall(answer)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def _answer(self, arguments):
        word = arguments[0].upper()
        if word in (b"AUTH", b"SELECT", b"CLIENT", b"TIME", b"SCRIPT"):
            if self.greeting is not None:
                return self.greeting
            if word == b"TIME":
                now = time.time()
                return b"*2\r\n$%d\r\n%d\r\n$6\r\n%06d\r\n" % (len(str(int(now))), int(now), int(now % 1 * 1e6))
            return b"$40\r\n" + b"0" * 40 + b"\r\n" if word == b"SCRIPT" else b"+OK\r\n"
        self.commands.append(arguments)
        return self.reply(arguments) if callable(self.reply) else self.reply

# SPDX-License-Identifier: MIT
"""A real redis-server on a free port: stopped, continued, killed and started again by the test."""

import os
import shutil
import socket
import tempfile

from harness.process import Process, free_port, wait_for_port
from harness.wait import PATIENCE
from harness.wire import Wire


def server_binary():
    """$KAMIYO_TEST_REDIS names another server of the same protocol, valkey-server for one."""
    return os.environ.get("KAMIYO_TEST_REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")


class Redis:
    def __init__(self, directory, *options, port=None, env=None):
        self.port = port or free_port()
        self.options = options
        self.environment = dict(os.environ, **env) if env else None
        self.directory = tempfile.mkdtemp(dir=directory, prefix="redis-")
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        """Starts (again); what was saved is loaded, what was not is gone."""
        arguments = [server_binary(), "--port", self.port, "--bind", "127.0.0.1", "--dir", self.directory]
        arguments += ["--save", "", "--appendonly", "no", "--daemonize", "no", *self.options]
        self.process = Process(arguments, self.directory, "redis", self.environment)
        if not wait_for_port(self.port):
            raise AssertionError("redis-server did not start:\n" + self.process.stdout())

    def kill(self):
        """kill -9."""
        self.process.kill()

    def pause(self):
        self.process.pause()

    def resume(self):
        self.process.resume()

    def restart(self, keep_data=False):
        if keep_data and self.process.returncode is None:
            self.command("SAVE")
        self.kill()
        self.start()

    def command(self, *arguments):
        """One command by RESP2; errors come back as RuntimeError."""
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        wire = Wire(sock)
        try:
            wire.send(encode(arguments))
            return decode(wire)
        finally:
            wire.close()

    def hash(self, key):
        flat = self.command("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def keys(self, pattern="*"):
        return sorted(self.command("KEYS", pattern))

    def close(self):
        if self.process:
            self.process.kill()


def encode(arguments):
    out = b"*%d\r\n" % len(arguments)
    for argument in arguments:
        data = str(argument).encode()
        out += b"$%d\r\n%b\r\n" % (len(data), data)
    return out


def decode(wire):
    line = wire.read_until(b"\r\n")[:-2]
    kind, rest = line[:1], line[1:]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"+":
        return rest.decode()
    if int(rest) < 0:
        return None
    if kind == b"$":
        return wire.read_exact(int(rest) + 2)[:-2].decode("utf-8", "replace")
    return [decode(wire) for _ in range(int(rest))]

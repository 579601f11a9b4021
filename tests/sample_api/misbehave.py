# SPDX-License-Identifier: MIT
"""What a broken upstream does: /misbehave/<name>. Every one of them ends its connection."""

import asyncio
import socket
import struct


class Abort(Exception):
    """The connection ends here, without a further byte."""


def raw(data):
    """An action that sends these bytes and closes."""

    async def action(request):
        request.writer.write(data)
        await request.writer.drain()

    return action


async def close(request):
    """Closes without a byte."""


async def reset(request):
    """Resets the connection."""
    sock = request.writer.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.writer.transport.abort()


async def hang(request):
    """Never answers."""
    await asyncio.sleep(request.number("ms", 3600000) / 1000)


async def slow_head(request):
    """A valid answer, a byte every 50 ms."""
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok":
        request.writer.write(bytes([byte]))
        await request.writer.drain()
        await asyncio.sleep(request.number("ms", 50) / 1000)


async def stall(request):
    """The head and half of the body, then nothing."""
    request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
    await request.writer.drain()
    await asyncio.sleep(request.number("ms", 3600000) / 1000)


async def long_head(request):
    """A head without an end (16 MiB of it)."""
    request.writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(16 * 1024):
        request.writer.write(b"x-filler-%d: %b\r\n" % (number, b"x" * 1000))
        await request.writer.drain()


async def early(request):
    """Answers 200 before it has read the body, and goes on reading."""
    request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly")
    await request.writer.drain()
    async for _ in request.body():
        pass


ACTIONS = {
    "close": close,
    "reset": reset,
    "hang": hang,
    "slow-head": slow_head,
    "stall": stall,
    "long-head": long_head,
    "early": early,
    "half-head": raw(b"HTTP/1.1 200 OK\r\ncontent-len"),
    "short-body": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"),
    "short-chunked": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nonly this"),
    "no-last-chunk": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    "bad-chunk": raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
    "garbage": raw(b"\x16\x03\x01\x02\x00\x01\x00 this is no HTTP\r\n\r\n"),
    "no-head": raw(b"just a body, as HTTP/0.9 had it\n"),
    "bad-status": raw(b"HTTP/1.1 2000 Odd\r\ncontent-length: 0\r\n\r\n"),
    "two-lengths": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"),
    "both-framings": raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    ),
    "unasked-101": raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: foo\r\nconnection: upgrade\r\n\r\n"),
    "only-100": raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "extra-bytes": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
    "close-delimited": raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end"),
}


async def run(request, response):
    """Does what the path's last part names; 404 for what is unknown."""
    action = ACTIONS.get(request.path.rsplit("/", 1)[1])
    if action is None:
        await response.json({"detail": "unknown", "actions": sorted(ACTIONS)}, 404)
        return
    request.keep_alive = False
    await action(request)
    raise Abort

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small stand-in for kamiyo-api: what it answers, how it streams, how it misbehaves.

Used by `./dev run`, the functional tests and docker compose. Python 3's standard library only,
one asyncio loop, keep-alive HTTP/1.1 (and 1.0), bodies of any size in bounded memory.

    sample_api.py --port 8000 [--host 127.0.0.1]
    sample_api.py --unix /tmp/api.sock

`GET /` lists the endpoints. The ones that misbehave on purpose are in misbehave.py.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import signal
import sys
import time
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import misbehave
import websocket

BLOCK = 64 * 1024
HEAD_LIMIT = 128 * 1024
DRAIN_LIMIT = 1024 * 1024
PAYLOAD = bytes(range(256)) * (BLOCK // 256)

ENDPOINTS = [
    "/exploits?page=1&page_size=100",
    "/exploits/{tx_hash}",
    "/stats",
    "/chains",
    "/health",
    "/ready",
    "/echo",
    "/slow?ms=1000",
    "/stream?chunks=10&ms=100",
    "/sse?events=10&ms=100",
    "/large?bytes=1048576[&chunked=1]",
    "/upload",
    "/status/{code}",
    "/cost?n=5",
    "/cookies",
    "/ws",
] + ["/misbehave/" + name for name in misbehave.ACTIONS]

CHAINS = ["Ethereum", "BSC", "Polygon", "Arbitrum", "Solana", "Avalanche", "Optimism", "Base"]


class BadRequest(Exception):
    """The request cannot be framed: answer 400 and close."""


class Request:
    """One parsed head, and the body that is still to be read from the connection."""

    def __init__(self, reader, writer, method, target, version, headers):
        self.reader = reader
        self.writer = writer
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        parts = urlsplit(target if target.startswith("/") else "/" + target)
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.fields = {name.lower(): value for name, value in headers}
        self.chunked = "chunked" in self.fields.get("transfer-encoding", "").lower()
        try:
            self.length = int(self.fields.get("content-length", "0"))
        except ValueError:
            raise BadRequest("content-length")
        self.awaits_continue = self.fields.get("expect", "").lower() == "100-continue"
        self.drained = not self.chunked and self.length == 0
        connection = self.fields.get("connection", "").lower()
        self.keep_alive = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)

    def number(self, name, default):
        """A whole number of the query string, bounded below by 0."""
        try:
            return max(0, int(self.query.get(name, default)))
        except ValueError:
            return default

    async def body(self):
        """Yields the body's pieces. Sends 100 Continue first if the client waits for it."""
        if self.drained:
            return
        if self.awaits_continue:
            self.awaits_continue = False
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.chunked:
            async for piece in self._chunks():
                yield piece
        else:
            left = self.length
            while left:
                piece = await self.reader.read(min(left, BLOCK))
                if not piece:
                    raise ConnectionResetError("body cut short")
                left -= len(piece)
                yield piece
        self.drained = True

    async def _chunks(self):
        while True:
            line = await self.reader.readuntil(b"\r\n")
            try:
                left = int(line.split(b";")[0].strip(), 16)
            except ValueError:
                raise BadRequest("chunk size")
            if left == 0:
                while await self.reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return
            while left:
                piece = await self.reader.read(min(left, BLOCK))
                if not piece:
                    raise ConnectionResetError("body cut short")
                left -= len(piece)
                yield piece
            await self.reader.readexactly(2)


class Response:
    """Writes one answer: whole, or as a stream whose framing follows the client's version."""

    def __init__(self, request):
        self.request = request
        self.writer = request.writer
        self.started = False
        self.chunked = False

    def start(self, status=200, headers=(), length=None):
        request = self.request
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Status"
        lines = [f"HTTP/1.1 {status} {reason}", "server: sample-api"]
        lines += [f"{name}: {value}" for name, value in headers]
        bodyless = status < 200 or status in (204, 304)
        if length is not None and not (status < 200 or status == 204):
            lines.append(f"content-length: {length}")
        elif length is None and not bodyless:
            if request.version == "HTTP/1.1":
                self.chunked = True
                lines.append("transfer-encoding: chunked")
            else:
                request.keep_alive = False
        if not request.keep_alive:
            lines.append("connection: close")
        elif request.version == "HTTP/1.0":
            lines.append("connection: keep-alive")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        self.started = True
        self.silent = request.method == "HEAD" or bodyless

    async def write(self, data):
        if self.silent or not data:
            return
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        await self.writer.drain()

    async def finish(self):
        if self.chunked and not self.silent:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def whole(self, status, body=b"", headers=(), content_type="application/json"):
        fields = list(headers)
        if body:
            fields.append(("content-type", content_type))
        self.start(status, fields, len(body))
        if not self.silent:
            self.writer.write(body)
        await self.writer.drain()

    async def json(self, value, status=200, headers=()):
        await self.whole(status, json.dumps(value).encode(), headers)


# The endpoints. Each takes (request, response).


async def root(request, response):
    await response.json({"name": "sample-api", "version": "1.0.0", "endpoints": ENDPOINTS})


def exploit(number):
    return {
        "tx_hash": "0x" + hashlib.sha256(b"exploit-%d" % number).hexdigest(),
        "chain": CHAINS[number % len(CHAINS)],
        "protocol": f"Protocol {number}",
        "amount_usd": 100000 + number * 977,
        "timestamp": f"2025-{1 + number % 12:02}-{1 + number % 28:02}T00:00:00",
        "source": "sample",
    }


async def exploits(request, response):
    page, size = request.number("page", 1), request.number("page_size", 100)
    if page < 1 or not 1 <= size <= 500:
        await response.json({"detail": "page_size is 1 to 500"}, 422)
        return
    total = 1000
    first = (page - 1) * size
    data = [exploit(number) for number in range(first, min(first + size, total))]
    await response.json(
        {"data": data, "total": total, "page": page, "page_size": size, "has_more": first + size < total}
    )


async def exploit_by_hash(request, response):
    await response.json(dict(exploit(1), tx_hash=request.path.rsplit("/", 1)[1]))


async def stats(request, response):
    await response.json({"total_exploits": 1000, "total_loss_usd": 588011500, "chains_affected": len(CHAINS)})


async def chains(request, response):
    await response.json({"total_chains": len(CHAINS), "chains": [{"chain": chain} for chain in CHAINS]})


async def health(request, response):
    await response.json({"status": "healthy"})


async def ready(request, response):
    await response.json({"status": "ready"})


async def docs(request, response):
    await response.whole(200, b"<!doctype html><title>sample-api</title>", content_type="text/html")


async def openapi(request, response):
    await response.json({"openapi": "3.1.0", "info": {"title": "sample-api", "version": "1.0.0"}, "paths": {}})


async def echo(request, response):
    digest, size = hashlib.sha256(), 0
    async for piece in request.body():
        digest.update(piece)
        size += len(piece)
    await response.json(
        {
            "method": request.method,
            "target": request.target,
            "version": request.version,
            "headers": request.headers,
            "body_bytes": size,
            "body_sha256": digest.hexdigest(),
        }
    )


async def slow(request, response):
    milliseconds = request.number("ms", 1000)
    await asyncio.sleep(milliseconds / 1000)
    await response.json({"slept_ms": milliseconds})


async def stream(request, response):
    chunks, pause = request.number("chunks", 10), request.number("ms", 100) / 1000
    response.start(200, [("content-type", "text/plain")])
    for number in range(chunks):
        if number and pause:
            await asyncio.sleep(pause)
        await response.write(b"chunk %d at %.3f\n" % (number, time.time()))
    await response.finish()


async def sse(request, response):
    events, pause = request.number("events", 10), request.number("ms", 100) / 1000
    response.start(200, [("content-type", "text/event-stream"), ("cache-control", "no-cache")])
    for number in range(events):
        if number and pause:
            await asyncio.sleep(pause)
        await response.write(b"id: %d\ndata: %.6f\n\n" % (number, time.time()))
    await response.finish()


async def large(request, response):
    left = request.number("bytes", 1024 * 1024)
    chunked = request.query.get("chunked", "0") not in ("", "0")
    response.start(200, [("content-type", "application/octet-stream")], None if chunked else left)
    if request.method == "HEAD":
        return
    while left:
        piece = PAYLOAD[: min(left, BLOCK)]
        await response.write(piece)
        left -= len(piece)
    await response.finish()


async def upload(request, response):
    digest, size = hashlib.sha256(), 0
    async for piece in request.body():
        digest.update(piece)
        size += len(piece)
    await response.json({"bytes": size, "sha256": digest.hexdigest()})


async def status(request, response):
    code = request.path.rsplit("/", 1)[1]
    if not (code.isdigit() and 200 <= int(code) <= 599):
        await response.json({"detail": "a status is 200 to 599"}, 422)
    elif code in ("204", "304"):
        await response.whole(int(code))
    else:
        await response.json({"status": int(code)}, int(code))


async def cost(request, response):
    count = request.number("n", 1)
    await response.json({"cost": count}, headers=[("x-cost", str(count))])


async def cookies(request, response):
    fields = [("set-cookie", f"c{number}=v{number}; Path=/") for number in range(3)]
    await response.json({"cookies": 3}, headers=fields)


async def websocket_echo(request, response):
    key = request.fields.get("sec-websocket-key")
    if request.fields.get("upgrade", "").lower() != "websocket" or not key:
        await response.json({"detail": "upgrade to websocket"}, 426, [("upgrade", "websocket")])
        return
    accept = base64.b64encode(hashlib.sha1((key + websocket.GUID).encode()).digest()).decode()
    request.writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: " + accept.encode() + b"\r\n\r\n"
    )
    request.keep_alive = False
    response.started = True
    await websocket.echo(request.reader, request.writer)


EXACT = {
    "/": root,
    "/exploits": exploits,
    "/stats": stats,
    "/chains": chains,
    "/health": health,
    "/ready": ready,
    "/docs": docs,
    "/redoc": docs,
    "/openapi.json": openapi,
    "/echo": echo,
    "/slow": slow,
    "/stream": stream,
    "/sse": sse,
    "/large": large,
    "/upload": upload,
    "/cost": cost,
    "/cookies": cookies,
    "/ws": websocket_echo,
}
PREFIXES = [("/exploits/", exploit_by_hash), ("/status/", status), ("/echo/", echo), ("/misbehave/", misbehave.run)]


async def not_found(request, response):
    await response.json({"detail": "Not Found"}, 404)


def find_handler(path):
    handler = EXACT.get(path)
    if handler:
        return handler
    for prefix, candidate in PREFIXES:
        if path.startswith(prefix):
            return candidate
    return not_found


# The connection.


async def read_request(reader, writer):
    """The next request of the connection, or None when the client has closed it in between."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise BadRequest("head cut short")
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest("head too long")
    lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest("request line")
    headers = []
    for line in lines[1:]:
        if line:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadRequest("field")
            headers.append((name, value.strip(" \t")))
    return Request(reader, writer, words[0], words[1], words[2], headers)


async def drain_body(request):
    """Reads what the handler left of the body; False when it is too much to be worth it."""
    if request.drained:
        return True
    if request.awaits_continue:
        return False
    size = 0
    async for piece in request.body():
        size += len(piece)
        if size > DRAIN_LIMIT:
            return False
    return True


async def serve_connection(reader, writer):
    try:
        while True:
            request = await read_request(reader, writer)
            if request is None:
                break
            await find_handler(request.path)(request, Response(request))
            if not request.keep_alive or not await drain_body(request):
                break
    except BadRequest as error:
        body = json.dumps({"detail": "bad request: " + str(error)}).encode()
        writer.write(
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
    except (ConnectionError, asyncio.IncompleteReadError, misbehave.Abort, asyncio.CancelledError):
        pass
    finally:
        try:
            writer.close()
        except (ConnectionError, RuntimeError):
            pass


async def main():
    parser = argparse.ArgumentParser(description="A small stand-in for kamiyo-api.")
    parser.add_argument("--port", type=int, help="TCP port; 0 takes a free one (default 8000)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--unix", metavar="PATH", help="listen on a unix socket instead")
    arguments = parser.parse_args()
    options = {"limit": HEAD_LIMIT, "backlog": 1024}
    if arguments.unix:
        server = await asyncio.start_unix_server(serve_connection, arguments.unix, **options)
        print(f"Listening on unix:{arguments.unix}", flush=True)
    else:
        port = 8000 if arguments.port is None else arguments.port
        server = await asyncio.start_server(serve_connection, arguments.host, port, **options)
        host, port = server.sockets[0].getsockname()[:2]
        print(f"Listening on {host}:{port}", flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except OSError as error:
        sys.exit(f"sample_api: {error}")

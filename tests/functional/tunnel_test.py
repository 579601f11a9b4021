# SPDX-License-Identifier: MIT
"""WebSocket and other upgrades: the handshake, every byte after it, half-closes, timeouts, bounds."""

import base64
import hashlib
import os
import struct
import threading
import time

from harness import cases, eventually, stands_still
from harness.checks import own_answer
from harness.message import request, response
from harness.watch import Watch

RUNS_LONG = True  # started first

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
WEBSOCKET = ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]
SWITCH = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n".encode()


def switching(after, answer=SWITCH):
    """A handler that takes the handshake and goes on with after(connection)."""

    def handler(connection):
        connection.message = connection.read_head()
        connection.send(answer)
        after(connection)

    return handler


def echo(connection):
    while True:
        data = connection.read_some()
        if not data:
            return
        connection.send(data)


def hold(connection):
    connection.held = connection.rest()


def open_tunnel(gateway, lines=WEBSOCKET, **options):
    client = gateway.client(**options)
    client.send(request("GET", "/ws?token=secret", lines))
    answer = client.head()
    assert answer.status == 101, answer
    return client, answer


def test_handshake_passes_both_ways(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(echo)
    client, answer = open_tunnel(gateway, [*WEBSOCKET, "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate"])
    seen = upstream.requests[0]
    assert seen.one("upgrade") == "websocket" and seen.one("connection").lower() == "upgrade"
    assert seen.one("sec-websocket-key") == KEY and seen.one("sec-websocket-protocol") == "a, b"
    assert seen.one("sec-websocket-extensions") == "permessage-deflate"
    assert answer.one("upgrade") == "websocket" and "upgrade" in answer.one("connection").lower()
    assert answer.one("sec-websocket-accept") == ACCEPT
    assert answer.one("x-request-id") and answer.one("via")
    for size in (1, 100, 70_000):
        data = os.urandom(size)
        client.send(data)
        assert client.read_exact(size) == data
    client.close()
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 101 and "secret" not in record["path"], record
    assert record["bytes_in"] >= 70_101 and record["bytes_out"] >= 70_101, record
    eventually(lambda: not upstream.open_connections(), "the upstream side stays open")


@cases({"Upgrade in a list": ["Upgrade: websocket", "Connection: keep-alive, Upgrade"],
        "other case": ["upgrade: WebSocket", "connection: upgrade"]})
def test_handshake_in_other_spellings(t, lines):
    gateway, upstream = t.shared()
    upstream.handler = switching(echo)
    client, _ = open_tunnel(gateway, [*lines, *WEBSOCKET[2:]])
    client.send(b"x")
    assert client.read_exact(1) == b"x"


def test_another_protocol_is_tunnelled(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(echo, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat/2\r\nConnection: Upgrade\r\n\r\n")
    client, answer = open_tunnel(gateway, ["Upgrade: chat/2", "Connection: Upgrade"])
    assert upstream.requests[0].one("upgrade") == "chat/2" and answer.one("upgrade") == "chat/2"
    client.send(b"\0\1\2\xff")
    assert client.read_exact(4) == b"\0\1\2\xff"


def test_early_bytes_of_the_upstream_are_not_lost(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(echo, SWITCH + b"early frame")
    client, _ = open_tunnel(gateway)
    assert client.read_exact(11) == b"early frame"


def test_early_bytes_of_the_client_are_not_lost(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(echo)
    client = gateway.client()
    client.send(request("GET", "/ws", WEBSOCKET) + b"early frame")
    assert client.head().status == 101
    assert client.read_exact(11) == b"early frame"
    client.send(b"next")
    assert client.read_exact(4) == b"next"


def test_early_bytes_wait_for_the_answer(t):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_head()
        connection.was_silent = connection.is_silent(0.3)
        connection.send(SWITCH)
        echo(connection)

    upstream.handler = handler
    client = gateway.client()
    client.send(request("GET", "/ws", WEBSOCKET) + b"early" * 1000)
    assert client.head().status == 101
    assert client.read_exact(5000) == b"early" * 1000
    assert upstream.connections[0].was_silent, "bytes of the new protocol were sent before it was agreed"


def test_early_bytes_after_a_refused_upgrade_are_the_next_request(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("GET", "/ws", WEBSOCKET) + request("GET", "/next"))
    assert client.response().status == 200 and client.response().status == 200
    assert [seen.target for seen in upstream.requests] == ["/ws", "/next"]


def test_refused_upgrade_is_an_answer_like_any_other(t):
    gateway, upstream = t.shared()
    upstream.replies = [response(426, ["Upgrade: websocket", "Connection: Upgrade"], b"no", reason="Upgrade Required")]
    client = gateway.client()
    answer = client.exchange(request("GET", "/ws", WEBSOCKET))
    assert (answer.status, answer.body) == (426, b"no")
    assert client.exchange(request("GET", "/next")).status == 200


def test_half_close_of_the_client_passes(t):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_head()
        connection.send(SWITCH)
        connection.held = connection.rest()
        connection.send(b"after your end")

    upstream.handler = handler
    client, _ = open_tunnel(gateway)
    client.send(b"before my end")
    client.half_close()
    assert client.rest() == b"after your end"
    assert upstream.connections[0].held == b"before my end"


def test_half_close_of_the_upstream_passes(t):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_head()
        connection.send(SWITCH + b"bye")
        connection.half_close()
        connection.held = connection.rest()

    upstream.handler = handler
    client, _ = open_tunnel(gateway)
    assert client.rest() == b"bye"
    client.send(b"still here")
    client.half_close()
    eventually(lambda: not upstream.open_connections(), "still open")
    assert upstream.connections[0].held == b"still here"


def test_reset_of_one_side_ends_the_other(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(hold)
    client, _ = open_tunnel(gateway)
    client.reset()
    eventually(lambda: not upstream.open_connections(), "the upstream side stays open")
    upstream.reset()
    upstream.handler = switching(lambda connection: connection.reset())
    client, _ = open_tunnel(gateway)
    assert client.is_closed()


def test_idle_tunnel_is_closed(t):
    gateway, upstream = t.shared({"client": {"tunnel_idle_timeout": "2s", "idle_timeout": "300ms"}, "upstream": {"read_timeout": "300ms"}})
    upstream.handler = switching(echo)
    client, answer = open_tunnel(gateway)
    for _ in range(6):  # longer than any of the three, and no pause anywhere near its own
        time.sleep(0.4)
        client.send(b"x")
        assert client.read_exact(1) == b"x"
    with Watch(gateway, 1.7, 2.8):
        client.send(b"x")
        assert client.read_exact(1) == b"x"
        assert client.is_closed()
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 101 and record.get("reason"), record
    eventually(lambda: not upstream.open_connections(), "the upstream side stays open")


@cases({"alone": ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"],
        "in capitals": ["Upgrade: H2C", "Connection: upgrade, http2-settings", "HTTP2-Settings: AAMA"]})
def test_h2c_is_not_tunnelled(t, lines):
    gateway, upstream = t.shared()
    answer = gateway.get("/", lines)
    assert answer.status == 200
    seen = upstream.requests[0]
    assert not seen.has("upgrade") and not seen.has("http2-settings"), seen
    upstream.reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    own_answer(gateway.get("/", lines), 502)


def test_h2c_beside_websocket_is_not_offered(t):
    gateway, upstream = t.shared()
    gateway.get("/", ["Upgrade: websocket, h2c", "Connection: Upgrade", *WEBSOCKET[2:]])
    assert "h2c" not in upstream.wait_requests(1)[0].get("upgrade", "")


def test_upgrade_of_http10_is_ignored(t):
    """RFC 9110 7.8."""
    gateway, upstream = t.shared()
    answer = gateway.exchange(b"GET /ws HTTP/1.0\r\nHost: a\r\n" + "\r\n".join(WEBSOCKET).encode() + b"\r\n\r\n")
    assert answer.status == 200 and not upstream.requests[0].has("upgrade")


def test_101_for_another_protocol_is_502(t):
    gateway, upstream = t.shared()
    upstream.handler = switching(hold, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
    client = gateway.client()
    client.send(request("GET", "/ws", WEBSOCKET))
    own_answer(client.response(), 502)


def test_upstream_that_writes_into_a_deaf_client_is_held_back(t):
    gateway, upstream = t.pair()
    sent = []

    def flood(connection):
        while True:
            connection.send(b"f" * 65536, timeout=60)
            sent.append(65536)

    upstream.handler = switching(flood)
    rss = gateway.process.rss_bytes()
    client, _ = open_tunnel(gateway, receive_buffer=16_384)
    first = stands_still(lambda: sum(sent))
    assert first < 16 << 20 and gateway.process.rss_bytes() - rss < 2 << 20
    client.skip(first)
    client.reset()
    eventually(lambda: not upstream.open_connections(), "the upstream side stays open")


def test_client_that_writes_into_a_deaf_upstream_is_held_back(t):
    gateway, upstream = t.pair()
    done = threading.Event()
    upstream.handler = switching(lambda connection: done.wait())
    rss = gateway.process.rss_bytes()
    client, _ = open_tunnel(gateway)
    sent = client.send_while_taken(b"f" * 65536, 64 << 20)
    done.set()
    assert sent < 32 << 20 and gateway.process.rss_bytes() - rss < 2 << 20


def test_tunnel_counts_as_a_connection_until_it_ends(t):
    gateway, upstream = t.pair()
    upstream.handler = switching(echo)
    clients = [open_tunnel(gateway)[0] for _ in range(10)]
    assert gateway.metrics().total("connections", side="client") == 10
    assert gateway.metrics().total("connections", side="upstream") == 10
    for client in clients:
        client.close()
    eventually(lambda: gateway.metrics().total("connections") == 0, "connections are still counted")


def test_limited_handshake_carries_the_limit(t):
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"day": 2}}})
    upstream.handler = switching(echo)
    client, answer = open_tunnel(gateway)
    assert (answer.one("x-ratelimit-limit"), answer.one("x-ratelimit-remaining")) == ("2", "1")
    open_tunnel(gateway)
    denied = gateway.get("/ws", WEBSOCKET)
    own_answer(denied, 429)
    client.send(b"goes on")
    assert client.read_exact(7) == b"goes on"


def test_websocket_of_the_sample_api(t):
    gateway = t.gateway(upstream=t.sample_api())
    key = base64.b64encode(os.urandom(16)).decode()
    client, answer = open_tunnel(gateway, [*WEBSOCKET[:2], f"Sec-WebSocket-Key: {key}", WEBSOCKET[3]])
    accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert answer.one("sec-websocket-accept") == base64.b64encode(accept).decode()
    for size in (0, 5, 200, 70_000):
        payload = os.urandom(size)
        length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size) if size < 65536 else struct.pack("!BQ", 0xFF, size)
        client.send(b"\x82" + length + b"\0\0\0\0" + payload)
        head = client.read_exact(2)
        assert head[0] == 0x82
        extended = {126: 2, 127: 8}.get(head[1], 0)
        if extended:
            client.read_exact(extended)
        assert client.read_exact(size) == payload
    client.send(b"\x88\x82\0\0\0\0\x03\xe8")
    assert client.read_exact(4) == b"\x88\x02\x03\xe8"
    assert client.is_closed()

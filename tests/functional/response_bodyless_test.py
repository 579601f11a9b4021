# SPDX-License-Identifier: MIT
"""HEAD, 204, 304 and 1xx: answers without a body, whatever their fields say (RFC 9110 6.4.1, 15.2)."""

import threading
import time

from harness import cases
from harness.checks import own_answer
from harness.message import chunked, request, response
from harness.wait import PATIENCE
from harness.wire import Closed

HEADS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", "1234"),
    "length zero": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"),
    "large length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n", "1099511627776"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    "neither": (b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", None),
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", "9"),
}


@cases(HEADS)
def test_head_has_no_body(t, raw, length):
    gateway, upstream = t.shared()
    upstream.reply = raw
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(request("HEAD", "/"))
        assert answer.status == int(raw[9:12]) and answer.get("content-length") == length, answer
        assert client.is_silent(0.05)
    upstream.reply = response(200, [], b"body")
    assert client.exchange(request("GET", "/")).body == b"body"
    if length == "0":  # else a body might come all the same: see the test of late ones
        assert len(upstream.connections) == 1


def test_head_to_http10(t):
    gateway, upstream = t.shared()
    upstream.reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = gateway.client()
    answer = client.exchange(b"HEAD / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert answer.status == 200 and not answer.has("transfer-encoding")
    assert client.is_closed()


BODYLESS = {
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "204 with length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204),
    "204 with odd length": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204),
    "204 with coding": (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204),
    "304": (b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304),
    "304 with length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", 304),
    "304 with coding": (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304),
}


@cases(BODYLESS)
def test_204_and_304_have_no_body(t, raw, status):
    gateway, upstream = t.shared()
    upstream.reply = raw
    client = gateway.client()
    client.send(request("GET", "/1"))
    answer = client.response(timeout=1.5)
    assert (answer.status, answer.body) == (status, b""), answer
    assert client.is_silent(0.1)
    upstream.reply = response(200, [], b"next")
    assert client.exchange(request("GET", "/2")).body == b"next"


def test_304_keeps_its_length(t):
    gateway, upstream = t.shared()
    upstream.reply = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"
    assert gateway.get("/").get("content-length") == "1000"


@cases({
    "body after HEAD": ("HEAD", response(200, [], b"evil")),
    "chunks after HEAD": ("HEAD", response(200, ["Transfer-Encoding: chunked"], chunked("evil"))),
    "body after 204": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
    "chunks after 204": ("GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
    "body after 304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
})
def test_a_body_that_must_not_be_is_dropped_with_its_connection(t, method, raw):
    gateway, upstream = t.shared()
    upstream.replies = [raw]
    client = gateway.client()
    answer = client.exchange(request(method, "/1"))
    assert answer.status in (200, 204, 304) and answer.body == b""
    assert client.exchange(request("GET", "/2")).body == b"ok"
    assert b"evil" not in client.received
    assert upstream.requests[1].connection is not upstream.requests[0].connection


@cases({
    "body after HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"evil"),
    "chunks after HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked("evil")),
    "close-delimited body after HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", b"evil"),
    "body after 204": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n", b"evil"),
    "body after 304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", b"evil"),
    "an answer after HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", response(200, [], b"evil")),
})
def test_a_body_that_must_not_be_is_no_answer_when_it_comes_late(t, method, head, late):
    """A moment later the connection could be in use again, and the body stand for an answer."""
    gateway, upstream = t.shared()
    has_sent = threading.Event()

    def reply(message, connection):
        if message.target != "/1":
            return response(200, [], b"ok")
        connection.send(head)
        time.sleep(0.1)
        try:
            connection.send(late)
        except Closed:
            pass  # the gateway has gone already
        has_sent.set()
        return None

    upstream.reply = reply
    client = gateway.client()
    assert client.exchange(request(method, "/1")).status in (200, 204, 304)
    assert client.exchange(request("GET", "/2")).body == b"ok"
    assert has_sent.wait(PATIENCE)
    assert client.exchange(request("GET", "/3")).body == b"ok"
    assert b"evil" not in client.received


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


def test_interim_answers_pass_in_order(t):
    gateway, upstream = t.shared()
    upstream.reply = PROCESSING + HINTS + HINTS + response(200, [], b"final")
    client = gateway.client()
    for _ in range(2):
        answer = client.exchange(request("GET", "/"))
        assert [interim.status for interim in answer.interim] == [102, 103, 103], answer.interim
        assert answer.interim[1].all("link") == ["</a.css>; rel=preload", "</b.js>; rel=preload"]
        assert (answer.status, answer.body) == (200, b"final")
    assert len(upstream.connections) == 1


def test_interim_answer_passes_at_once(t):
    gateway, upstream = t.shared()
    gate = threading.Event()

    def reply(message, connection):
        connection.send(HINTS)
        gate.wait()
        return response(200, [], b"final")

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/"))
    assert client.head().status == 103
    gate.set()
    assert client.response().body == b"final"


def test_interim_answers_before_head_and_204(t):
    gateway, upstream = t.shared()
    upstream.reply = HINTS + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    client = gateway.client()
    answer = client.exchange(request("HEAD", "/"))
    assert answer.interim[0].status == 103 and answer.get("content-length") == "7"
    upstream.reply = HINTS + b"HTTP/1.1 204 No Content\r\n\r\n"
    assert client.exchange(request("GET", "/")).status == 204


def test_no_interim_answer_to_http10(t):
    gateway, upstream = t.shared()
    upstream.reply = CONTINUE + PROCESSING + HINTS + response(200, [], b"final")
    answer = gateway.exchange(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert answer.interim == [] and answer.body == b"final"


def test_unasked_100_does_not_stand_for_the_answer(t):
    gateway, upstream = t.shared()
    upstream.reply = CONTINUE + response(200, [], b"final")
    answer = gateway.get("/")
    assert (answer.status, answer.body) == (200, b"final")


def test_interim_then_close_is_502(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        connection.send(HINTS)
        return False

    upstream.reply = reply
    answer = gateway.get("/")
    own_answer(answer, 502)


def test_endless_interim_answers_end(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        for _ in range(100_000):
            connection.send(HINTS * 10)
        return False

    upstream.reply = reply
    client = gateway.client(record=False)
    client.send(request("GET", "/"))
    seen = 0
    while True:
        answer = client.head(timeout=10)
        if answer.status >= 200:
            break
        seen += 1
        assert seen < 50_000, "interim answers without end are passed on without end"
    assert answer.status == 502


@cases({"101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "101 without fields": b"HTTP/1.1 101 Switching Protocols\r\n\r\n"})
def test_unasked_101_is_502(t, raw):
    gateway, upstream = t.shared()
    upstream.reply = raw
    client = gateway.client()
    own_answer(client.exchange(request("GET", "/")), 502)
    assert b" 101 " not in client.received

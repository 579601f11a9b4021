# SPDX-License-Identifier: MIT
"""Pipelining: answers in order, none lost, a client that does not read is paused; keep-alive."""

import threading
import time

from harness import cases, eventually
from harness.checks import own_answer, says_close
from harness.message import chunked, request, response


def named(message, connection):
    return response(200, [("X-Path", message.target)], b"answer to " + message.target.encode())


def test_pipelined_requests_are_answered_in_order(t):
    gateway, upstream = t.shared()
    upstream.reply = named
    client = gateway.client()
    client.send(b"".join(request("GET", f"/{n}") for n in range(50)))
    for n in range(50):
        answer = client.response()
        assert (answer.status, answer.get("x-path")) == (200, f"/{n}"), answer
    assert client.is_silent()
    assert [seen.target for seen in upstream.requests] == [f"/{n}" for n in range(50)]
    records = gateway.wait_access(50, where=lambda r: r["path"] in {f"/{n}" for n in range(50)})
    assert [record["path"] for record in records[-50:]] == [f"/{n}" for n in range(50)]


def test_order_holds_when_the_first_is_slow(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        time.sleep(0.3 if message.target == "/slow" else 0)
        return named(message, connection)

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/slow") + request("GET", "/fast") + request("HEAD", "/head") + request("GET", "/last"))
    assert client.response().get("x-path") == "/slow"
    assert client.response().get("x-path") == "/fast"
    head = client.response("HEAD")
    assert head.get("x-path") == "/head" and head.body == b""
    assert client.response().get("x-path") == "/last"


def test_bodies_are_kept_apart(t):
    gateway, upstream = t.shared()
    upstream.reply = named
    client = gateway.client()
    client.send(
        request("POST", "/1", body=b"one")
        + request("POST", "/2", ["Transfer-Encoding: chunked"], chunked("two", "too"))
        + request("PUT", "/3", body=b"")
        + request("GET", "/4")
        + request("POST", "/5", ["Transfer-Encoding: chunked"], chunked())
        + request("DELETE", "/6")
    )
    for n, method in enumerate(["POST", "POST", "PUT", "GET", "POST", "DELETE"], 1):
        assert client.response(method).get("x-path") == f"/{n}"
    assert [seen.body for seen in upstream.requests] == [b"one", b"twotoo", b"", b"", b"", b""]


def test_own_answers_stand_in_line(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        time.sleep(0.2)
        return named(message, connection)

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/a") + request("GET", "/_gateway/health") + request("GET", "/b"))
    assert client.response().get("x-path") == "/a"
    health = client.response()
    assert health.status == 200 and health.get("x-path") is None
    assert client.response().get("x-path") == "/b"


def test_a_bad_one_behind_good_ones_ends_the_line(t):
    gateway, upstream = t.shared()
    upstream.reply = named
    client = gateway.client()
    client.send(request("GET", "/1") + request("GET", "/2") + b"BAD\r\n\r\n" + request("GET", "/3"))
    assert client.response().get("x-path") == "/1"
    assert client.response().get("x-path") == "/2"
    own_answer(client.response(), 400)
    assert client.is_closed()
    assert [seen.target for seen in upstream.requests] == ["/1", "/2"]


def test_requests_behind_a_close_are_not_served(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("GET", "/1", ["Connection: close"]) + request("GET", "/2"))
    answer = client.response()
    assert answer.status == 200 and says_close(answer)
    assert client.is_closed()
    time.sleep(0.1)
    assert [seen.target for seen in upstream.requests] == ["/1"]


def test_keep_alive_is_the_default_of_http11(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    for n in range(5):
        answer = client.exchange(request("GET", f"/{n}"))
        assert answer.status == 200 and not says_close(answer)
    assert len(upstream.requests) == 5


@cases({"close": "close", "Close": "Close", "in a list": "foo, close", "with keep-alive": "keep-alive, close"})
def test_connection_close_closes(t, value):
    gateway, upstream = t.shared()
    client = gateway.client()
    answer = client.exchange(request("GET", "/", [("Connection", value)]))
    assert answer.status == 200 and says_close(answer) and client.is_closed()


def test_http10_closes_by_default(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    answer = client.exchange(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert answer.status == 200 and answer.body == b"ok" and client.is_closed()


def test_http10_keeps_alive_when_asked(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        assert answer.status == 200 and answer.body == b"ok"
        assert "keep-alive" in answer.one("connection").lower(), answer
    assert len(upstream.requests) == 3


def test_two_at_once_use_two_upstream_connections(t):
    gateway, upstream = t.shared()
    gate = threading.Event()

    def reply(message, connection):
        gate.wait()
        return named(message, connection)

    upstream.reply = reply
    one, two = gateway.client(), gateway.client()
    one.send(request("GET", "/one"))
    two.send(request("GET", "/two"))
    upstream.wait_requests(2)
    gate.set()
    assert one.response().get("x-path") == "/one" and two.response().get("x-path") == "/two"
    assert len(upstream.connections) == 2


def test_client_that_pipelines_without_reading_is_paused(t):
    gateway, upstream = t.pair()
    upstream.record = False
    body = b"x" * 60_000
    upstream.reply = response(200, [], body)
    client = gateway.client(receive_buffer=16_384, record=False)
    one = request("GET", "/flood", [("X-Filler", "f" * 8000)])
    rss = gateway.process.rss_bytes()
    sent = client.send_while_taken(one * 10, 40 << 20)
    assert sent < 20 << 20, f"it took {sent} bytes of requests whose answers nobody reads"
    served = len(upstream.requests)
    assert served < 200, f"{served} requests went upstream with nobody reading"
    assert gateway.process.rss_bytes() - rss < 8 << 20
    whole = sent // len(one)
    for _ in range(whole):
        assert client.response(timeout=60, keep=False).body_bytes == len(body)
    eventually(lambda: len(upstream.requests) == whole, lambda: f"{len(upstream.requests)} of {whole}")


def test_pipelined_requests_of_a_client_that_left_are_dropped(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        time.sleep(0.3)
        return named(message, connection)

    upstream.reply = reply
    client = gateway.client()
    client.send(b"".join(request("GET", f"/{n}") for n in range(20)))
    upstream.wait_requests(1)
    client.reset()
    time.sleep(1.0)
    assert len(upstream.requests) <= 2, [seen.target for seen in upstream.requests]

# SPDX-License-Identifier: MIT
"""Expect: 100-continue (RFC 9110 10.1.1): decided first, then asked for."""

import threading
import time

from harness import cases
from harness.checks import nothing_sent, own_answer, says_close
from harness.message import request, response

EXPECT = "Expect: 100-continue"


def polite(connection):
    """An upstream that reads the head, asks for the body, reads it, answers."""
    while True:
        message = connection.read_head()
        if message.has("expect"):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.read_body(message)
        connection.send(response(200, [], b"took it"))


@cases({"100-continue": "100-continue", "in another case": "100-Continue"})
def test_the_100_of_the_upstream_is_relayed(t, value):
    gateway, upstream = t.shared()
    upstream.handler = polite
    client = gateway.client()
    for n in range(2):
        client.send(request("POST", f"/{n}", [("Expect", value), ("Content-Length", 5)]))
        assert client.head("POST").status == 100
        assert len(upstream.wait_requests(n + 1)[n].all("expect")) == 1
        client.send(b"hello")
        answer = client.response("POST")
        assert (answer.status, answer.interim) == (200, [])
        assert upstream.requests[n].body == b"hello"
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 200, record


def test_chunked_upload_waits_too(t):
    gateway, upstream = t.shared()
    upstream.handler = polite
    client = gateway.client()
    client.send(request("PUT", "/", [EXPECT, "Transfer-Encoding: chunked"]))
    assert client.head("PUT").status == 100
    client.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert client.response("PUT").body == b"took it" and upstream.requests[0].body == b"hello"


def test_no_100_before_the_upstream_says_so(t):
    gateway, upstream = t.shared()
    go = threading.Event()

    def handler(connection):
        connection.read_head()
        go.wait()
        connection.send(response(200, [], b"no need"))
        connection.rest()

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 5)]))
    upstream.wait_requests(1)
    assert client.is_silent(0.3), "a 100 that the upstream did not send"
    go.set()
    assert client.response("POST").body == b"no need"


@cases({"401": (401, "Unauthorized"), "413": (413, "Content Too Large"), "417": (417, "Expectation Failed"), "200": (200, "OK")})
def test_final_answer_instead_of_100_costs_no_upload(t, status, reason):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_head()
        connection.send(response(status, [], b"final", reason=reason))
        connection.rest()

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 5_000_000)]))
    answer = client.response("POST")
    assert (answer.status, answer.body, answer.interim) == (status, b"final", [])
    # A client that has its answer does not send the body: what follows is its next request, or the end.
    if not says_close(answer):
        return
    assert client.is_closed()


def test_client_that_does_not_wait_is_served(t):
    gateway, upstream = t.shared()
    upstream.handler = polite
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 5)], b"hello"))
    answer = client.response("POST")
    assert (answer.status, answer.body) == (200, b"took it")
    assert [interim.status for interim in answer.interim] in ([], [100])
    assert upstream.requests[0].body == b"hello"


def test_upstream_that_never_sends_100_gets_the_body_when_it_comes(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 5)]))
    time.sleep(0.3)
    client.send(b"hello")
    answer = client.response("POST")
    assert answer.status == 200 and upstream.requests[0].body == b"hello"


def test_body_over_the_limit_is_refused_before_100(t):
    gateway, upstream = t.shared({"client": {"max_body": "1KiB"}})
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 2000)]))
    answer = client.response("POST")
    own_answer(answer, 413)
    assert answer.interim == [] and client.is_closed()
    nothing_sent(upstream)


def test_denied_address_is_refused_before_100(t):
    gateway, upstream = t.shared({"deny": ["127.0.0.0/8"], "allow": []})
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 500)]))
    answer = client.response("POST")
    own_answer(answer, 403)
    assert answer.interim == []
    # Whether the body still comes is not known, so where the next request begins is not, either.
    assert says_close(answer) and client.is_closed()
    nothing_sent(upstream)


def test_spent_limit_is_refused_before_100(t):
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"day": 1}}})
    assert gateway.get("/").status == 200
    upstream.reset()
    client = gateway.client()
    client.send(request("POST", "/", [EXPECT, ("Content-Length", 5_000_000)]))
    answer = client.response("POST")
    own_answer(answer, 429)
    assert answer.interim == [], "it asked for a body that it then refused"
    nothing_sent(upstream)


@cases({"other": ["Expect: 200-ok"], "list with other": ["Expect: 100-continue, x"], "two fields": [EXPECT, "Expect: meow"]})
def test_other_expectations_are_417(t, lines):
    gateway, upstream = t.shared()
    client = gateway.client()
    answer = client.exchange(request("GET", "/", lines))
    own_answer(answer, 417)
    nothing_sent(upstream)
    if not says_close(answer):
        assert client.exchange(request("GET", "/next")).status == 200


@cases({"list": "100-continue, 100-Continue", "empty members": ", 100-continue,", "empty": ""})
def test_a_list_of_what_is_understood_passes(t, value):
    gateway, upstream = t.shared()
    answer = gateway.client().exchange(request("POST", "/", [("Expect", value)], b"hello"))
    assert answer.status == 200 and upstream.requests[0].body == b"hello"


def test_417_with_a_body_to_come_stays_in_step(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/", ["Expect: meow", ("Content-Length", 43)]))
    answer = client.response("POST")
    own_answer(answer, 417)
    try:
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: example.test\r\n\r\n"[:43])
        client.send(request("GET", "/next"))
        if not says_close(answer):
            assert client.response().status == 200
    except Exception:
        assert says_close(answer)
    time.sleep(0.1)
    assert "/smuggled" not in [seen.target for seen in upstream.requests]


@cases({"an expectation": ("Expect: meow", 417), "no further hop": ("Max-Forwards: 0", 501)})
def test_body_of_what_is_answered_at_once_is_read(t, line, status):
    """The gateway's first request, answered before it is known who asks: no earlier one has left a word on that."""
    gateway, upstream = t.pair()
    client = gateway.client()
    for _ in range(2):
        client.send(request("TRACE", "/", [line], b"hello"))
        own_answer(client.response("TRACE"), status)
        client = gateway.client() if client.is_closed(0.1) else client
    nothing_sent(upstream)


def test_expect_without_a_body_passes(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    answer = client.exchange(request("GET", "/", [EXPECT]))
    assert answer.status == 200


def test_http10_gets_no_100(t):
    gateway, upstream = t.shared()
    upstream.handler = polite
    client = gateway.client()
    client.send(b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    answer = client.response("POST")
    assert (answer.status, answer.interim) == (200, []) and upstream.requests[0].body == b"hello"

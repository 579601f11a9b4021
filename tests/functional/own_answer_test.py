# SPDX-License-Identifier: MIT
"""Answers that the gateway makes itself: fields, bodies, and what becomes of the connection."""

import time

from harness import cases
from harness.checks import nothing_sent, own_answer, says_close
from harness.message import chunked, request

DENY = {"deny": ["127.0.0.0/8"]}


def test_403_keeps_the_connection(t):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(request("GET", "/"))
        own_answer(answer, 403)
        assert not says_close(answer)
    nothing_sent(upstream)
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert (record["status"], record["decision"], record["upstream_ms"]) == (403, None, None), record


def test_403_reads_a_small_body_and_keeps_the_connection(t):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    client.send(request("POST", "/", body=b"x" * 1000) + request("GET", "/next"))
    own_answer(client.response("POST"), 403)
    own_answer(client.response(), 403)


@cases({
    "chunked": (["Transfer-Encoding: chunked"], chunked("one", "two")),
    "chunked with trailers": (["Transfer-Encoding: chunked"], chunked("one", trailers="X-Sum: 1\r\n")),
    "expected": ([("Content-Length", 5), "Expect: 100-continue"], b"hello"),
    "expected and chunked": (["Transfer-Encoding: chunked", "Expect: 100-continue"], chunked("hello")),
})  # fmt: skip
def test_403_to_a_whole_request_keeps_the_connection(t, fields, body):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    client.send(request("POST", "/", fields, body) + request("GET", "/next"))
    answer = client.response("POST")
    own_answer(answer, 403)
    assert not says_close(answer)
    own_answer(client.response(), 403)
    nothing_sent(upstream)


@cases({
    "half a chunk": (["Transfer-Encoding: chunked"], b"5\r\nhel"),
    "no last chunk": (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n"),
    "half a length": ([("Content-Length", 5), "Expect: 100-continue"], b"hel"),
    "broken chunk": (["Transfer-Encoding: chunked"], b"5\r\nhelloX\r\n0\r\n\r\n"),
})  # fmt: skip
def test_403_to_part_of_a_request_closes(t, fields, body):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    client.send(request("POST", "/", fields, body))
    answer = client.response("POST")
    own_answer(answer, 403)
    assert says_close(answer) and client.is_closed()
    nothing_sent(upstream)


def test_403_does_not_wait_for_a_small_body(t):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", 1000)]))
    answer = client.response("POST")
    own_answer(answer, 403)
    if not says_close(answer):
        client.send(b"x" * 1000 + request("GET", "/next"))
        own_answer(client.response(), 403)


@cases({"large": [("Content-Length", 50_000_000)], "chunked": ["Transfer-Encoding: chunked"]})
def test_403_of_a_large_upload_closes(t, fields):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    client.send(request("POST", "/", fields))
    answer = client.response("POST")
    own_answer(answer, 403)
    if says_close(answer):
        assert client.is_closed()
    nothing_sent(upstream)


def test_client_that_is_still_sending_sees_its_answer(t):
    """A close with unread bytes would send RST, and the client might lose the answer."""
    gateway, upstream = t.shared(DENY)
    for _ in range(5):
        client = gateway.client()
        client.send(request("POST", "/", [("Content-Length", 1_000_000)], b"x" * 300_000))
        time.sleep(0.02)
        own_answer(client.response("POST"), 403)
        assert client.rest() == b"" and not client.was_reset, "closed with a reset"
        client.close()


def test_head_gets_the_fields_and_no_body(t):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    got = client.exchange(request("GET", "/"))
    answer = client.exchange(request("HEAD", "/"))
    own_answer(answer, 403)
    assert answer.get("content-type") == got.get("content-type") and answer.has("content-length")
    assert client.is_silent(0.1)


def test_answer_carries_the_request_id(t):
    gateway, upstream = t.shared(DENY)
    answer = gateway.get("/", ["X-Request-Id: from-the-client"])
    assert own_answer(answer, 403)["request_id"] == "from-the-client"


def test_http10_client_gets_a_plain_answer(t):
    gateway, upstream = t.shared(DENY)
    client = gateway.client()
    answer = client.exchange(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    own_answer(answer, 403)
    assert answer.framing == "length" and client.is_closed()


def test_problem_json_when_asked_for(t):
    gateway, upstream = t.shared(DENY)
    answer = gateway.get("/", ["Accept: application/problem+json"])
    assert answer.status == 403
    assert answer.one("content-type").startswith("application/problem+json")


def test_no_answer_has_an_unescaped_body(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(b'GET /"<script> HTTP/1.1\r\nHost: "a\r\nX-Request-Id: "x\r\n\r\n')
    own_answer(client.response(), 400)


def test_502_keeps_the_connection(t):
    gateway, upstream = t.shared()
    upstream.reply = lambda message, connection: False
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(request("GET", "/"))
        own_answer(answer, 502)
        assert not says_close(answer)


def test_limits_refuse_before_the_deny_list(t):
    gateway, upstream = t.shared(dict(DENY, client={"max_body": "1KiB"}))
    answer = gateway.exchange(request("POST", "/", [("Content-Length", 5000)]))
    own_answer(answer, 413)

# SPDX-License-Identifier: MIT
"""The tools themselves: a strict reader that is not strict would make every other test worthless."""

from harness import cases
from harness.message import Loose, parse_request_head, request, response
from harness.client import Client

LOOSE = {
    "bare LF": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "both framings": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    "odd coding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
}


@cases(LOOSE)
def test_strict_reader_refuses(t, raw):
    try:
        parse_request_head(raw)
    except Loose:
        return
    raise AssertionError(f"took {raw!r}")


def test_strict_reader_takes_what_is_plain(t):
    raw = request("POST", "/a?b=c", [("X-Empty", ""), ("X", "a\tb c")], b"xyz")
    message = parse_request_head(raw[:-3])
    assert (message.method, message.target, message.length) == ("POST", "/a?b=c", 3)
    assert message.get("x") == "a\tb c" and message.get("x-empty") == ""


def test_scripted_upstream_records_and_answers(t):
    upstream = t.upstream()
    upstream.replies = [response(201, [("X-A", "b")], b"made", "Created")]
    client = Client(("127.0.0.1", upstream.port))
    assert client.exchange(request("POST", "/x", body=b"123")).body == b"made"
    assert client.exchange(request("GET", "/y")).body == b"ok"
    assert [r.target for r in upstream.requests] == ["/x", "/y"] and len(upstream.connections) == 1
    client.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    assert client.is_closed()
    assert len(upstream.errors) == 1 and "Loose" in upstream.errors[0]
    upstream.errors.clear()


def test_sample_api_answers(t):
    api = t.sample_api()
    client = Client(("127.0.0.1", api.port))
    assert client.exchange(request("GET", "/exploits?page=1&page_size=3")).status == 200
    assert client.exchange(request("POST", "/upload", body=b"x" * 100000)).body.startswith(b'{"bytes": 100000')
    assert client.exchange(request("HEAD", "/large?bytes=100")).get("content-length") == "100"
    assert client.exchange(request("GET", "/stream?chunks=3&ms=1")).framing == "chunked"
    assert client.exchange(request("GET", "/status/204")).framing == "none"
    assert client.exchange(request("GET", "/misbehave/short-body")).complete is False


def test_redis_keeps_and_loses_data(t):
    redis = t.redis()
    redis.command("SET", "a", "1")
    redis.restart(keep_data=True)
    assert redis.command("GET", "a") == "1"
    redis.command("SET", "b", "2")
    redis.restart()
    assert redis.command("GET", "b") is None

# SPDX-License-Identifier: MIT
"""Request heads: what is refused, what is tolerated, what passes byte for byte (RFC 9112 2 to 5)."""

import time

from harness import cases
from harness.checks import nothing_sent, passed, refused
from harness.message import request
from harness.watch import Watch
from harness.wire import Closed, Silent

HOST = b"Host: example.test\r\n"
TLS_HELLO = bytes.fromhex(
    "16030100a5010000a10303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20e0e1e2e3e4e5e6e7e8e9ea"
    "ebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000813021303130100ff01000050"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"

BAD_LINES = {
    "HTTP/0.9": (b"GET /\r\n\r\n", 400, 505),
    "HTTP/0.9 with a field": (b"GET /\r\n" + HOST + b"\r\n", 400, 505),
    "version 0.9": (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 400, 505),
    "version 1.2": (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 400, 505),
    "version 2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "version 3.0": (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", 505),
    "version 2": (b"GET / HTTP/2\r\n" + HOST + b"\r\n", 400, 505),
    "version 1.10": (b"GET / HTTP/1.10\r\n" + HOST + b"\r\n", 400, 505),
    "version 01.1": (b"GET / HTTP/01.1\r\n" + HOST + b"\r\n", 400, 505),
    "version without minor": (b"GET / HTTP/1\r\n" + HOST + b"\r\n", 400, 505),
    "lower-case version": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, 505),
    "foreign protocol": (b"GET / ICY/1.1\r\n" + HOST + b"\r\n", 400, 505),
    "RTSP": (b"DESCRIBE rtsp://a.test/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400, 501, 505),
    "space after version": (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    "two spaces after method": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "two spaces before version": (b"GET /  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tab after method": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "tab before version": (b"GET /\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "leading space": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "vertical tab": (b"GET\x0b/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "form feed": (b"GET / \x0cHTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "empty method": (b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "method no token": (b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "method with colon": (b"GET: / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "method with slash": (b"GE/T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "method with high byte": (b"G\xc9T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "method with NUL": (b"GE\0T / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "bare LF after the request line": (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    "bare CR after the request line": (b"GET / HTTP/1.1\r" + HOST + b"\r\n", 400),
    "CR CR LF after the request line": (b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n", 400),
    "bare LF throughout": (b"GET / HTTP/1.1\nHost: example.test\n\n", 400),
    "leading bare LF": (b"\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "leading bare CR": (b"\rGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/2 preface": (H2_PREFACE, 400, 505),
    "TLS hello": (TLS_HELLO, 400),
    "TLS hello and newline": (TLS_HELLO + b"\r\n\r\n", 400),
    "SSH banner": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, 501),
    "SMTP": (b"EHLO example.test\r\n\r\n", 400, 501),
    "PROXY protocol unasked": (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501),
    "PROXY v2 unasked": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\0" * 12 + b"GET / HTTP/1.1\r\n\r\n", 400),
    "binary": (bytes(range(128, 256)) * 2 + b"\r\n\r\n", 400),
    "NULs": (b"\0" * 64 + b"\r\n\r\n", 400),
    "a response": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400, 501, 505),
    "a JSON body": (b'{"a": 1}\r\n\r\n', 400, 501),
}


@cases({name: (raw[0], raw[1:]) for name, raw in BAD_LINES.items()})
def test_bad_request_line_is_refused(t, raw, statuses):
    gateway, upstream = t.shared()
    refused(gateway, upstream, raw, *statuses)


def head_with(*lines):
    return b"GET / HTTP/1.1\r\n" + HOST + b"".join(lines) + b"\r\n"


BAD_FIELDS = {
    "space before colon": head_with(b"X-A : b\r\n"),
    "tab before colon": head_with(b"X-A\t: b\r\n"),
    "space before colon of Host": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "space before colon of Content-Length": head_with(b"Content-Length : 0\r\n"),
    "space before colon of Transfer-Encoding": head_with(b"Transfer-Encoding : chunked\r\n"),
    "empty name": head_with(b": b\r\n"),
    "no colon": head_with(b"X-A\r\n"),
    "name with space": head_with(b"X A: b\r\n"),
    "name with at": head_with(b"X@A: b\r\n"),
    "name with slash": head_with(b"X/A: b\r\n"),
    "name with quote": head_with(b'X"A: b\r\n'),
    "name with parenthesis": head_with(b"X(A): b\r\n"),
    "name with brace": head_with(b"X{A: b\r\n"),
    "name with comma": head_with(b"X,A: b\r\n"),
    "name with NUL": head_with(b"X\0A: b\r\n"),
    "name with control": head_with(b"X\x01A: b\r\n"),
    "name with DEL": head_with(b"X\x7fA: b\r\n"),
    "name with high byte": head_with(b"X\xe9A: b\r\n"),
    "obs-fold with space": head_with(b"X-A: b\r\n c\r\n"),
    "obs-fold with tab": head_with(b"X-A: b\r\n\tc\r\n"),
    "obs-fold of an empty line": head_with(b"X-A: b\r\n \r\n"),
    "obs-fold of Transfer-Encoding": head_with(b"Transfer-Encoding:\r\n chunked\r\n"),
    "obs-fold of Content-Length": head_with(b"Content-Length: 1\r\n 0\r\n"),
    "fold before the first field": b"GET / HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n",
    "tab before the first field": b"GET / HTTP/1.1\r\n\tX-A: b\r\n" + HOST + b"\r\n",
    "NUL in value": head_with(b"X-A: b\0c\r\n"),
    "NUL at the end of value": head_with(b"X-A: b\0\r\n"),
    "control in value": head_with(b"X-A: b\x01c\r\n"),
    "backspace in value": head_with(b"X-A: b\x08c\r\n"),
    "vertical tab in value": head_with(b"X-A: b\x0bc\r\n"),
    "form feed in value": head_with(b"X-A: b\x0cc\r\n"),
    "escape in value": head_with(b"X-A: b\x1bc\r\n"),
    "DEL in value": head_with(b"X-A: b\x7fc\r\n"),
    "bare CR in value": head_with(b"X-A: b\rc\r\n"),
    "bare CR before the end": head_with(b"X-A: b\r\r\n"),
    "bare CR that hides a field": head_with(b"X-A: b\rTransfer-Encoding: chunked\r\n"),
    "bare LF in value": head_with(b"X-A: b\nX-B: c\r\n"),
    "bare LF that hides a field": head_with(b"X-A: b\nTransfer-Encoding: chunked\r\n"),
    "bare LF ends the head": b"GET / HTTP/1.1\r\n" + HOST + b"\n",
    "CR LF then CR then text": b"GET / HTTP/1.1\r\n" + HOST + b"\rX: y\r\n\r\n",
    "LF CR LF": b"GET / HTTP/1.1\r\nHost: example.test\n\r\n",
}


@cases(BAD_FIELDS)
def test_bad_field_is_refused(t, raw):
    gateway, upstream = t.shared()
    refused(gateway, upstream, raw, 400)


@cases({name: BAD_FIELDS[name] for name in ("space before colon", "obs-fold with space", "NUL in value", "bare CR in value",
                                            "bare LF in value", "bare LF ends the head")})
def test_bad_field_is_refused_byte_by_byte(t, raw):
    gateway, upstream = t.shared()
    client = gateway.client()
    try:
        client.send_slowly(raw, 0.0005)
    except Exception:
        pass
    answer = client.response()
    assert answer.status == 400 and client.is_closed(), answer
    nothing_sent(upstream)


@cases({"one": b"\r\n", "two": b"\r\n\r\n"})
def test_leading_empty_lines_are_tolerated(t, lead):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, lead + request("GET", "/x"), method="GET")
    assert seen.raw_head.startswith(b"GET /x HTTP/1.1\r\n")


def test_endless_leading_empty_lines_are_not(t):
    gateway, upstream = t.shared({"client": {"idle_timeout": "1s", "header_timeout": "1s"}})
    client = gateway.client()
    with Watch(gateway, 0.0, 4.0):
        try:
            while True:
                client.send(b"\r\n" * 1024)
                time.sleep(0.01)
        except (Closed, Silent):
            pass
    assert client.rest()[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 414", b"HTTP/1.1 408")
    nothing_sent(upstream)


def test_empty_line_between_requests_is_tolerated(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/1", body=b"abc") + b"\r\n" + request("GET", "/2"))
    assert client.response("POST").status == 200 and client.response().status == 200
    assert [seen.target for seen in upstream.requests] == ["/1", "/2"]


@cases({method: method for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "REPORT",
                                      "PURGE", "M-SEARCH", "QUERY", "LINK", "BREW", "get", "X!y#z")})
def test_method_passes_byte_for_byte(t, method):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request(method, "/m"))
    assert seen.method == method


def test_fields_pass_byte_for_byte_and_in_order(t):
    gateway, upstream = t.shared()
    fields = [
        ("x-lower", "1"),
        ("X-UPPER", "2"),
        ("X-Repeat", "a"),
        ("X-Other", "between"),
        ("X-Repeat", "b"),
        ("X-Empty", ""),
        ("X-Inner", "a \t b  c"),
        ("X-Colons", "a:b::c"),
        ("X-High", "caf\xe9 \x80\xff"),
        ("X-Quoted", '"a, b\\"c"'),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("!#$%&'*+-.^_`|~9", "every token character"),
        ("Authorization", "Bearer abc.def"),
        ("X-API-Key", "k"),
        ("Stripe-Signature", "t=1,v1=abc"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("Accept-Encoding", "gzip;q=1.0, *;q=0"),
        ("If-None-Match", 'W/"x", "y"'),
        ("Range", "bytes=0-1"),
    ]
    _, seen = passed(gateway, upstream, request("GET", "/", fields))
    own = [field for field in seen.fields if field in fields]
    assert own == fields, seen.fields


def test_whitespace_around_values_is_no_part_of_them(t):
    gateway, upstream = t.shared()
    raw = b"GET / HTTP/1.1\r\nHost:example.test\r\nX-A:b\r\nX-B:   c   \r\nX-C:\td\t\r\nX-D: \t \r\n\r\n"
    _, seen = passed(gateway, upstream, raw)
    assert (seen.get("x-a"), seen.get("x-b"), seen.get("x-c"), seen.get("x-d")) == ("b", "c", "d", "")
    assert seen.one("host") == "example.test"


def test_head_split_at_every_byte(t):
    gateway, upstream = t.shared()
    raw = request("POST", "/split", [("X-A", "b"), ("Transfer-Encoding", "chunked")], None) + b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n"
    client = gateway.client()
    for at in range(1, len(raw), 3):
        client.send(raw[:at])
        time.sleep(0.002)
        client.send(raw[at:])
        assert client.response("POST").status == 200
        seen = upstream.requests[-1]
        assert (seen.target, seen.body, seen.get("x-a")) == ("/split", b"abc", "b"), seen


def test_request_sent_byte_by_byte(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send_slowly(request("POST", "/slow", body=b"hello"), 0.0005)
    assert client.response("POST").status == 200
    assert upstream.requests[0].body == b"hello"


def test_half_a_head_and_the_end_is_no_request(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(b"GET / HTTP/1.1\r\nHost: exam")
    client.half_close()
    assert client.rest()[:12] in (b"", b"HTTP/1.1 400")
    nothing_sent(upstream)


def test_connection_without_a_byte_leaves_no_trace(t):
    gateway, upstream = t.shared()
    gateway.get("/before")  # lines of earlier tests are up to 100 ms late, and no later than that of this one
    gateway.last_access(path="/before")
    before, said = len(gateway.access()), gateway.stderr()
    for _ in range(5):
        gateway.client().close()
    gateway.get("/after")
    gateway.last_access(path="/after")
    assert len(gateway.access()) == before + 1
    assert gateway.stderr() == said
    upstream.reset()
    nothing_sent(upstream)


def test_half_closed_client_still_gets_its_answer(t):
    gateway, upstream = t.shared()
    upstream.reply = lambda message, connection: (time.sleep(0.2), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")[1]
    client = gateway.client()
    client.send(request("GET", "/"))
    client.half_close()
    assert client.response().body == b"late"
    assert client.is_closed()

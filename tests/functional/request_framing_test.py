# SPDX-License-Identifier: MIT
"""Content-Length, Transfer-Encoding and chunks of requests: one reading, or none (RFC 9112 6, 7)."""

import os

from harness import cases
from harness.checks import cut_off, own_answer, passed, refused, says_close
from harness.message import chunked, request

HOST = "Host: example.test"


def post(*lines, body=b"", version="HTTP/1.1", method="POST"):
    head = "\r\n".join([f"{method} /framing {version}", HOST, *lines]) + "\r\n\r\n"
    return head.encode("latin-1") + body


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"
LENGTHS = {
    "empty": [""],
    "negative": ["-1"],
    "plus": ["+5"],
    "hex": ["0x5"],
    "letters": ["abc"],
    "trailing letter": ["5a"],
    "fraction": ["5.0"],
    "exponent": ["5e0"],
    "inner space": ["1 0"],
    "inner tab": ["1\t0"],
    "underscore": ["1_0"],
    "quoted": ['"5"'],
    "list, equal": ["5, 5"],
    "list, different": ["5, 6"],
    "list with empty": ["5,"],
    "list with leading empty": [",5"],
    "semicolon": ["5;"],
    "twice, equal": ["5", "5"],
    "twice, different": ["5", "6"],
    "twice, zero first": ["0", "5"],
    "2^63": ["9223372036854775808"],
    "2^64": ["18446744073709551616"],
    "2^64 + 5": ["18446744073709551621"],
    "40 digits": ["1" * 40],
    "40 zeros and 2^64": ["0" * 40 + "18446744073709551616"],
    "high digits": ["\xb2"],
    "fullwidth": ["\xef\xbc\x95"],
    "NUL after": ["5\0"],
}


@cases({name: (values,) for name, values in LENGTHS.items()})
def test_bad_content_length_is_refused(t, values):
    gateway, upstream = t.shared()
    lines = [f"Content-Length: {value}" for value in values]
    refused(gateway, upstream, post(*lines, body=b"hello" + SMUGGLED), 400, 413, method="POST")


@cases({name: (LENGTHS[name],) for name in ("negative", "list, different", "twice, different", "letters")})
def test_bad_content_length_of_get_is_refused(t, values):
    gateway, upstream = t.shared()
    lines = [f"Content-Length: {value}" for value in values]
    refused(gateway, upstream, post(*lines, body=SMUGGLED, method="GET"), 400)


BOTH = {
    "length first": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "coding first": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "zero length": ["Content-Length: 0", "Transfer-Encoding: chunked"],
    "apart": ["Content-Length: 5", "X-A: b", "Transfer-Encoding: chunked"],
    "odd case": ["content-length: 5", "TRANSFER-ENCODING: CHUNKED"],
    "identity and length": ["Content-Length: 5", "Transfer-Encoding: identity"],
    "length named by Connection": ["Connection: Content-Length", "Content-Length: 5", "Transfer-Encoding: chunked"],
}


@cases({name: (lines,) for name, lines in BOTH.items()})
def test_both_framings_are_refused(t, lines):
    gateway, upstream = t.shared()
    refused(gateway, upstream, post(*lines, body=b"0\r\n\r\n" + SMUGGLED), 400, 501, method="POST")


CODINGS = {
    "identity": ["identity"],
    "gzip": ["gzip"],
    "gzip, chunked": ["gzip, chunked"],
    "chunked, gzip": ["chunked, gzip"],
    "chunked, identity": ["chunked, identity"],
    "identity, chunked": ["identity, chunked"],
    "chunked, chunked": ["chunked, chunked"],
    "two fields": ["chunked", "chunked"],
    "two fields, identity": ["chunked", "identity"],
    "two fields, gzip first": ["gzip", "chunked"],
    "xchunked": ["xchunked"],
    "chunkedx": ["chunkedx"],
    "chunked;q": ["chunked;q=1"],
    "quoted": ['"chunked"'],
    "leading comma": [", chunked"],
    "trailing comma": ["chunked,"],
    "empty": [""],
    "inner space": ["chun ked"],
    "vertical tab": ["\x0bchunked"],
    "NUL after": ["chunked\0"],
    "high byte": ["chunked\xff"],
    "cow": ["cow"],
    "long s": ["\xc5\xbfchunked"],
}


@cases({name: (values,) for name, values in CODINGS.items()})
def test_any_coding_but_chunked_is_refused(t, values):
    gateway, upstream = t.shared()
    lines = [f"Transfer-Encoding: {value}" for value in values]
    refused(gateway, upstream, post(*lines, body=b"0\r\n\r\n" + SMUGGLED), 400, 501, method="POST")


def test_chunked_from_http10_is_refused(t):
    gateway, upstream = t.shared()
    refused(gateway, upstream, post("Transfer-Encoding: chunked", body=b"0\r\n\r\n", version="HTTP/1.0"), 400, 501, method="POST")


@cases({value: value for value in ("chunked", "Chunked", "CHUNKED")})
def test_chunked_passes_in_any_case(t, value):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, post(f"Transfer-Encoding: {value}", body=chunked("hello", " ", "world")))
    assert seen.framing == "chunked" and seen.body == b"hello world"


@cases({"GET": "GET", "HEAD": "HEAD", "DELETE": "DELETE", "OPTIONS": "OPTIONS", "POST": "POST"})
def test_body_of_any_method_passes(t, method):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request(method, "/b", body=b"payload"))
    assert (seen.body, seen.one("content-length")) == (b"payload", "7")
    _, seen = passed(gateway, upstream, request(method, "/b", ["Transfer-Encoding: chunked"], chunked("payload")))
    assert seen.body == b"payload"


def test_content_length_zero_is_kept(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("POST", "/", body=b""))
    assert seen.one("content-length") == "0" and not seen.has("transfer-encoding")


def test_post_without_framing_has_no_body(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("POST", "/"))
    assert seen.body == b"" and not seen.has("transfer-encoding") and seen.get("content-length", "0") == "0"


def test_get_without_body_gets_no_framing(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/"))
    assert not seen.has("transfer-encoding") and not seen.has("content-length")


GOOD_CHUNKS = {
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "none": (b"0\r\n\r\n", b""),
    "upper-case size": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "lower-case size": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "extension": (b"5;name=value\r\nhello\r\n0;last\r\n\r\n", b"hello"),
    "quoted extension": (b'5;name="a;b \\" c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "extension without value": (b"5;name\r\nhello\r\n0\r\n\r\n", b"hello"),
    "bytes that look like chunks": (b"7\r\n0\r\n\r\nGE\r\n0\r\n\r\n", b"0\r\n\r\nGE"),
    "single bytes": (b"".join(b"1\r\n%c\r\n" % byte for byte in b"abcdef") + b"0\r\n\r\n", b"abcdef"),
}


@cases(GOOD_CHUNKS)
def test_chunks_are_written_anew(t, body, plain):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, post("Transfer-Encoding: chunked", body=body))
    assert seen.body == plain, seen  # the strict reader takes no extension, whatever the framing


BAD_CHUNKS = {
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "leading tab": b"\t5\r\nhello\r\n0\r\n\r\n",
    "trailing space": b"5 \r\nhello\r\n0\r\n\r\n",
    "trailing tab": b"5\t\r\nhello\r\n0\r\n\r\n",
    "no hex": b"g\r\nhello\r\n0\r\n\r\n",
    "hex then letter": b"5g\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "extension without size": b";a=b\r\nhello\r\n0\r\n\r\n",
    "2^64": b"10000000000000000\r\nhello\r\n0\r\n\r\n",
    "2^64 + 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "2^128": b"100000000000000000000000000000000\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "quoted size": b'"5"\r\nhello\r\n0\r\n\r\n',
    "bare LF after size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR after size": b"5\rhello\r\n0\r\n\r\n",
    "CR CR LF after size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "bare LF after data": b"5\r\nhello\n0\r\n\r\n",
    "nothing after data": b"5\r\nhello0\r\n\r\n",
    "data too long": b"5\r\nhellohello\r\n0\r\n\r\n",
    "data too short": b"5\r\nhel\r\n0\r\n\r\n",
    "bare LF after last chunk": b"5\r\nhello\r\n0\n\r\n",
    "bare LF ends the body": b"5\r\nhello\r\n0\r\n\n",
    "bare LF in extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "bare CR in extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in extension": b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "NUL in size": b"5\0\r\nhello\r\n0\r\n\r\n",
    "NUL trailer": b"5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n",
    "trailer without colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
    "trailer with space before colon": b"5\r\nhello\r\n0\r\nX : a\r\n\r\n",
    "trailer folded": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    "trailer with bare LF": b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    "trailer with bare CR": b"5\r\nhello\r\n0\r\nX: a\rY: b\r\n\r\n",
    "trailer with empty name": b"5\r\nhello\r\n0\r\n: a\r\n\r\n",
    "trailer line LF only": b"5\r\nhello\r\n0\r\nX: a\n\r\n",
}


@cases(BAD_CHUNKS)
def test_bad_chunk_never_completes_a_request(t, body):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(post("Transfer-Encoding: chunked", body=body + SMUGGLED))
    answer = client.response("POST")
    own_answer(answer, 400)
    assert says_close(answer) and client.is_closed(), answer
    cut_off(upstream)
    assert b"smuggled" not in upstream.bytes_seen()
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 400, record


@cases({name: BAD_CHUNKS[name] for name in ("0x", "bare LF after data", "2^64", "trailer folded")})
def test_bad_second_chunk_cuts_the_request_off(t, body):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(post("Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"))
    upstream.wait_connections(1)
    client.send(body)
    answer = client.response("POST")
    own_answer(answer, 400)
    assert client.is_closed()
    cut_off(upstream)


def test_trailers_pass(t):
    gateway, upstream = t.shared()
    body = chunked("hello", trailers="X-Checksum: abc\r\nX-Second: d e\r\n")
    _, seen = passed(gateway, upstream, post("Transfer-Encoding: chunked", "Trailer: X-Checksum", body=body))
    assert seen.body == b"hello"
    assert seen.trailers == [("X-Checksum", "abc"), ("X-Second", "d e")]


FORBIDDEN_TRAILERS = ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil.test", "Authorization: Bearer x",
                      "Connection: close", "X-Forwarded-For: 1.2.3.4", "Content-Type: a/b", "Trailer: X", "TE: trailers",
                      "Expect: 100-continue", "X-API-Key: k"]


@cases({line: line for line in FORBIDDEN_TRAILERS})
def test_forbidden_trailer_does_not_pass(t, line):
    """RFC 9110 6.5.1: framing, routing, authentication and content fields are no trailers."""
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(post("Transfer-Encoding: chunked", body=chunked("hello", trailers=line + "\r\nX-Fine: 1\r\n")))
    answer = client.response("POST")
    if answer.status == 400:
        cut_off(upstream)
        return
    assert answer.status == 200, answer
    names = upstream.requests[0].trailers.names()
    assert line.split(":")[0].lower() not in names, names


@cases({"length": False, "chunked": True})
def test_large_body_passes_unchanged(t, as_chunks):
    gateway, upstream = t.shared()
    body = os.urandom(3_000_000)
    if as_chunks:
        data = post("Transfer-Encoding: chunked", body=chunked(body[:1], body[1:70000], body[70000:]))
    else:
        data = post(f"Content-Length: {len(body)}", body=body)
    answer, seen = passed(gateway, upstream, data)
    assert seen.body == body
    assert gateway.last_access(request_id=answer.one("x-request-id"))["bytes_in"] >= len(body)


def test_body_bytes_that_look_like_a_request_stay_body(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    _, seen = passed(gateway, upstream, post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED), client=client)
    assert seen.body == SMUGGLED
    passed(gateway, upstream, request("GET", "/next"), client=client)
    assert [r.target for r in upstream.requests] == ["/framing", "/next"]


def test_bytes_after_a_get_are_the_next_request(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("GET", "/first") + b"not a request\r\n\r\n")
    assert client.response().status == 200
    own_answer(client.response(), 400)
    assert client.is_closed()
    assert [r.target for r in upstream.requests] == ["/first"]


def test_client_that_leaves_within_its_body_completes_nothing(t):
    gateway, upstream = t.shared()
    for data in (post("Content-Length: 10", body=b"12345"), post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n")):
        client = gateway.client()
        client.send(data)
        upstream.wait_connections(1)
        client.close()
        cut_off(upstream)
        upstream.reset()


def test_client_that_half_closes_within_its_body_completes_nothing(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(post("Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
    upstream.wait_connections(1)
    client.half_close()
    assert client.rest()[:12] in (b"", b"HTTP/1.1 400")
    cut_off(upstream)


@cases({"leading zeros": "007", "trailing space": "7 ", "leading tab": "\t7"})
def test_odd_but_plain_length_is_normalised_or_refused(t, value):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(post(f"Content-Length: {value}", body=b"payload") + request("GET", "/next"))
    answer = client.response("POST")
    if answer.status == 400:
        assert client.is_closed() and upstream.requests == []
        return
    assert answer.status == 200 and client.response().status == 200
    assert [(seen.target, seen.body) for seen in upstream.requests] == [("/framing", b"payload"), ("/next", b"")]

# SPDX-License-Identifier: MIT
"""Answers of the upstream: RFC 9112 6.3's body rules, and what is no answer at all."""

import threading
import time

from harness import cases, eventually
from harness.checks import own_answer, says_close
from harness.message import chunked, request, response
from harness.wait import PATIENCE


def close_after(data):
    """A reply that sends these bytes and closes the connection."""

    def reply(message, connection):
        connection.send(data)
        return False

    return reply


def reset_after(data):
    def reply(message, connection):
        connection.send(data)
        time.sleep(0.05)
        connection.reset()
        return False

    return reply


GOOD = {
    "length": (response(200, [], b"hello"), b"hello"),
    "length zero": (response(200, [], b""), b""),
    "chunked": (response(200, ["Transfer-Encoding: chunked"], chunked("hel", "lo")), b"hello"),
    "chunked, empty": (response(200, ["Transfer-Encoding: chunked"], chunked()), b""),
    "chunked in capitals": (response(200, ["Transfer-Encoding: CHUNKED"], chunked("hello")), b"hello"),
    "chunked with extensions": (response(200, ["Transfer-Encoding: chunked"], b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), b"hello"),
    "leading zeros in a chunk size": (response(200, ["Transfer-Encoding: chunked"], b"0005\r\nhello\r\n00\r\n\r\n"), b"hello"),
    "empty reason": (response(200, [], b"hello", reason=""), b"hello"),
    "long reason": (response(200, [], b"hello", reason="Anything: goes, here"), b"hello"),
    "high bytes in reason": (response(200, [], b"hello", reason="tr\xe8s bien"), b"hello"),
    "status 201": (response(201, [], b"hello", reason="Created"), b"hello"),
    "status 299": (response(299, [], b"hello", reason="Odd"), b"hello"),
    "status 402": (response(402, [("X-Payment-Required", "1")], b"hello", reason="Payment Required"), b"hello"),
    "status 404": (response(404, [], b"hello", reason="Not Found"), b"hello"),
    "status 500": (response(500, [], b"hello", reason="Internal Server Error"), b"hello"),
    "status 599": (response(599, [], b"hello", reason="Odd"), b"hello"),
    "large": (response(200, [], b"x" * 300_000), b"x" * 300_000),
}


@cases(GOOD)
def test_answer_passes(t, raw, body):
    gateway, upstream = t.shared()
    upstream.reply = raw
    client = gateway.client()
    for _ in range(2):
        answer = client.exchange(request("GET", "/"))
        assert (answer.status, answer.body, answer.complete) == (int(raw[9:12]), body, True), answer
        assert answer.start.encode("latin-1") == raw.split(b"\r\n", 1)[0]
        assert not says_close(answer)
    assert len(upstream.connections) == 1, "the upstream connection was not used again"
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == answer.status and not record.get("reason"), record


def test_framing_of_the_answer_is_kept(t):
    gateway, upstream = t.shared()
    upstream.replies = [response(200, [], b"hello"), response(200, ["Transfer-Encoding: chunked"], chunked("hello"))]
    assert gateway.get("/").framing == "length"
    assert gateway.get("/").framing == "chunked"


def test_trailers_of_the_answer_pass(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, ["Transfer-Encoding: chunked", "Trailer: X-Sum"], chunked("hello", trailers="X-Sum: abc\r\n"))
    answer = gateway.get("/")
    assert answer.body == b"hello" and answer.trailers == [("X-Sum", "abc")]


def test_close_delimited_becomes_chunked(t):
    gateway, upstream = t.shared()
    upstream.reply = close_after(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(request("GET", "/"))
        assert (answer.framing, answer.body, answer.complete) == ("chunked", b"until the end", True), answer
        assert not says_close(answer)
    assert len(upstream.connections) == 3


def test_close_delimited_and_empty(t):
    gateway, upstream = t.shared()
    upstream.reply = close_after(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    answer = gateway.get("/")
    assert (answer.status, answer.body, answer.complete) == (200, b"", True)


@cases({"plain": "", "keep-alive": "Connection: keep-alive\r\n"})
def test_close_delimited_stays_so_for_http10(t, line):
    gateway, upstream = t.shared()
    upstream.reply = close_after(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
    answer = gateway.exchange(f"GET / HTTP/1.0\r\nHost: a\r\n{line}\r\n")
    assert (answer.framing, answer.body) == ("close", b"until the end"), answer
    assert not answer.has("transfer-encoding")


@cases({"plain": "", "keep-alive": "Connection: keep-alive\r\n"})
def test_chunked_is_undone_for_http10(t, line):
    gateway, upstream = t.shared()
    upstream.reply = response(200, ["Transfer-Encoding: chunked"], chunked("hel", "lo", trailers="X-T: v\r\n"))
    answer = gateway.exchange(f"GET / HTTP/1.0\r\nHost: a\r\n{line}\r\n")
    assert (answer.framing, answer.body, answer.complete) == ("close", b"hello", True), answer
    assert not answer.has("transfer-encoding") and not answer.has("trailer")


def test_http10_answer_is_passed(t):
    gateway, upstream = t.shared()
    upstream.reply = close_after(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
    answer = gateway.get("/")
    assert answer.body == b"old" and answer.start.startswith("HTTP/1.1 200")
    upstream.reply = close_after(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
    answer = gateway.get("/")
    assert answer.body == b"old" and answer.get("content-length") == "3"
    assert len(upstream.connections) == 2


BAD = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 200",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Len",
    "head without its end": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    "no head at all": b"just a body\n",
    "garbage": bytes(range(256)),
    "TLS alert": bytes.fromhex("15030100020228"),
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2 status": b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9 version": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ICY": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower-case protocol": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status no number": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status signed": b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces before status": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "leading space": b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "control in reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "NUL in reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "bare CR in reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "bare LF throughout": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF after a field": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "control in a value": b"HTTP/1.1 200 OK\r\nX: a\x02b\r\nContent-Length: 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
    "empty name": b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
    "name no token": b"HTTP/1.1 200 OK\r\nX A: x\r\nContent-Length: 0\r\n\r\n",
    "fold before the first field": b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
    "lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "lengths that differ in a list": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "hex length": b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    "length no number": b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    "empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
    "length too large": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "both framings, other order": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "coding gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "coding gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "coding identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "only 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nraw",
}


@cases(BAD)
def test_bad_head_is_502(t, raw):
    gateway, upstream = t.shared()
    upstream.reply = close_after(raw)
    before = gateway.metrics()
    client = gateway.client()
    client.send(request("GET", "/bad"))
    answer = client.response()
    own_answer(answer, 502)
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 502 and record.get("reason"), record
    change = gateway.metrics().minus(before)
    assert change.total("requests_total", status="502") == 1, change
    assert change.total("upstream_errors_total") == 1, change
    # The connection to the client lives on, and nothing of the bad answer is left on it.
    upstream.reply = response(200, [], b"fine")
    assert client.exchange(request("GET", "/next")).body == b"fine"


@cases({"fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "space before colon": b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok"})
def test_sloppy_head_is_refused_or_cleaned(t, raw):
    """RFC 9112 5.1 and 5.2 let a proxy do either; the strict reader sees that it did one."""
    gateway, upstream = t.shared()
    upstream.reply = close_after(raw)
    assert gateway.get("/").status in (200, 502)


def test_equal_lengths_are_one_length_or_502(t):
    gateway, upstream = t.shared()
    upstream.reply = close_after(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
    answer = gateway.get("/")
    assert answer.status == 502 or (answer.body == b"hello" and answer.one("content-length") == "5"), answer


def test_head_at_32_kib_passes_and_over_it_is_502(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, [("X-Filler", "x" * 32_000)], b"ok")
    answer = gateway.get("/")
    assert answer.status == 200 and len(answer.one("x-filler")) == 32_000
    upstream.reply = response(200, [("X-Filler", "x" * 33_000)], b"ok")
    own_answer(gateway.get("/"), 502)


def test_head_without_end_is_502_and_bounded(t):
    gateway, upstream = t.pair()

    def endless(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.send(b"X-More: " + b"x" * 8000 + b"\r\n")

    upstream.reply = endless
    rss = gateway.process.rss_bytes()
    own_answer(gateway.get("/"), 502)
    assert gateway.process.rss_bytes() - rss < 4 << 20
    eventually(lambda: not upstream.open_connections(), "the connection stays open")


def test_too_many_fields_of_an_answer_are_handled(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, [(f"X-{n}", n) for n in range(60)], b"ok")
    answer = gateway.get("/")
    assert answer.status == 200 and [answer.get(f"x-{n}") for n in range(60)] == [str(n) for n in range(60)]


CUT = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", b"only this"),
    "chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this", b"only this"),
    "between chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n", b"only this"),
    "before the last CRLF": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n", b"only this"),
    "in a trailer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\nX-T: v", b"only this"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n", b"only this"),
    "chunk with 0x": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0x1\r\na\r\n0\r\n\r\n", b"only this"),
    "bare LF chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n1\na\r\n0\r\n\r\n", b"only this"),
    "chunk overflow": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n10000000000000001\r\na\r\n0\r\n\r\n",
                       b"only this"),
}


@cases(CUT)
def test_body_cut_short_arrives_cut_short(t, raw, body):
    gateway, upstream = t.shared()
    upstream.reply = close_after(raw)
    client = gateway.client()
    client.send(request("GET", "/cut"))
    answer = client.response()
    assert answer.status in (200, 502), answer
    if answer.status == 200:
        assert not answer.complete, answer
        assert body in client.received, "what came before the cut is passed on"
    assert client.is_closed() or answer.status == 502
    record = gateway.last_access(path="/cut")
    assert record.get("reason"), record


@cases({name: CUT[name][0] for name in ("length", "between chunks", "bad chunk")})
def test_body_cut_short_is_never_complete_for_http10(t, raw):
    gateway, upstream = t.shared()
    upstream.reply = close_after(raw)
    client = gateway.client()
    client.send(b"GET /cut HTTP/1.0\r\nHost: a\r\n\r\n")
    answer = client.response()
    assert answer.status == 502 or not answer.complete, answer


def test_reset_of_a_close_delimited_body_is_a_cut(t):
    gateway, upstream = t.shared()
    upstream.reply = reset_after(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the")
    answer = gateway.get("/")
    assert answer.status == 502 or not answer.complete, answer


def test_bytes_after_the_end_poison_nothing(t):
    gateway, upstream = t.shared()
    evil = response(200, [], b"evil")
    upstream.replies = [response(200, [], b"one") + evil]
    upstream.reply = response(200, [], b"two")
    client = gateway.client()
    assert client.exchange(request("GET", "/1")).body == b"one"
    for n in range(2, 5):
        assert client.exchange(request("GET", f"/{n}")).body == b"two"
    assert upstream.requests[1].connection is not upstream.requests[0].connection, "a poisoned connection was used again"
    assert b"evil" not in client.received


@cases({"length": response(200, [], b"one"), "chunked": response(200, ["Transfer-Encoding: chunked"], chunked("one")),
        "empty": response(204, [], reason="No Content")})
def test_bytes_after_the_end_that_come_later_poison_nothing(t, first):
    gateway, upstream = t.shared()
    go = threading.Event()

    def reply(message, connection):
        connection.send(first)
        go.wait()
        return response(200, [], b"evil")

    upstream.replies = [reply]
    upstream.reply = response(200, [], b"two")
    client = gateway.client()
    assert client.exchange(request("GET", "/1")).status in (200, 204)
    go.set()
    eventually(lambda: not upstream.open_connections(), "the connection stays open")
    assert client.exchange(request("GET", "/2")).body == b"two"
    assert upstream.requests[1].connection is not upstream.requests[0].connection


def test_an_answer_nobody_asked_for_is_not_given_to_anyone(t):
    """Bytes on an idle connection, and on one that was just opened, are no answer to the next request."""
    gateway, upstream = t.shared()
    has_sent = threading.Event()

    def handler(connection):
        if connection.index == 0:
            connection.read_request()
            connection.send(response(200, [], b"one"))
            connection.send(response(200, [], b"evil"))
            has_sent.set()
            connection.rest()
        else:
            upstream.serve(connection)

    upstream.handler = handler
    assert gateway.get("/1").body == b"one"
    assert has_sent.wait(PATIENCE)
    eventually(lambda: not upstream.open_connections(), "the connection stays open")
    assert gateway.get("/2").body == b"ok"


def test_early_answer_is_passed_while_the_upload_goes_on(t):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_head()
        connection.read_exact(1000)
        connection.send(response(401, [("Connection", "close")], b"no", reason="Unauthorized"))
        connection.rest()

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/up", [("Content-Length", 100_000)], b"x" * 1000))
    answer = client.response("POST")
    assert (answer.status, answer.body) == (401, b"no"), answer
    # What the client goes on to send is never taken for a request.
    try:
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
    except Exception:
        pass
    client.rest()
    assert [seen.target for seen in upstream.requests] == ["/up"]
    assert b"HTTP/1.1 400" not in client.received


def test_early_answer_on_a_connection_that_goes_on_reading(t):
    gateway, upstream = t.shared()

    def handler(connection):
        message = connection.read_head()
        connection.send(response(200, [], b"early"))
        connection.read_body(message)
        upstream.serve(connection)

    upstream.handler = handler
    client = gateway.client()
    body = b"y" * 200_000
    client.send(request("POST", "/up", [("Content-Length", len(body))], body[:1000]))
    answer = client.response("POST")
    assert (answer.status, answer.body) == (200, b"early")
    if says_close(answer):
        return
    try:
        client.send(body[1000:])
        after = client.exchange(request("GET", "/after"))
    except (AssertionError, Exception):
        assert client.ended, "neither closed nor in order"
        return
    assert after.status == 200 and after.body == b"ok"


def test_date_is_added_when_missing_and_kept_when_there(t):
    """RFC 9110 6.6.1."""
    gateway, upstream = t.shared()
    upstream.replies = [response(200, [], b"ok"), response(200, [("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], b"ok")]
    assert gateway.get("/").one("date").endswith("GMT")
    assert gateway.get("/").one("date") == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_fields_of_the_answer_pass_byte_for_byte(t):
    gateway, upstream = t.shared()
    fields = [
        ("x-lower", "1"),
        ("X-UPPER", "2"),
        ("Set-Cookie", "a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        ("X-Between", "x"),
        ("Set-Cookie", "b=2, c"),
        ("Set-Cookie", "a=3"),
        ("WWW-Authenticate", 'Basic realm="a, b"'),
        ("WWW-Authenticate", "Bearer"),
        ("X-Empty", ""),
        ("X-High", "\xe9\xff"),
        ("Server", "uvicorn"),
        ("ETag", '"abc"'),
        ("Vary", "Accept"),
        ("Vary", "Origin"),
    ]
    upstream.reply = response(200, fields, b"ok")
    answer = gateway.get("/")
    assert [field for field in answer.fields if field in fields] == fields, answer.fields

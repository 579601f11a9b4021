# SPDX-License-Identifier: MIT
"""Fields of one hop, Via, the forwarding fields and X-Request-Id, both ways (RFC 9110 7.6)."""

import re

from harness import cases
from harness.checks import REQUEST_ID, passed
from harness.message import chunked, request, response

TRUSTED = {"client_ip": {"trusted_proxies": ["127.0.0.0/8"]}}

REMOVED = {
    "Connection: close": (["Connection: close"], ["close"]),
    "what Connection names": (["Connection: X-Foo", "X-Foo: 1"], ["x-foo"]),
    "what Connection names in a list": (["Connection: keep-alive, X-Foo ,\tx-bar,,", "X-Foo: 1", "X-BAR: 2"], ["x-foo", "x-bar", "keep-alive"]),
    "what two Connection fields name": (["Connection: X-Foo", "X-Foo: 1", "Connection: X-Bar", "X-Bar: 2"], ["x-foo", "x-bar"]),
    "named and repeated": (["Connection: X-Foo", "X-Foo: 1", "X-Foo: 2"], ["x-foo"]),
    "named before it stands": (["X-Foo: 1", "Connection: x-foo"], ["x-foo"]),
    "Keep-Alive": (["Keep-Alive: timeout=5"], ["keep-alive"]),
    "Proxy-Connection": (["Proxy-Connection: keep-alive"], ["proxy-connection"]),
    "Proxy-Authorization": (["Proxy-Authorization: Basic eDp5"], ["proxy-authorization"]),
    "TE": (["TE: gzip, deflate;q=0.5", "Connection: TE"], ["te"]),
    "Upgrade without a tunnel": (["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"],
                                 ["upgrade", "http2-settings"]),
    "Upgrade that Connection does not name": (["Upgrade: websocket"], ["upgrade"]),
}


@cases(REMOVED)
def test_fields_of_the_hop_are_removed(t, lines, names):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/", [*lines, "X-End: kept"]))
    for name in names:
        assert not seen.has(name), seen
    for value in seen.all("connection"):
        assert not {word.strip().lower() for word in value.split(",")} & {"x-foo", "x-bar", "close", "upgrade"}, seen
    assert seen.get("x-end") == "kept"


def test_te_trailers_is_kept(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/", ["TE: trailers", "Connection: TE"]))
    assert seen.one("te") == "trailers"
    _, seen = passed(gateway, upstream, request("GET", "/", ["TE: gzip;q=0.5, trailers", "Connection: TE"]))
    assert seen.get("te") in ("trailers", None)


CANNOT_NAME = {
    "Host": (["Connection: Host"], "host", "example.test"),
    "Authorization": (["Connection: Authorization", "Authorization: Bearer a"], "authorization", "Bearer a"),
    "Cookie stays nameable": None,
    "X-Forwarded-For": (["Connection: X-Forwarded-For"], "x-forwarded-for", "127.0.0.1"),
    "X-Forwarded-Proto": (["Connection: X-Forwarded-Proto"], "x-forwarded-proto", "http"),
    "X-Forwarded-Host": (["Connection: X-Forwarded-Host"], "x-forwarded-host", "example.test"),
    "Via": (["Connection: Via"], "via", None),
    "X-Request-Id": (["Connection: X-Request-Id", "X-Request-Id: mine"], "x-request-id", None),
}


@cases({name: entry for name, entry in CANNOT_NAME.items() if entry})
def test_connection_cannot_name_away(t, lines, name, value):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/", lines))
    assert seen.has(name) and (value is None or seen.one(name) == value), seen


@cases({"length": (["Connection: Content-Length"], b"hello"),
        "coding": (["Connection: Transfer-Encoding", "Transfer-Encoding: chunked"], chunked("hello"))})
def test_connection_cannot_name_framing_away(t, lines, body):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/", lines, body) + request("GET", "/next"))
    first = client.response("POST")
    if first.status == 400:
        return  # refusing it is as safe
    assert first.status == 200 and client.response().status == 200
    assert [(seen.target, seen.body) for seen in upstream.requests] == [("/", b"hello"), ("/next", b"")]


def test_via_is_added(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/"))
    assert seen.one("via") == "1.1 kamiyo-gateway"


def test_via_is_appended(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/", ["Via: 1.0 fred, 1.1 p.example"]))
    assert ", ".join(seen.all("via")) == "1.0 fred, 1.1 p.example, 1.1 kamiyo-gateway"


def test_via_names_the_received_version(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert seen.one("via") == "1.0 kamiyo-gateway"


def test_via_of_the_answer(t):
    gateway, upstream = t.shared()
    upstream.replies = [response(200, [], b"ok"), response(200, ["Via: 1.1 cache"], b"ok")]
    assert gateway.get("/").one("via") == "1.1 kamiyo-gateway"
    assert ", ".join(gateway.get("/").all("via")) == "1.1 cache, 1.1 kamiyo-gateway"

    def old(message, connection):
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False

    upstream.reply = old
    assert gateway.get("/").one("via") == "1.0 kamiyo-gateway"


FORGED = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8, 9.9.9.9", "x-forwarded-for: 1.1.1.1", "Forwarded: for=1.2.3.4;proto=https",
          "X-Real-IP: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4", "True-Client-IP: 1.2.3.4", "X-Forwarded-Proto: https",
          "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 443"]


def test_forwarding_fields_of_a_stranger_are_replaced(t):
    gateway, upstream = t.shared()
    answer, seen = passed(gateway, upstream, request("GET", "/", FORGED))
    assert seen.one("x-forwarded-for") == "127.0.0.1"
    assert seen.one("x-forwarded-proto") == "http"
    assert seen.one("x-forwarded-host") == "example.test"
    text = seen.raw_head.decode()
    for forged in ("1.2.3.4", "5.6.7.8", "9.9.9.9", "1.1.1.1", "evil.test", "443", "https"):
        assert forged not in text, text
    assert gateway.last_access(request_id=answer.one("x-request-id"))["client_ip"] == "127.0.0.1"


def test_forwarding_fields_are_added_when_missing(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/"))
    assert (seen.one("x-forwarded-for"), seen.one("x-forwarded-proto")) == ("127.0.0.1", "http")
    assert seen.one("x-forwarded-host") == "example.test"


def test_chain_of_a_trusted_peer_is_kept_and_the_peer_appended(t):
    gateway, upstream = t.shared(TRUSTED)
    answer, seen = passed(gateway, upstream, request("GET", "/", ["X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Forwarded-Proto: https",
                                                                  "X-Forwarded-Host: public.test"]))
    assert re.sub(r"\s", "", ",".join(seen.all("x-forwarded-for"))) == "1.2.3.4,5.6.7.8,127.0.0.1"
    assert seen.one("x-forwarded-proto") == "https" and seen.one("x-forwarded-host") == "public.test"
    assert gateway.last_access(request_id=answer.one("x-request-id"))["client_ip"] == "5.6.7.8"


def test_chain_in_several_fields_is_one_chain(t):
    gateway, upstream = t.shared(TRUSTED)
    answer, seen = passed(gateway, upstream, request("GET", "/", ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"]))
    assert re.sub(r"\s", "", ",".join(seen.all("x-forwarded-for"))) == "1.2.3.4,5.6.7.8,127.0.0.1"
    assert gateway.last_access(request_id=answer.one("x-request-id"))["client_ip"] == "5.6.7.8"


GOOD_IDS = ["a", "abc-DEF_1.2", "0" * 128, "550e8400-e29b-41d4-a716-446655440000"]


@cases({value[:20]: value for value in GOOD_IDS})
def test_well_formed_request_id_is_kept(t, value):
    gateway, upstream = t.shared()
    answer, seen = passed(gateway, upstream, request("GET", "/", [("X-Request-Id", value)]))
    assert seen.one("x-request-id") == value and answer.one("x-request-id") == value
    assert gateway.last_access(request_id=value)["request_id"] == value


@cases({"empty": "", "space": "a b", "129 bytes": "0" * 129, "semicolon": "a;b", "quote": 'a"b', "slash": "a/b", "high": "\xe9"})
def test_ill_formed_request_id_is_replaced(t, value):
    gateway, upstream = t.shared()
    answer, seen = passed(gateway, upstream, request("GET", "/", [("X-Request-Id", value)]))
    made = seen.one("x-request-id")
    assert REQUEST_ID.match(made) and made != value and answer.one("x-request-id") == made


def test_request_ids_are_made_and_differ(t):
    gateway, upstream = t.shared()
    made = {passed(gateway, upstream, request("GET", "/"))[0].one("x-request-id") for _ in range(20)}
    assert len(made) == 20


def test_request_id_of_the_upstream_does_not_stand_beside_ours(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, [("X-Request-Id", "theirs")], b"ok")
    answer = gateway.get("/", [("X-Request-Id", "ours")])
    assert answer.one("x-request-id") == "ours"


ANSWER_REMOVED = {
    "Connection": (["Connection: X-Foo", "X-Foo: 1"], ["x-foo"]),
    "Connection list": (["Connection: keep-alive, x-foo", "X-Foo: 1"], ["x-foo", "keep-alive"]),
    "Keep-Alive": (["Keep-Alive: timeout=5", "Connection: keep-alive"], ["keep-alive"]),
    "Proxy-Connection": (["Proxy-Connection: close"], ["proxy-connection"]),
    "Upgrade": (["Upgrade: h2c", "Connection: Upgrade"], ["upgrade"]),
}


@cases(ANSWER_REMOVED)
def test_fields_of_the_upstream_hop_are_removed(t, lines, names):
    gateway, upstream = t.shared()
    upstream.reply = response(200, [*lines, "X-End: kept"], b"ok")
    answer = gateway.get("/")
    for name in names:
        assert not answer.has(name), answer
    assert answer.get("x-end") == "kept" and answer.body == b"ok"


def test_connection_close_of_the_upstream_is_its_own(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, ["Connection: close"], b"ok")
    client = gateway.client()
    for _ in range(3):
        answer = client.exchange(request("GET", "/"))
        assert answer.body == b"ok" and "close" not in answer.get("connection", "")
    assert len(upstream.connections) == 3, "a connection that said close was used again"


def test_upgrade_of_the_upstream_answer_cannot_name_framing(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, ["Connection: Content-Length"], b"hello")
    answer = gateway.get("/")
    assert answer.status == 502 or (answer.body == b"hello" and answer.complete), answer


@cases({"OPTIONS": "OPTIONS", "TRACE": "TRACE"})
def test_max_forwards_is_counted_down(t, method):
    """RFC 9110 7.6.2; for other methods the field has no meaning and passes."""
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request(method, "/", ["Max-Forwards: 5"]))
    assert seen.one("max-forwards") == "4"
    _, seen = passed(gateway, upstream, request("GET", "/", ["Max-Forwards: 5"]))
    assert seen.one("max-forwards") == "5"


@cases({"OPTIONS": "OPTIONS", "TRACE": "TRACE"})
def test_max_forwards_zero_ends_here(t, method):
    gateway, upstream = t.shared()
    answer = gateway.exchange(request(method, "/", ["Max-Forwards: 0"]))
    assert answer.status < 502 and upstream.requests == [], answer

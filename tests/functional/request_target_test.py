# SPDX-License-Identifier: MIT
"""Request targets in all four forms, and Host (RFC 9112 3.2, RFC 9110 7.2)."""

from harness import cases
from harness.checks import passed, refused
from harness.message import request

ORIGIN_FORM = [
    "/",
    "/?",
    "/a/b/c",
    "/a?b=c&d=e",
    "/a?b?c/d",
    "/a//b///c",
    "/a/../b/./c",
    "/../../etc/passwd",
    "/%2e%2e/%2F%00x",
    "/a%20b%41%e2%82%ac",
    "/a;p=1;q=2/b",
    "/~!$&'()*+,-._:@=",
    "/http://other.test/x",
    "//double.test/x",
    "/a?url=http://x.test/%23y",
    "/*",
]


@cases({target: target for target in ORIGIN_FORM})
def test_origin_form_passes_byte_for_byte(t, target):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", target))
    assert seen.target == target
    assert seen.one("host") == "example.test"


ABSOLUTE_FORM = {
    "http://example.test/a?b=c": ("/a?b=c", "example.test"),
    "http://example.test": ("/", "example.test"),
    "http://example.test/": ("/", "example.test"),
    "http://example.test?q=1": ("/?q=1", "example.test"),
    "http://example.test:8080/x": ("/x", "example.test:8080"),
    "HTTP://example.test/x": ("/x", "example.test"),
    "http://127.0.0.1:81/x": ("/x", "127.0.0.1:81"),
    "http://[2001:db8::1]:81/x": ("/x", "[2001:db8::1]:81"),
    "http://example.test//a/../b": ("//a/../b", "example.test"),
}


@cases({target: (target, *expected) for target, expected in ABSOLUTE_FORM.items()})
def test_absolute_form_goes_on_in_origin_form(t, target, path, host):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", target, host="elsewhere.test"))
    assert seen.target == path
    assert seen.one("host") == host, "Host is the target's, not the field's"


def test_options_absolute_without_path_becomes_asterisk(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("OPTIONS", "http://example.test"))
    assert seen.target == "*" and seen.one("host") == "example.test"


def test_options_asterisk_passes(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("OPTIONS", "*"))
    assert (seen.method, seen.target) == ("OPTIONS", "*")


BAD_TARGETS = {
    "asterisk with GET": "GET * HTTP/1.1",
    "asterisk with POST": "POST * HTTP/1.1",
    "authority-form with GET": "GET example.test:80 HTTP/1.1",
    "authority-form with OPTIONS": "OPTIONS example.test:80 HTTP/1.1",
    "no leading slash": "GET index.html HTTP/1.1",
    "relative": "GET ../x HTTP/1.1",
    "query alone": "GET ?a=b HTTP/1.1",
    "empty": "GET  HTTP/1.1",
    "missing": "GET HTTP/1.1",
    "fragment": "GET /a#b HTTP/1.1",
    "fragment in absolute-form": "GET http://example.test/a#b HTTP/1.1",
    "space inside": "GET /a b HTTP/1.1",
    "tab inside": "GET /a\tb HTTP/1.1",
    "NUL inside": "GET /a\0b HTTP/1.1",
    "control inside": "GET /a\x01b HTTP/1.1",
    "DEL inside": "GET /a\x7fb HTTP/1.1",
    "escape inside": "GET /a\x1bb HTTP/1.1",
    "raw UTF-8": "GET /caf\xc3\xa9 HTTP/1.1",
    "raw high byte": "GET /\xff HTTP/1.1",
    "bare CR inside": "GET /a\rb HTTP/1.1",
    "absolute without host": "GET http:///a HTTP/1.1",
    "absolute with port only": "GET http://:80/a HTTP/1.1",
    "absolute with bad port": "GET http://example.test:8x/a HTTP/1.1",
    "absolute with port out of range": "GET http://example.test:65536/a HTTP/1.1",
    "absolute with userinfo": "GET http://user:pass@example.test/a HTTP/1.1",
    "absolute with broken IPv6": "GET http://[::1/a HTTP/1.1",
    "absolute of a foreign scheme": "GET ftp://example.test/a HTTP/1.1",
    "absolute without slashes": "GET http:example.test/a HTTP/1.1",
    "backslash authority": "GET http:\\\\example.test\\a HTTP/1.1",
}


@cases(BAD_TARGETS)
def test_bad_target_is_refused(t, line):
    gateway, upstream = t.shared()
    refused(gateway, upstream, line.encode("latin-1") + b"\r\nHost: example.test\r\n\r\n", 400)


CONNECTS = {
    "authority-form": "CONNECT example.test:443 HTTP/1.1",
    "IPv6": "CONNECT [::1]:443 HTTP/1.1",
}


@cases(CONNECTS)
def test_connect_is_not_implemented(t, line):
    gateway, upstream = t.shared()
    refused(gateway, upstream, line.encode() + b"\r\nHost: example.test:443\r\n\r\n", 501, method="CONNECT")


@cases({"origin-form": "CONNECT / HTTP/1.1", "no port": "CONNECT example.test HTTP/1.1"})
def test_connect_with_another_form_is_refused(t, line):
    gateway, upstream = t.shared()
    refused(gateway, upstream, line.encode() + b"\r\nHost: example.test\r\n\r\n", 400, 501)


GOOD_HOSTS = ["example.test", "example.test:8080", "EXAMPLE.Test", "127.0.0.1", "127.0.0.1:80", "[::1]", "[2001:db8::1]:81",
              "a-b.c_d.test", "example.test.", "localhost", "xn--bcher-kva.example"]


@cases({host: host for host in GOOD_HOSTS})
def test_host_passes_byte_for_byte(t, host):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, request("GET", "/", host=host))
    assert seen.one("host") == host


BAD_HOSTS = {
    "missing": [],
    "twice, equal": ["Host: a.test", "Host: a.test"],
    "twice, different": ["Host: a.test", "Host: b.test"],
    "twice, other case": ["Host: a.test", "hOST: a.test"],
    "twice, apart": ["Host: a.test", "X-Between: 1", "Host: b.test"],
    "list": ["Host: a.test, b.test"],
    "space inside": ["Host: a.test b.test"],
    "tab inside": ["Host: a.test\tb.test"],
    "slash": ["Host: a.test/b"],
    "path": ["Host: a.test/../x"],
    "userinfo": ["Host: user@a.test"],
    "question mark": ["Host: a.test?x"],
    "fragment": ["Host: a.test#x"],
    "port no number": ["Host: a.test:http"],
    "port signed": ["Host: a.test:+80"],
    "port too large": ["Host: a.test:65536"],
    "port twice": ["Host: a.test:80:80"],
    "open bracket": ["Host: [::1"],
    "no IPv6 in brackets": ["Host: [zz]"],
    "bytes after bracket": ["Host: [::1]x"],
    "unbracketed IPv6": ["Host: 2001:db8::1"],
    "backslash": ["Host: a.test\\b"],
    "quote": ['Host: "a.test"'],
    "angle": ["Host: <a.test>"],
    "high byte": ["Host: caf\xe9.test"],
    "scheme": ["Host: http://a.test"],
    "control": ["Host: a\x01.test"],
}


@cases({name: (fields,) for name, fields in BAD_HOSTS.items()})
def test_bad_host_is_refused(t, fields):
    gateway, upstream = t.shared()
    refused(gateway, upstream, request("GET", "/", fields, host=None), 400)


def test_absolute_form_needs_host_too(t):
    gateway, upstream = t.shared()
    refused(gateway, upstream, b"GET http://example.test/ HTTP/1.1\r\n\r\n", 400)
    refused(gateway, upstream, b"GET http://example.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400)


def test_http10_without_host_is_accepted(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, b"GET /x HTTP/1.0\r\n\r\n")
    assert seen.target == "/x" and len(seen.all("host")) == 1


def test_http10_with_two_hosts_is_refused(t):
    gateway, upstream = t.shared()
    refused(gateway, upstream, b"GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400)


def test_http10_absolute_form_names_the_host(t):
    gateway, upstream = t.shared()
    _, seen = passed(gateway, upstream, b"GET http://named.test/x HTTP/1.0\r\n\r\n")
    assert (seen.target, seen.one("host")) == ("/x", "named.test")


def test_access_log_names_the_path(t):
    gateway, upstream = t.shared()
    answer, _ = passed(gateway, upstream, request("GET", "/logged/%41?x=y"))
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["path"].startswith("/logged/%41") and record["method"] == "GET"
    assert (record["status"], record["decision"], record["client_ip"]) == (200, "exempt", "127.0.0.1")

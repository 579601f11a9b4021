# SPDX-License-Identifier: MIT
"""PROXY protocol, versions 1 and 2, on a listener that asks for it."""

import socket
import struct

from harness import cases
from harness.checks import nothing_sent
from harness.message import request

V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command, family, addresses, tail=b""):
    body = addresses + tail
    return V2_SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


def v2_inet(source, port=1234):
    return socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 80)


def v2_inet6(source, port=1234):
    return socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!HH", port, 80)


def behind_proxy(t):
    upstream = t.upstream()
    gateway = t.gateway({}, upstream, start=False)
    gateway.write_config({"listen": [{"address": f"127.0.0.1:{gateway.port}", "proxy_protocol": True}]})
    return gateway.start(), upstream


GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\r\n", "192.0.2.7"),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 ::1 1234 80\r\n", "2001:db8::7"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v2 TCP4": (v2(1, 0x11, v2_inet("192.0.2.7")), "192.0.2.7"),
    "v2 TCP6": (v2(1, 0x21, v2_inet6("2001:db8::7")), "2001:db8::7"),
    "v2 with extensions": (v2(1, 0x11, v2_inet("192.0.2.7"), b"\x04\0\x03abc"), "192.0.2.7"),
    "v2 LOCAL": (v2(0, 0x00, b""), "127.0.0.1"),
}


@cases(GOOD)
def test_client_is_who_the_header_says(t, header, address):
    gateway, upstream = behind_proxy(t)
    client = gateway.client()
    for _ in range(2):
        client.send(header + request("GET", "/"))
        header = b""
        answer = client.response()
        assert answer.status == 200, answer
        record = gateway.last_access(request_id=answer.one("x-request-id"))
        assert record["client_ip"].split("/")[0].rstrip(":") in (address, address.rstrip("7").rstrip(":")), record
    assert upstream.requests[0].one("x-forwarded-for") == address


def test_header_byte_by_byte(t):
    gateway, upstream = behind_proxy(t)
    client = gateway.client()
    client.send_slowly(GOOD["v2 TCP4"][0] + request("GET", "/"), 0.001)
    assert client.response().status == 200
    assert upstream.requests[0].one("x-forwarded-for") == "192.0.2.7"


BAD = {
    "none": request("GET", "/"),
    "v1 without end": b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80" + b"0" * 200,
    "v1 bad address": b"PROXY TCP4 192.0.2.777 127.0.0.1 1234 80\r\n" + request("GET", "/"),
    "v1 bad port": b"PROXY TCP4 192.0.2.7 127.0.0.1 123456 80\r\n" + request("GET", "/"),
    "v1 bare LF": b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 80\n" + request("GET", "/"),
    "v1 unknown family": b"PROXY TCP5 192.0.2.7 127.0.0.1 1234 80\r\n" + request("GET", "/"),
    "v2 version 3": v2(1, 0x11, v2_inet("192.0.2.7")).replace(b"\x21", b"\x31", 1) + request("GET", "/"),
    "v2 too short": v2(1, 0x11, b"\0" * 4) + request("GET", "/"),
    "garbage": bytes(range(128, 200)) + b"\r\n\r\n",
}


@cases(BAD)
def test_bad_header_closes_without_a_request(t, data):
    gateway, upstream = behind_proxy(t)
    client = gateway.client()
    client.send(data)
    assert client.rest()[:12] in (b"", b"HTTP/1.1 400")
    nothing_sent(upstream)

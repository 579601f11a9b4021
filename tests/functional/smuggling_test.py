# SPDX-License-Identifier: MIT
"""Published request-smuggling forms: each is refused whole, or means one thing to everybody.

CL.TE, TE.CL, TE.TE, CL.0, 0.CL, chunk-extension (TERM.EXT, EXT.TERM) and header-injection forms as
described by Heled (2005), Kettle (2019, 2022, 2025) and Jabiyev et al. (2021), in our own words.
"""

import time

from harness import cases
from harness.checks import says_close
from harness.message import request

EVIL = b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n"


def post(fields, body):
    return b"POST /outer HTTP/1.1\r\nHost: example.test\r\n" + fields + b"\r\n" + body


CHUNKED_EVIL = b"0\r\n\r\n" + EVIL
LENGTH = b"Content-Length: %d\r\n" % len(CHUNKED_EVIL)
FORMS = {
    "CL.TE": post(LENGTH + b"Transfer-Encoding: chunked\r\n", CHUNKED_EVIL),
    "TE.CL": post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)),
    "TE with trailing tab": post(LENGTH + b"Transfer-Encoding: chunked\t\r\n", CHUNKED_EVIL),
    "TE after tab": post(LENGTH + b"Transfer-Encoding:\tchunked\r\n", CHUNKED_EVIL),
    "TE with space before colon": post(LENGTH + b"Transfer-Encoding : chunked\r\n", CHUNKED_EVIL),
    "TE with leading space": post(LENGTH + b" Transfer-Encoding: chunked\r\n", CHUNKED_EVIL),
    "TE with vertical tab": post(LENGTH + b"Transfer-Encoding:\x0bchunked\r\n", CHUNKED_EVIL),
    "TE with form feed": post(LENGTH + b"Transfer-Encoding: chunked\x0c\r\n", CHUNKED_EVIL),
    "TE with NUL": post(LENGTH + b"Transfer-Encoding: chunked\0\r\n", CHUNKED_EVIL),
    "TE with high byte": post(LENGTH + b"Transfer-Encoding: \xffchunked\r\n", CHUNKED_EVIL),
    "TE with no-break space": post(LENGTH + b"Transfer-Encoding: \xa0chunked\r\n", CHUNKED_EVIL),
    "TE folded": post(LENGTH + b"Transfer-Encoding:\r\n chunked\r\n", CHUNKED_EVIL),
    "TE behind a bare LF": post(LENGTH + b"X: y\nTransfer-Encoding: chunked\r\n", CHUNKED_EVIL),
    "TE behind a bare CR": post(LENGTH + b"X: y\rTransfer-Encoding: chunked\r\n", CHUNKED_EVIL),
    "TE twice, second odd": post(LENGTH + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n", CHUNKED_EVIL),
    "TE twice, first odd": post(b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", CHUNKED_EVIL),
    "TE x, chunked": post(LENGTH + b"Transfer-Encoding: x, chunked\r\n", CHUNKED_EVIL),
    "TE quoted": post(LENGTH + b"Transfer-Encoding: \"chunked\"\r\n", CHUNKED_EVIL),
    "TE in HTTP/1.0": b"POST /outer HTTP/1.0\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_EVIL,
    "TE of GET": b"GET /outer HTTP/1.1\r\nHost: example.test\r\n" + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED_EVIL,
    "CL.CL": post(b"Content-Length: 0\r\n" + LENGTH, CHUNKED_EVIL),
    "CL list": post(b"Content-Length: 0, %d\r\n" % len(EVIL), EVIL),
    "CL with plus": post(b"Content-Length: +%d\r\n" % len(EVIL), EVIL),
    "CL with space before colon": post(b"Content-Length : %d\r\n" % len(EVIL), EVIL),
    "CL folded": post(b"Content-Length: 0\r\n %d\r\n" % len(EVIL), EVIL),
    "CL with NUL": post(b"Content-Length: 0\0%d\r\n" % len(EVIL), EVIL),
    "CL behind a bare CR": post(b"X: y\rContent-Length: %d\r\n" % len(EVIL), EVIL),
    "chunk extension with bare LF (TERM.EXT)": post(b"Transfer-Encoding: chunked\r\n", b"2;\nxx\r\n%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n" % (len(EVIL) + 5, EVIL)),
    "chunk extension with bare CR": post(b"Transfer-Encoding: chunked\r\n", b"2;\rxx\r\n0\r\n\r\n" + EVIL),
    "chunk size with bare LF": post(b"Transfer-Encoding: chunked\r\n", b"2\nxx\r\n0\r\n\r\n" + EVIL),
    "chunk data too long by two": post(b"Transfer-Encoding: chunked\r\n", b"2\r\nxxyy0\r\n\r\n" + EVIL),
    "chunk data ended by LF": post(b"Transfer-Encoding: chunked\r\n", b"2\r\nxx\n0\r\n\r\n" + EVIL),
    "chunk size 0x0": post(b"Transfer-Encoding: chunked\r\n", b"0x0\r\n\r\n" + EVIL),
    "chunk size 2^64": post(b"Transfer-Encoding: chunked\r\n", b"10000000000000000\r\n\r\n" + EVIL),
    "chunk size -0": post(b"Transfer-Encoding: chunked\r\n", b"-0\r\n\r\n" + EVIL),
    "last chunk with space": post(b"Transfer-Encoding: chunked\r\n", b"0 \r\n\r\n" + EVIL),
    "trailers with a request in a fold": post(b"Transfer-Encoding: chunked\r\n", b"0\r\nX: y\r\n GET /smuggled HTTP/1.1\r\n\r\n" + EVIL),
    "trailer Content-Length": post(b"Transfer-Encoding: chunked\r\n", b"0\r\nContent-Length: 40\r\n\r\n"),
    "trailer Transfer-Encoding": post(b"Transfer-Encoding: chunked\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "request line with two versions": b"GET / HTTP/1.1 HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "request line with CR": b"GET / HTTP/1.1\rX: y\r\nHost: example.test\r\n\r\n",
    "head ended by CR LF LF": b"GET /outer HTTP/1.1\r\nHost: example.test\r\nX: y\r\n\n" + EVIL,
    "head ended by LF LF": b"GET /outer HTTP/1.1\nHost: example.test\n\n" + EVIL,
    "odd Expect": post(b"Expect: y 100-continue\r\n" + LENGTH, CHUNKED_EVIL),
    "Host with a request": b"GET / HTTP/1.1\r\nHost: example.test\rGET /smuggled HTTP/1.1\r\n\r\n",
    "underscore names": post(b"Content_Length: 5\r\nTransfer_Encoding: chunked\r\n", b""),
    "Connection names Content-Length": post(b"Connection: Content-Length\r\n" + LENGTH, CHUNKED_EVIL),
    "Connection names Transfer-Encoding": post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
}


@cases(FORMS)
def test_form_smuggles_nothing(t, raw):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(raw)
    answer = client.response("POST")
    assert answer.status in (200, 400, 417, 501, 505), answer
    if answer.status != 200:
        assert says_close(answer) or answer.status == 417, answer
    if answer.status in (400, 501, 505):
        assert client.is_closed()
    time.sleep(0.05)
    targets = [seen.target for seen in upstream.requests]
    assert "/smuggled" not in targets, targets


def test_the_next_client_is_not_poisoned(t):
    """After each form another client's request on the shared upstream pool gets its own answer."""
    gateway, upstream = t.shared()
    upstream.reply = lambda message, connection: (
        b"HTTP/1.1 200 OK\r\nX-Path: %b\r\nContent-Length: 0\r\n\r\n" % message.target.encode()
    )
    for number, raw in enumerate(FORMS.values()):
        client = gateway.client()
        client.send(raw)
        client.read_some(3)
        assert gateway.get(f"/victim-{number}").get("x-path") == f"/victim-{number}"
        client.close()


def test_two_requests_in_one_segment_are_two(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/one", body=EVIL) + request("GET", "/two"))
    assert client.response("POST").status == 200 and client.response().status == 200
    assert [(seen.target, seen.body) for seen in upstream.requests] == [("/one", EVIL), ("/two", b"")]

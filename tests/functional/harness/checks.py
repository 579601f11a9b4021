# SPDX-License-Identifier: MIT
"""Assertions that many tests share: the gateway's own answers, and what was refused or passed on."""

import json
import re

from harness.wait import until

ERRORS = {
    400: "bad_request",
    403: "forbidden",
    408: "request_timeout",
    413: "content_too_large",
    414: "uri_too_long",
    417: "expectation_failed",
    429: "rate_limit_exceeded",
    431: "header_fields_too_large",
    501: "not_implemented",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
    505: "http_version_not_supported",
}
IMF_DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
                      r"\d{4} \d\d:\d\d:\d\d GMT\Z")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def own_answer(answer, *statuses):
    """The answer is one that the gateway makes itself, with one of these statuses; its JSON."""
    assert answer.status in statuses, f"expected {statuses}, got {answer!r}"
    assert answer.complete, answer
    assert IMF_DATE.match(answer.one("date")), answer
    assert REQUEST_ID.match(answer.one("x-request-id")), answer
    assert "no-store" in answer.one("cache-control"), answer
    if answer.method == "HEAD":
        assert answer.body == b"", answer
        return None
    assert answer.one("content-type").split(";")[0] in ("application/json", "application/problem+json"), answer
    body = json.loads(answer.body)
    assert body["error"] == ERRORS[answer.status], body
    assert isinstance(body["message"], str) and body["message"], body
    assert body["request_id"] == answer.one("x-request-id"), body
    return body


def says_close(message):
    return "close" in [word.strip().lower() for value in message.all("connection") for word in value.split(",")]


def refused(gateway, upstream, data, *statuses, method="GET", logged=True):
    """Sent on a connection of its own the request is refused, the connection closed, nothing sent on."""
    seen = len(upstream.requests), len(upstream.bytes_seen())
    client = gateway.client()
    try:
        client.send(data)
    except Exception:
        pass  # it may have been refused before the last byte
    answer = client.response(method)
    own_answer(answer, *statuses)
    assert says_close(answer), answer
    assert client.is_closed(), f"not closed, or more bytes after {answer!r}: {bytes(client.received)!r}"
    assert (len(upstream.requests), len(upstream.bytes_seen())) == seen, upstream.bytes_seen()
    if logged:
        record = gateway.last_access(request_id=answer.one("x-request-id"))
        assert record["status"] == answer.status, record
        assert record["decision"] is None and record["upstream_ms"] is None, record
    return answer


def passed(gateway, upstream, data, method=None, client=None):
    """The request reaches the upstream, once, and is answered 200: (answer, upstream's request)."""
    before = len(upstream.requests)
    own = client is None
    client = client or gateway.client()
    answer = client.exchange(data, method)
    assert answer.status == 200 and answer.complete, answer
    assert len(upstream.requests) == before + 1, upstream.requests
    if own:
        client.close()
    return answer, upstream.requests[-1]


def cut_off(upstream, data_seen=True, seconds=3.0):
    """No request reached the upstream whole; what was begun there was broken off."""
    def all_closed():
        return not upstream.open_connections()

    assert until(all_closed, seconds), "an upstream connection with half a request stays open"
    assert upstream.requests == [], upstream.requests


def nothing_sent(upstream):
    assert upstream.bytes_seen() == b"", upstream.bytes_seen()

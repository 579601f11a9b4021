# SPDX-License-Identifier: MIT
"""414, 431, 413 and the number of fields: each with its own setting, exact at its edge."""

from harness import cases
from harness.checks import cut_off, nothing_sent, own_answer, passed, refused, says_close
from harness.message import chunked, request

LIMITS = {
    "client": {"max_target_bytes": "1KiB", "max_header_bytes": "4KiB", "max_headers": 20, "max_body": "10KiB"},
}


def target_of(size):
    return "/" + "t" * (size - 1)


def head_of(size):
    """A request whose line and fields, the empty line included, are so many bytes."""
    plain = request("GET", "/", [("X-Filler", "")])
    return request("GET", "/", [("X-Filler", "f" * (size - len(plain)))])


def test_target_at_its_limit_passes(t):
    gateway, upstream = t.shared(LIMITS)
    _, seen = passed(gateway, upstream, request("GET", target_of(1024)))
    assert len(seen.target) == 1024


def test_target_over_its_limit_is_414(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, request("GET", target_of(1025)), 414)


def test_target_far_over_its_limit_is_414(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, request("GET", target_of(100_000)), 414)


def test_target_without_end_is_414(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, b"GET /" + b"t" * 50_000, 414)


def test_default_target_limit_is_8_kib(t):
    gateway, upstream = t.shared()
    passed(gateway, upstream, request("GET", target_of(8192)))
    refused(gateway, upstream, request("GET", target_of(8193)), 414)


def test_head_at_its_limit_passes(t):
    gateway, upstream = t.shared(LIMITS)
    passed(gateway, upstream, head_of(4000))


def test_head_over_its_limit_is_431(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, head_of(4200), 431)


def test_default_head_limit_is_32_kib(t):
    gateway, upstream = t.shared()
    passed(gateway, upstream, head_of(32_000))
    refused(gateway, upstream, head_of(33_000), 431)


def test_field_without_end_is_431(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"v" * 500_000, 431)


def test_field_name_without_end_is_431(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"n" * 500_000, 431)


def test_head_of_many_fields_without_end_is_431(t):
    gateway, upstream = t.shared(LIMITS)
    lines = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(20_000))
    refused(gateway, upstream, b"GET / HTTP/1.1\r\nHost: a\r\n" + lines, 431)


def test_fields_at_their_number_pass(t):
    gateway, upstream = t.shared(LIMITS)
    passed(gateway, upstream, request("GET", "/", [(f"X-{n}", n) for n in range(19)]))  # and Host


def test_fields_over_their_number_are_431(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, request("GET", "/", [(f"X-{n}", n) for n in range(20)]), 431)


def test_default_number_of_fields_is_100(t):
    gateway, upstream = t.shared()
    passed(gateway, upstream, request("GET", "/", [(f"X-{n}", n) for n in range(99)]))
    refused(gateway, upstream, request("GET", "/", [(f"X-{n}", n) for n in range(100)]), 431)


def test_body_at_its_limit_passes(t):
    gateway, upstream = t.shared(LIMITS)
    _, seen = passed(gateway, upstream, request("POST", "/", body=b"b" * 10240))
    assert seen.body_bytes == 10240
    _, seen = passed(gateway, upstream, request("POST", "/", ["Transfer-Encoding: chunked"], chunked(b"b" * 10240)))
    assert seen.body_bytes == 10240


def test_declared_body_over_its_limit_is_413_at_once(t):
    gateway, upstream = t.shared(LIMITS)
    refused(gateway, upstream, request("POST", "/", [("Content-Length", 10241)]), 413, method="POST")
    refused(gateway, upstream, request("POST", "/", [("Content-Length", 10**15)], b"x" * 1000), 413, method="POST")


def test_client_that_sends_on_still_sees_the_413(t):
    gateway, upstream = t.shared(LIMITS)
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", 60_000)], b"x" * 60_000))
    own_answer(client.response("POST"), 413)
    assert client.is_closed() and not client.was_reset, "closed with a reset"
    nothing_sent(upstream)


def test_chunked_body_over_its_limit_is_413(t):
    gateway, upstream = t.shared(LIMITS)
    client = gateway.client()
    client.send(request("POST", "/", ["Transfer-Encoding: chunked"], chunked(b"x" * 10000)[:-5]))
    upstream.wait_connections(1)
    client.send(b"200\r\n" + b"y" * 0x200 + b"\r\n")
    answer = client.response("POST")
    own_answer(answer, 413)
    assert says_close(answer) and client.is_closed()
    cut_off(upstream)


def test_chunked_body_in_one_chunk_over_its_limit_is_413(t):
    gateway, upstream = t.shared(LIMITS)
    client = gateway.client()
    client.send(request("POST", "/", ["Transfer-Encoding: chunked"], b"FFFFFFFFFF\r\nxxxx"))
    own_answer(client.response("POST"), 413)
    assert client.is_closed()
    cut_off(upstream)


def test_chunk_extensions_are_bounded(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    try:
        client.send(request("POST", "/", ["Transfer-Encoding: chunked"], b"5;"))
        for _ in range(100):
            client.send(b"e" * 10_000)
    except Exception:
        pass
    assert client.response("POST").status in (400, 413, 431)
    assert client.is_closed()
    cut_off(upstream)


def test_chunk_extensions_are_bounded_in_sum(t):
    """A byte of data with each 100 bytes of extension, for ever: an amplification that has an end."""
    gateway, upstream = t.shared()
    client = gateway.client()
    try:
        client.send(request("POST", "/", ["Transfer-Encoding: chunked"]))
        for _ in range(200):
            client.send((b"1;" + b"e" * 100 + b"\r\nx\r\n") * 100)
    except Exception:
        pass
    assert client.response("POST").status in (400, 413, 431)
    assert client.is_closed()
    cut_off(upstream)


@cases({"one": b"X: " + b"t" * 200_000 + b"\r\n", "many": b"".join(b"X-%d: t\r\n" % n for n in range(20_000))})
def test_trailers_are_bounded(t, trailers):
    gateway, upstream = t.shared()
    client = gateway.client()
    try:
        client.send(request("POST", "/", ["Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"))
    except Exception:
        pass
    assert client.response("POST").status in (400, 413, 431)
    assert client.is_closed()
    cut_off(upstream)


def test_metrics_count_what_was_refused(t):
    gateway, upstream = t.shared(LIMITS)
    before = gateway.metrics()
    refused(gateway, upstream, request("GET", target_of(1025)), 414)
    refused(gateway, upstream, head_of(5000), 431)
    refused(gateway, upstream, request("POST", "/", [("Content-Length", 10241)]), 413, method="POST")
    change = gateway.metrics().minus(before)
    for status in ("414", "431", "413"):
        assert change.total("requests_total", status=status) == 1, change
    assert change.total("decisions_total") == 0, change

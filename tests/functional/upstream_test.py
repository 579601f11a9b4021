# SPDX-License-Identifier: MIT
"""Upstreams: http, unix sockets, https, several of them balanced, ejected and probed."""

import threading

from harness import cases, eventually, stands_still
from harness.checks import own_answer
from harness.message import request, response
from harness.process import free_port, is_sanitized
from harness.tls import make_certificates, server_context
from harness.watch import Watch


def test_bare_host_and_port(t):
    upstream = t.upstream()
    gateway = t.gateway(upstream=f"127.0.0.1:{upstream.port}")
    assert gateway.get("/").body == b"ok"


def test_name_that_is_resolved(t):
    upstream = t.upstream()
    gateway = t.gateway(upstream=f"http://localhost:{upstream.port}")
    for _ in range(5):
        assert gateway.get("/").body == b"ok"


def test_name_that_is_unknown_is_502(t):
    gateway = t.gateway(upstream="http://no-such-host.invalid:8000")
    own_answer(gateway.get("/"), 502, 503, 504)


def test_unix_socket(t):
    upstream = t.upstream(unix=str(t.directory / "api.sock"))
    gateway = t.gateway(upstream=upstream)
    for _ in range(3):
        assert gateway.get("/x").body == b"ok"
    assert len(upstream.connections) == 1 and upstream.requests[0].one("host") == "example.test"


def test_absent_unix_socket_is_502(t):
    gateway = t.gateway(upstream=f"unix:{t.directory}/absent.sock")
    own_answer(gateway.get("/"), 502)


def test_environment_names_the_upstream(t):
    upstream = t.upstream()
    gateway = t.gateway({"upstream": {"url": "${UPSTREAM_URL}"}}, env={"UPSTREAM_URL": upstream.url})
    assert gateway.get("/").body == b"ok"


def tls_upstream(t, **tls):
    ca, cert, key = make_certificates(t.directory)
    context = server_context(cert, key)
    upstream = t.upstream(ssl_context=context)
    upstream.names = []
    context.sni_callback = lambda sock, name, _: upstream.names.append(name)
    return upstream, ca


def test_https_is_verified_and_served(t):
    upstream, ca = tls_upstream(t)
    gateway = t.gateway({"upstream": {"url": f"https://localhost:{upstream.port}", "tls": {"ca_file": str(ca)}}})
    client = gateway.client()
    for _ in range(3):
        assert client.exchange(request("GET", "/")).body == b"ok"
    body = b"z" * 500_000
    upstream.reply = response(200, [], body)
    answer = client.exchange(request("POST", "/", body=body))
    assert answer.body == body and upstream.requests[-1].body == body
    assert upstream.names == ["localhost"] and len(upstream.connections) == 1


def test_https_by_address_is_verified(t):
    upstream, ca = tls_upstream(t)
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"ca_file": str(ca)}}})
    assert gateway.get("/").body == b"ok"


def test_https_with_server_name(t):
    upstream, ca = tls_upstream(t)
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"ca_file": str(ca), "server_name": "api.test"}}})
    assert gateway.get("/").body == b"ok" and upstream.names == ["api.test"]


@cases({"unknown authority": {}, "other name": {"ca": True, "server_name": "other.test"}})
def test_https_that_does_not_verify_is_502(t, options):
    upstream, ca = tls_upstream(t)
    tls = {"server_name": options["server_name"]} if "server_name" in options else {}
    if options.get("ca"):
        tls["ca_file"] = str(ca)
    gateway = t.gateway({"upstream": {"url": f"https://localhost:{upstream.port}", "tls": tls}})
    own_answer(gateway.get("/"), 502)
    assert upstream.requests == []


def test_https_unverified_when_told_so(t):
    upstream, _ = tls_upstream(t)
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"verify": False}}})
    assert gateway.get("/").body == b"ok"


def test_https_sessions_are_resumed(t):
    upstream, ca = tls_upstream(t)
    reused = []

    def handler(connection):
        connection.read_request()
        reused.append(connection.sock.tls.session_reused)
        connection.send(response(200, ["Connection: close"], b"ok"))

    upstream.handler = handler
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"ca_file": str(ca)}}})
    for _ in range(4):
        assert gateway.get("/").body == b"ok"
    assert reused[0] is False and reused[-1] is True, reused


def test_https_cut_without_close_notify_is_a_cut(t):
    """A close-delimited body over TLS is whole only with a close_notify."""
    upstream, ca = tls_upstream(t)

    def handler(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the")
        connection.sock.close()

    upstream.handler = handler
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"ca_file": str(ca)}}})
    answer = gateway.get("/")
    assert answer.status == 502 or not answer.complete, answer


def test_plain_http_where_tls_is_expected_is_502(t):
    upstream = t.upstream()
    upstream.handler = lambda connection: (connection.read_some(), connection.send(response(400, [], b"plain")))
    gateway = t.gateway({"upstream": {"url": f"https://127.0.0.1:{upstream.port}", "tls": {"verify": False}}})
    own_answer(gateway.get("/"), 502)


def balanced(t, count=2, config=None):
    upstreams = [t.upstream() for _ in range(count)]
    for n, upstream in enumerate(upstreams):
        upstream.reply = response(200, [("X-From", n)], b"ok")
    config = dict(config or {})
    config["upstream"] = dict(config.get("upstream", {}), url=[upstream.url for upstream in upstreams])
    return t.gateway(config), upstreams


def test_several_upstreams_share_the_work(t):
    gateway, upstreams = balanced(t)
    gates = threading.Event()
    for upstream in upstreams:
        upstream.reply = lambda message, connection: (gates.wait(), response(200, [], b"ok"))[1]
    clients = [gateway.client() for _ in range(10)]
    for client in clients:
        client.send(request("GET", "/"))
    eventually(lambda: sum(len(upstream.requests) for upstream in upstreams) == 10, "not all arrived")
    assert [len(upstream.requests) for upstream in upstreams] == [5, 5]
    gates.set()
    for client in clients:
        assert client.response().status == 200


def test_the_less_busy_upstream_is_chosen(t):
    gateway, upstreams = balanced(t)
    gate = threading.Event()
    busy = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1] if message.target == "/busy" else response(200, [], b"ok")  # noqa: E731
    for upstream in upstreams:
        upstream.reply = busy
    client = gateway.client()
    client.send(request("GET", "/busy"))
    eventually(lambda: sum(len(upstream.requests) for upstream in upstreams) == 1, "not arrived")
    idle = upstreams[0] if upstreams[1].requests else upstreams[1]
    for _ in range(6):
        assert gateway.get("/").status == 200
    assert len(idle.requests) == 6, [len(upstream.requests) for upstream in upstreams]
    gate.set()
    client.response()


def test_dead_upstream_is_passed_over(t):
    health = {"health": {"eject_after": 2, "eject_for": "30s"}}
    gateway, upstreams = balanced(t, 2, {"upstream": health})
    upstreams[0].close()
    statuses = [gateway.get("/").status for _ in range(20)]
    assert statuses[-10:] == [200] * 10, statuses
    assert statuses.count(502) <= 2, statuses


def test_ejected_upstream_comes_back(t):
    health = {"health": {"eject_after": 2, "eject_for": "1s"}}
    gateway, upstreams = balanced(t, 2, {"upstream": health})
    port = upstreams[0].port
    upstreams[0].close()
    for _ in range(12):
        gateway.get("/")
    again = t.upstream(port=port)
    eventually(lambda: gateway.get("/").status == 200 and len(again.requests) > 0, "never used again")


def test_all_ejected_is_no_dead_end(t):
    """With every upstream ejected one is tried all the same."""
    port = free_port()
    gateway = t.gateway({"upstream": {"health": {"eject_after": 1, "eject_for": "60s"}}}, f"http://127.0.0.1:{port}")
    for _ in range(5):
        own_answer(gateway.get("/"), 502, 503)
    t.upstream(port=port)
    eventually(lambda: gateway.get("/").status == 200, "never tried again")


def test_active_probe_takes_out_and_brings_back(t):
    health = {"health": {"path": "/probe", "interval": "200ms", "eject_after": 2, "eject_for": "300ms"}}
    gateway, upstreams = balanced(t, 2, {"upstream": health})
    sick, well = upstreams

    def ailing(message, connection):
        return response(503 if message.target == "/probe" else 200, [], b"ok")

    def probes():
        return sum(seen.target == "/probe" for seen in sick.requests)

    def is_used():
        sick.requests.clear()
        for _ in range(10):
            assert gateway.get("/real").status == 200
        return any(seen.target == "/real" for seen in sick.requests)

    eventually(probes, "no probe came")
    sick.reply = ailing
    # A request that it serves well counts for it, so nothing is asked until enough probes have failed; the next one
    # comes only after the verdict on the one before.
    failed = probes() + 4
    eventually(lambda: probes() >= failed, "it is probed no more")
    assert not is_used()
    sick.reply = response(200, [], b"ok")
    eventually(is_used, "never used again")


def test_probes_are_in_no_access_log(t):
    health = {"health": {"path": "/probe", "interval": "100ms"}}
    gateway, upstream = t.pair({"upstream": health})
    upstream.wait_requests(3)
    gateway.get("/real")
    assert [record["path"] for record in gateway.wait_access(1)] == ["/real"]


def test_tls_handshake_that_hangs_ends(t):
    upstream = t.upstream()
    upstream.handler = lambda connection: connection.rest()
    config = {"upstream": {"connect_timeout": "500ms", "url": f"https://127.0.0.1:{upstream.port}", "tls": {"verify": False}}}
    gateway = t.gateway(config)
    with Watch(gateway, 0.4, 2.0):
        own_answer(gateway.get("/"), 502, 504)


def test_tls_stream_that_is_not_read_is_held_back(t):
    upstream, ca = tls_upstream(t)
    sent = []

    def handler(connection):
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            connection.send(b"t" * 65536, timeout=60)
            sent.append(1)

    upstream.handler = handler
    gateway = t.gateway({"upstream": {"url": upstream.url, "tls": {"ca_file": str(ca)}}})
    rss = gateway.process.rss_bytes()
    client = gateway.client(receive_buffer=16_384, record=False)
    client.send(request("GET", "/"))
    client.head()
    first = stands_still(lambda: len(sent))
    assert first < 400, first
    assert gateway.process.rss_bytes() - rss < (16 if is_sanitized() else 4) << 20
    client.skip(64 << 20, timeout=60)

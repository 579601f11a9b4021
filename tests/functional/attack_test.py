# SPDX-License-Identifier: MIT
"""Slow, silent, half-open, resetting and header-bombing clients; no descriptors left; nothing leaks."""

import resource
import socket
import threading
import time

from harness import cases, eventually, slow, stands_still, timeout
from harness.checks import own_answer
from harness.message import request, response
from harness.process import is_sanitized
from harness.watch import Watch

RUNS_LONG = True  # started first

MIB = 1 << 20


def p99_of_plain_requests(gateway, count=200):
    client = gateway.client(record=False)
    times = []
    for _ in range(count):
        with Watch(gateway, 0.0) as watch:
            assert client.exchange(request("GET", "/plain")).status == 200
        times.append(watch.took)
    return sorted(times)[int(count * 0.99) - 1]


def slow_headers(t, count, deadline):
    """`count` clients that trickle a head; the p99 beside them; how long the last one lived."""
    gateway, upstream = t.pair({"client": {"header_timeout": f"{deadline}s"}})
    gateway.get("/warm")
    clients = [gateway.client() for _ in range(count)]
    watch = Watch(gateway, 0.0)
    watch.__enter__()
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    alive = set(clients)
    stop = threading.Event()

    def trickle():
        while not stop.is_set():
            for client in list(alive):
                try:
                    client.send_available(b"X")
                except Exception:
                    pass
            time.sleep(0.1)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        p99 = p99_of_plain_requests(gateway)

        def all_ended():
            alive.difference_update([client for client in list(alive) if not client.is_silent(0)])
            return not alive

        eventually(all_ended, lambda: f"{len(alive)} slow clients outlive the header deadline")
    finally:
        watch.__exit__(None)
        stop.set()
        thread.join()
    assert upstream.requests[-1].target == "/plain"
    return p99, watch.took


def test_slow_headers_do_not_slow_the_others(t):
    p99, ended = slow_headers(t, 100, 2)
    assert ended < 3.2, f"the last slow client was cut after {ended:.1f} s"
    assert p99 < (0.1 if is_sanitized() else 0.04), f"p99 {p99 * 1000:.1f} ms"


@slow
@timeout(60)
def test_300_slow_headers(t):
    p99, ended = slow_headers(t, 300, 5)
    assert ended < 6.0, f"the last slow client was cut after {ended:.1f} s"
    assert p99 < (0.1 if is_sanitized() else 0.02), f"p99 {p99 * 1000:.1f} ms"


@timeout(30)
def test_slow_bodies_do_not_slow_the_others(t):
    gateway, upstream = t.pair({"client": {"body_timeout": "2s"}})
    upstream.keep_bodies = False
    for _ in range(100):
        gateway.client().send(request("POST", "/slow", [("Content-Length", 1000)], b"x"))
    assert p99_of_plain_requests(gateway) < (0.2 if is_sanitized() else 0.05)
    eventually(lambda: gateway.metrics().total("connections", side="client") <= 1, "slow bodies are kept")


def test_silent_and_half_open_clients_are_dropped(t):
    gateway, upstream = t.pair({"client": {"header_timeout": "1s", "idle_timeout": "1s"}})
    before = gateway.process.fd_count()
    for _ in range(100):
        gateway.client()
    for _ in range(100):
        gateway.client().half_close()
    assert p99_of_plain_requests(gateway, 50) < 0.2
    eventually(lambda: gateway.process.fd_count() <= before + 3, "silent clients are kept")


@timeout(40)
def test_resetting_clients_leak_nothing(t):
    gateway, upstream = t.pair({"upstream": {"max_connections": 500}})
    body = b"x" * 200_000
    upstream.reply = lambda message, connection: response(200, [], body)

    def storm(count):
        for n in range(count):
            client = gateway.client(record=False)
            kind = n % 6
            if kind == 1:
                client.send(b"GET / HT")
            elif kind == 2:
                client.send(request("GET", "/"))
            elif kind == 3:
                client.send(request("POST", "/", [("Content-Length", 1000)], b"x" * 500))
            elif kind == 4:
                client.send(request("GET", "/"))
                client.read_some(2)
            elif kind == 5:
                client.send(request("GET", "/") * 5)
            client.reset()

    storm(100)
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "connections are left")
    fds, rss = gateway.process.fd_count(), gateway.process.rss_bytes()
    storm(600)
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "connections are left")
    eventually(lambda: gateway.process.fd_count() <= fds + 8, lambda: f"{gateway.process.fd_count()} of {fds} descriptors")
    assert gateway.process.rss_bytes() - rss < (40 if is_sanitized() else 4) * MIB
    assert gateway.get("/").status == 200


def wait_accepted(gateway, count):
    eventually(lambda: gateway.metrics().total("connections", side="client") == count, "not all are accepted")


def test_refused_pipelines_cost_no_memory(t):
    """Thousands of requests stand in one read, many clients are read in one turn: none waits for its end to be freed."""
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"day": 1}}})
    assert gateway.get("/").status == 200
    clients = [gateway.client(record=False) for _ in range(20)]
    flood = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2400
    wait_accepted(gateway, 20)
    peak = gateway.process.peak_rss_bytes()
    gateway.process.pause()
    for client in clients:
        client.send(flood)
    for client in clients:
        client.wait_delivered()
    gateway.process.resume()
    for client in clients:
        own_answer(client.response(), 429)
    assert gateway.process.peak_rss_bytes() - peak < (40 if is_sanitized() else 16) * MIB
    for client in clients:
        client.close()


def test_refused_pipelines_let_the_others_in(t):
    """A read of 2,400 requests is not answered in one go: another client's request is, in between."""
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"day": 1}}})
    assert gateway.get("/").status == 200
    floods = [gateway.client(record=False) for _ in range(10)]
    plain = gateway.client()
    wait_accepted(gateway, 11)
    gateway.process.pause()
    for client in floods:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2400)
    plain.send(request("GET", "/plain"))
    plain.wait_delivered()
    gateway.process.resume()
    own_answer(plain.response(), 429)
    gateway.last_access(path="/plain")
    order = [record["path"] for record in gateway.access()]
    assert order.index("/plain") < 2000, f"{order.index('/plain')} requests of the others came first"
    for client in floods:
        own_answer(client.response(), 429)
        client.close()


def test_header_bombs_are_cheap(t):
    gateway, upstream = t.pair()
    rss, cpu = gateway.process.rss_bytes(), gateway.process.cpu_seconds()
    for n in range(200):
        client = gateway.client(record=False)
        try:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)))
        except Exception:
            pass
        try:
            answer = client.response()
            own_answer(answer, 431)
        finally:
            client.close()
    assert upstream.bytes_seen() == b""
    assert gateway.process.rss_bytes() - rss < (60 if is_sanitized() else 4) * MIB
    assert gateway.process.cpu_seconds() - cpu < (10 if is_sanitized() else 2)


def test_connection_field_bomb_is_cheap(t):
    """Thousands of names in Connection against a hundred fields: no quadratic surprise."""
    gateway, upstream = t.pair()
    fields = [("Connection", ",".join(f"x{n}" for n in range(4000)))] + [(f"Y{n}", n) for n in range(90)]
    cpu = gateway.process.cpu_seconds()
    for _ in range(50):
        assert gateway.get("/", fields).status in (200, 400, 431)
    assert gateway.process.cpu_seconds() - cpu < (5 if is_sanitized() else 1)


def test_junk_floods_are_answered_and_closed(t):
    gateway, upstream = t.pair()
    for n in range(100):
        client = gateway.client()
        try:
            client.send(bytes([n, 255 - n]) * 10_000)
        except Exception:
            pass
        client.rest()
        client.close()
    assert gateway.get("/").status == 200
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "connections are left")


def few_descriptors(count):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return limit


@timeout(40)
def test_out_of_descriptors_accepting_pauses_and_resumes(t):
    gateway, upstream = t.pair({"client": {"idle_timeout": "60s"}}, preexec=few_descriptors(64))
    keep = gateway.client()
    assert keep.exchange(request("GET", "/")).status == 200
    crowd = []
    for _ in range(100):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(gateway.address)
        crowd.append(sock)
    t.defer(lambda: [sock.close() for sock in crowd])
    assert stands_still(gateway.process.fd_count) < 64
    cpu = gateway.process.cpu_seconds()
    for n in range(3):  # the upstream has descriptors of its own
        assert keep.exchange(request("GET", f"/{n}")).status == 200, "those who were there are served on"
    time.sleep(1.0)
    assert gateway.process.cpu_seconds() - cpu < 0.5, "it spins while it cannot accept"
    assert gateway.process.returncode is None
    for sock in crowd:
        sock.close()
    eventually(lambda: answers(gateway), "it does not accept again")
    assert len(gateway.log_lines("ERROR")) + len(gateway.log_lines("WARNING")) < 20, "one line each is a flood of its own"


def answers(gateway):
    try:
        return gateway.get("/", timeout=1.0).status == 200
    except (AssertionError, OSError):
        return False


@timeout(30)
def test_clients_beyond_max_connections_wait(t):
    gateway, upstream = t.pair({"client": {"max_connections": 10}})
    held = [gateway.client() for _ in range(10)]
    for client in held:
        assert client.exchange(request("GET", "/")).status == 200
    late = gateway.client()
    late.send(request("GET", "/late"))
    assert late.is_silent(0.5)
    held[0].close()
    assert late.response().status == 200


def test_many_connections_at_once(t):
    gateway, upstream = t.pair({"workers": 2, "upstream": {"max_connections": 32, "queue_timeout": "60s"}})
    clients = [gateway.client(record=False) for _ in range(400)]
    for client in clients:
        client.send(request("GET", "/"))
    for client in clients:
        assert client.response(timeout=60).status == 200
    assert len(upstream.requests) == 400


@cases({"slash": "/" + "/" * 8000, "dots": "/" + "../" * 2000, "percent": "/" + "%2e" * 2000, "query": "/?" + "&" * 8000})
def test_odd_targets_are_cheap(t, target):
    gateway, upstream = t.shared()
    cpu = gateway.process.cpu_seconds()
    client = gateway.client(record=False)
    for _ in range(30):
        assert client.exchange(request("GET", target)).status == 200
    assert upstream.requests[-1].target == target
    assert gateway.process.cpu_seconds() - cpu < (3 if is_sanitized() else 0.5)

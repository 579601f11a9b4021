# SPDX-License-Identifier: MIT
"""Streaming both ways: nothing waits to be coalesced, little is held, slow ones hold back themselves."""

import hashlib
import json
import threading
import time

from harness import cases, eventually, slow, stands_still, timeout
from harness.message import request, response
from harness.watch import Watch

MIB = 1 << 20


def test_chunks_of_the_answer_pass_at_once(t):
    gateway, upstream = t.shared()
    step = threading.Semaphore(0)

    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(5):
            step.acquire()
            connection.send(b"8\r\ndata: %d\n\r\n" % n)
        step.acquire()
        return b"0\r\n\r\n"

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/sse"))
    assert client.head().get("content-type") == "text/event-stream"
    for n in range(5):
        assert client.is_silent(0.02)
        step.release()
        assert client.read_exact(len(b"8\r\ndata: 0\n\r\n")) == b"8\r\ndata: %d\n\r\n" % n
    step.release()
    assert client.read_exact(5) == b"0\r\n\r\n"


@cases({"length": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", "close-delimited": b"HTTP/1.1 200 OK\r\n\r\n"})
def test_single_bytes_of_the_answer_pass_at_once(t, head):
    gateway, upstream = t.shared()
    step = threading.Semaphore(0)

    def reply(message, connection):
        connection.send(head)
        for _ in range(20):
            step.acquire()
            connection.send(b"x")
        return False

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/"))
    client.head()
    with Watch(gateway, 0.0, 0.8):  # no 40 ms for each byte, as from an acknowledgement that is waited for
        for _ in range(20):
            step.release()
            while b"x" not in client.read_some():
                pass


def test_chunks_of_the_request_pass_at_once(t):
    gateway, upstream = t.shared()
    came = []

    def handler(connection):
        connection.read_head()
        end = b""
        while not end.endswith(b"0\r\n\r\n"):
            end = connection.read_some()
            came.append(end)
        connection.send(response(200, [], b"done"))

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/", ["Transfer-Encoding: chunked"]))
    for n in range(5):
        client.send(b"3\r\nab%d\r\n" % n)
        eventually(lambda: b"ab%d" % n in b"".join(came), f"piece {n} is held")
    client.send(b"0\r\n\r\n")
    assert client.response("POST").body == b"done"


def test_bytes_of_a_declared_body_pass_at_once(t):
    gateway, upstream = t.shared()
    came = []

    def handler(connection):
        message = connection.read_head()
        while sum(map(len, came)) < message.length:
            came.append(connection.read_some())
        connection.send(response(200, [], b"done"))

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", 10)]))
    for n in range(10):
        client.send(b"%d" % n)
        eventually(lambda: sum(map(len, came)) == n + 1, f"byte {n} is held")
    assert client.response("POST").body == b"done"


def test_upload_and_answer_at_the_same_time(t):
    """Full duplex: the answer's bytes flow while the request's still come."""
    gateway, upstream = t.shared()

    def handler(connection):
        message = connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(message.length):
            connection.send(b"1\r\n%b\r\n" % connection.read_exact(1))
        connection.send(b"0\r\n\r\n")

    upstream.handler = handler
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", 5)]))
    client.send(b"a")
    client.head("POST")
    assert client.read_exact(6) == b"1\r\na\r\n"
    for byte in (b"b", b"c", b"d", b"e"):
        client.send(byte)
        assert client.read_exact(6) == b"1\r\n%b\r\n" % byte
    assert client.read_exact(5) == b"0\r\n\r\n"


def flood_reply(sent, total):
    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        left = total
        while left:
            size = min(left, 65536)
            connection.send(b"f" * size, timeout=60)
            sent.append(size)
            left -= size

    return reply


def test_client_that_does_not_read_holds_back_its_upstream(t):
    gateway, upstream = t.pair()
    sent = []
    upstream.reply = flood_reply(sent, 64 * MIB)
    rss = gateway.process.rss_bytes()
    client = gateway.client(receive_buffer=16_384, record=False)
    client.send(request("GET", "/flood"))
    client.head()
    first = stands_still(lambda: sum(sent))
    assert first < 16 * MIB, f"{first} bytes were taken from the upstream"
    assert gateway.process.rss_bytes() - rss < 2 * MIB
    # Others are not held back by it.
    upstream.reply = response(200, [], b"ok")
    for _ in range(5):
        with Watch(gateway, 0.0, 0.2):
            assert gateway.get("/other").body == b"ok"
    client.skip(64 * MIB, timeout=60)


def test_upstream_that_does_not_read_holds_back_its_client(t):
    gateway, upstream = t.pair()
    go = threading.Event()

    def handler(connection):
        message = connection.read_head()
        go.wait()
        connection.read_body(message, timeout=60, keep=False)
        connection.send(response(200, [], b"done"))

    upstream.handler = handler
    upstream.record = False
    rss = gateway.process.rss_bytes()
    client = gateway.client()
    total = 64 * MIB
    client.send(request("POST", "/", [("Content-Length", total)]))
    upstream.wait_requests(1)
    sent = client.send_while_taken(b"u" * 65536, total)
    assert sent < 32 * MIB, f"{sent} bytes were taken from the client"
    assert gateway.process.rss_bytes() - rss < 2 * MIB
    go.set()
    client.send(b"u" * (total - sent), timeout=60)
    assert client.response("POST").body == b"done"


@cases({"before the answer": 0, "within the answer": 1})
def test_client_that_leaves_frees_its_upstream_connection(t, pieces):
    gateway, upstream = t.shared()

    def reply(message, connection):
        if pieces:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
        connection.rest()
        return False

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/leaves"))
    upstream.wait_requests(1)
    if pieces:
        client.head()
    client.close()
    eventually(lambda: not upstream.open_connections(), "the upstream connection stays open")
    record = gateway.last_access(path="/leaves")
    assert record.get("reason"), record


@cases({"closes": False, "half closes": True})
def test_client_that_leaves_while_its_upstream_connects_frees_it(t, is_half):
    """It has gone before there is anything to send its request to."""
    gateway, upstream = t.pair()
    upstream.reply = lambda message, connection: (connection.rest(), False)[1]
    client = gateway.client()
    gateway.process.pause()  # so that request and end are there at once
    client.send(request("GET", "/leaves"))
    client.half_close()
    client.wait_delivered()
    if not is_half:
        client.close()
    gateway.process.resume()
    upstream.wait_requests(1)
    eventually(lambda: not upstream.open_connections(), "the upstream connection stays open")


def test_half_closed_client_may_read_slowly(t):
    """It has ended its side and lets the answer stand still: nothing says that it has gone."""
    gateway, upstream = t.shared()
    upstream.reply = response(200, [], b"x" * (16 * MIB))
    client = gateway.client(receive_buffer=16384)
    client.send(request("GET", "/slowly"))
    head = client.head()
    client.half_close()
    time.sleep(2.5)
    client.body(head, timeout=60)
    assert len(head.body) == 16 * MIB


def test_client_that_leaves_while_uploading_frees_its_upstream_connection(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("POST", "/leaves", [("Content-Length", 100_000)], b"x" * 50_000))
    upstream.wait_connections(1)
    client.reset()
    eventually(lambda: not upstream.open_connections(), "the upstream connection stays open")
    assert upstream.requests == []


def test_many_slow_readers_do_not_slow_the_others(t):
    gateway, upstream = t.pair()
    upstream.reply = flood_reply([], 8 * MIB)
    for _ in range(30):
        gateway.client(receive_buffer=16_384).send(request("GET", "/flood"))
    upstream.wait_requests(30)
    upstream.reply = response(200, [], b"ok")
    times = []
    for _ in range(50):
        with Watch(gateway, 0.0) as watch:
            assert gateway.get("/").body == b"ok"
        times.append(watch.took)
    assert sorted(times)[45] < 0.1, sorted(times)[-5:]


@slow
@timeout(120)
def test_64_deaf_clients_of_64_mib_cost_less_than_8_mib(t):
    gateway, upstream = t.pair()
    upstream.reply = flood_reply([], 64 * MIB)
    warm = gateway.client(record=False)
    warm.send(request("GET", "/warm"))
    warm.response(timeout=30, keep=False)
    rss = gateway.process.rss_bytes()
    clients = []
    for _ in range(64):
        client = gateway.client(receive_buffer=16_384, record=False)
        client.send(request("GET", "/flood"))
        clients.append(client)
    time.sleep(5.0)
    grown = gateway.process.rss_bytes() - rss
    assert grown < 8 * MIB, f"{grown / MIB:.1f} MiB for 64 clients that do not read"


@slow
@timeout(120)
def test_5000_idle_connections_cost_at_most_700_bytes_each(t):
    """Kernel memory of the sockets is not counted: resident memory of the process only."""
    gateway, upstream = t.pair({"workers": 1})
    for _ in range(50):
        gateway.get("/")
    warm = [gateway.client(record=False) for _ in range(200)]
    for client in warm:
        assert client.exchange(request("GET", "/")).status == 200
    rss = gateway.process.rss_bytes()
    for _ in range(5000):
        client = gateway.client(record=False)
        assert client.exchange(request("GET", "/")).status == 200
    time.sleep(0.5)
    each = (gateway.process.rss_bytes() - rss) / 5000
    assert each <= 700, f"{each:.0f} bytes for an idle connection"


@slow
@timeout(120)
@cases({"length": "/large?bytes=1073741824", "chunked": "/large?bytes=1073741824&chunked=1"})
def test_a_gigabyte_down_in_bounded_memory(t, target):
    gateway = t.gateway(upstream=t.sample_api())
    client = gateway.client(record=False)
    client.send(request("GET", target))
    answer = client.response(timeout=100, keep=False)
    assert answer.complete and answer.body_bytes == 1 << 30
    assert gateway.process.peak_rss_bytes() < 32 * MIB, gateway.process.peak_rss_bytes()


@slow
@timeout(120)
@cases({"length": False, "chunked": True})
def test_a_gigabyte_up_in_bounded_memory(t, as_chunks):
    gateway = t.gateway(upstream=t.sample_api())
    client = gateway.client(record=False)
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    fields = ["Transfer-Encoding: chunked"] if as_chunks else [("Content-Length", 1 << 30)]
    client.send(request("POST", "/upload", fields))
    for _ in range((1 << 30) // len(block)):
        digest.update(block)
        client.send(b"%x\r\n%b\r\n" % (len(block), block) if as_chunks else block, timeout=60)
    if as_chunks:
        client.send(b"0\r\n\r\n")
    answer = client.response("POST", timeout=60)
    assert json.loads(answer.body) == {"bytes": 1 << 30, "sha256": digest.hexdigest()}
    assert gateway.process.peak_rss_bytes() < 32 * MIB, gateway.process.peak_rss_bytes()


def test_16_mib_both_ways_through_the_sample_api(t):
    gateway = t.gateway(upstream=t.sample_api())
    client = gateway.client(record=False)
    body = bytes(range(256)) * 65536
    client.send(request("POST", "/upload", [("Content-Length", len(body))], body), timeout=60)
    answer = client.response("POST", timeout=60)
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
    for target in ("/large?bytes=16777216", "/large?bytes=16777216&chunked=1"):
        client.send(request("GET", target))
        answer = client.response(timeout=60)
        assert answer.body_bytes == len(body) and answer.body == body

# SPDX-License-Identifier: MIT
"""The pool of upstream connections: reuse, expiry, what may be sent twice, the queue and its deadline."""

import socket
import struct
import threading
import time

from harness import cases, eventually
from harness.checks import own_answer, says_close
from harness.message import chunked, request, response
from harness.watch import Watch

RUNS_LONG = True  # started first

BODY = b"payload"


def test_connection_is_used_again_across_clients(t):
    gateway, upstream = t.shared()
    for _ in range(10):
        assert gateway.get("/").status == 200
    assert len(upstream.connections) == 1 and len(upstream.requests) == 10


def ask_at_once(gateway, upstream, count):
    """So many clients, whose requests are all with the upstream before any is answered."""
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    before = len(upstream.requests)
    clients = [gateway.client() for _ in range(count)]
    for client in clients:
        client.send(request("GET", "/"))
    upstream.wait_requests(before + count)
    gate.set()
    for client in clients:
        assert client.response().status == 200
    gateway.process.wait_at_rest()  # the connections are in the pool again


def test_pool_grows_only_as_needed(t):
    gateway, upstream = t.shared()
    for _ in range(3):
        ask_at_once(gateway, upstream, 4)
    assert len(upstream.connections) == 4


def test_last_used_connection_is_taken_first(t):
    """Last in, first out: what is not needed expires."""
    gateway, upstream = t.shared()
    ask_at_once(gateway, upstream, 3)
    upstream.reply = response(200, [], b"ok")
    for _ in range(5):
        gateway.get("/")
    assert len({seen.connection.index for seen in upstream.requests[3:]}) == 1


def test_idle_connection_expires(t):
    gateway, upstream = t.shared({"upstream": {"idle_timeout": "500ms"}})
    with Watch(gateway, 0.4, 1.3):
        assert gateway.get("/").status == 200
        eventually(lambda: not upstream.open_connections(), "never closed")
    assert gateway.get("/").status == 200
    assert len(upstream.connections) == 2 and len(upstream.requests) == 2


def test_closed_idle_connection_is_noticed(t):
    """An upstream that closes in between costs nobody an error, POST included."""
    gateway, upstream = t.shared()
    for n in range(10):
        assert gateway.get("/").status == 200
        upstream.open_connections()[0].half_close()
        eventually(lambda: not upstream.open_connections(), "the closed connection is kept")
        assert gateway.exchange(request("POST", "/", body=BODY)).status == 200
        upstream.reset()


def dies_on_second(connection):
    """Serves one request; reads the second and closes without a byte."""
    upstream = connection.upstream
    if connection.index == 0:
        connection.read_request()
        connection.send(response(200, [], b"first"))
        connection.read_request()
    else:
        upstream.serve(connection)


@cases({method: method for method in ("GET", "HEAD", "OPTIONS", "DELETE", "PUT", "TRACE")})
def test_idempotent_request_is_sent_again_once(t, method):
    gateway, upstream = t.shared()
    upstream.handler = dies_on_second
    assert gateway.get("/first").body == b"first"
    before = gateway.metrics()
    answer = gateway.exchange(request(method, "/again"), method)
    assert answer.status == 200, answer
    assert [(seen.target, seen.connection.index) for seen in upstream.requests] == [("/first", 0), ("/again", 0), ("/again", 1)]
    assert upstream.requests[1].one("x-request-id") == upstream.requests[2].one("x-request-id")
    assert gateway.last_access(request_id=answer.one("x-request-id"))["retries"] == 1
    assert gateway.metrics().minus(before).total("upstream_retries_total") == 1


LENGTH = [("Content-Length", len(BODY))]
CHUNKED = [("Transfer-Encoding", "chunked")]


@cases({
    "GET": (request("GET", "/again"), b""),
    "POST with a body": (request("POST", "/again", body=BODY), b""),
    "POST without a body": (request("POST", "/again"), b""),
    "POST with a body that begins": (request("POST", "/again", LENGTH) + BODY[:3], BODY[3:]),
    "POST with a body to come": (request("POST", "/again", LENGTH), BODY),
    "chunked POST with a body to come": (request("POST", "/again", CHUNKED), chunked(BODY)),
})
def test_reset_that_meets_the_request_is_as_a_closed_connection(t, data, rest):
    """The request is taken up before the reset is noticed: not even its head can be written, so it was not sent."""
    gateway, upstream = t.pair()
    client = gateway.client()
    client.send(request("GET", "/first"))  # the client is accepted before the stop, so its bytes are noticed first
    assert client.response().status == 200
    gateway.process.wait_at_rest()  # the connection is in the pool
    gateway.process.pause()
    client.send(data)
    client.wait_delivered()  # the request is there before the reset
    connection = upstream.open_connections()[0]
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sock.shutdown(socket.SHUT_RD)  # the reader wakes and closes, which resets
    eventually(lambda: not upstream.open_connections(), "the upstream keeps its connection")
    gateway.process.resume()
    eventually(lambda: len(upstream.connections) == 2, "it is not sent elsewhere")  # what a chunked body begins with is not kept
    client.send(rest)
    assert client.response().status == 200
    (seen,) = [seen for seen in upstream.requests if seen.target == "/again"]
    assert seen.body == (BODY if b"Length" in data or rest else b""), seen
    record = gateway.last_access(path="/again")
    assert record["bytes_in"] == len(seen.body), record
    # A POST takes a new connection at once where all of this took a second.
    assert record["retries"] == 1 or (record["retries"] == 0 and seen.method == "POST"), record


@cases({method: method for method in ("POST", "PATCH", "LOCK", "BREW")})
def test_other_request_is_never_sent_again(t, method):
    gateway, upstream = t.shared()
    upstream.handler = dies_on_second
    assert gateway.get("/first").body == b"first"
    before = gateway.metrics()
    answer = gateway.exchange(request(method, "/once", body=BODY), method)
    own_answer(answer, 502)
    assert [seen.target for seen in upstream.requests] == ["/first", "/once"]
    assert gateway.metrics().minus(before).total("upstream_retries_total") == 0
    assert gateway.last_access(request_id=answer.one("x-request-id"))["retries"] == 0


def test_post_without_body_is_never_sent_again(t):
    gateway, upstream = t.shared()
    upstream.handler = dies_on_second
    gateway.get("/first")
    own_answer(gateway.exchange(request("POST", "/once")), 502)
    assert [seen.target for seen in upstream.requests] == ["/first", "/once"]


def test_it_is_sent_again_only_once(t):
    gateway, upstream = t.shared()
    gate = threading.Event()

    def handler(connection):
        connection.read_request()
        if connection.index < 3:
            gate.wait()
            connection.send(response(200, [], b"first"))
            connection.read_request()

    upstream.handler = handler
    clients = [gateway.client() for _ in range(3)]
    for client in clients:
        client.send(request("GET", "/first"))
    upstream.wait_requests(3)
    gate.set()
    for client in clients:
        client.response()
    own_answer(gateway.get("/again"), 502)
    assert [seen.target for seen in upstream.requests].count("/again") == 2


def test_fresh_connection_that_dies_is_no_case_for_it(t):
    gateway, upstream = t.shared()
    upstream.handler = lambda connection: connection.read_request()
    own_answer(gateway.get("/fresh"), 502)
    assert len(upstream.requests) == 1


@cases({"a byte": b"H", "half a head": b"HTTP/1.1 200 OK\r\nX: ", "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n"})
def test_not_after_a_byte_of_the_answer(t, data):
    gateway, upstream = t.shared()

    def handler(connection):
        connection.read_request()
        connection.send(response(200, [], b"first"))
        connection.read_request()
        connection.send(data)

    upstream.handler = handler
    assert gateway.get("/first").body == b"first"
    own_answer(gateway.get("/once"), 502)
    assert [seen.target for seen in upstream.requests] == ["/first", "/once"]


def test_not_with_a_body_that_is_gone(t):
    """A body too large to be held went with the first try."""
    gateway, upstream = t.shared()
    upstream.handler = dies_on_second
    gateway.get("/first")
    body = b"x" * 1_000_000
    answer = gateway.exchange(request("PUT", "/large", body=body), "PUT")
    assert len([seen for seen in upstream.requests if seen.target == "/large"]) <= 1
    own_answer(answer, 502)


def test_post_uses_no_connection_that_was_idle_for_long(t):
    gateway, upstream = t.shared()
    client = gateway.client()
    client.send(request("GET", "/") + request("POST", "/soon", body=BODY))  # no time passes between the two
    assert client.response().status == 200 and client.response("POST").status == 200
    assert len(upstream.connections) == 1
    time.sleep(1.3)
    assert gateway.exchange(request("POST", "/later", body=BODY)).status == 200
    assert len(upstream.connections) == 2
    assert gateway.get("/get").status == 200


def test_get_uses_a_connection_that_was_idle_for_long(t):
    gateway, upstream = t.shared({"upstream": {"idle_timeout": "60s"}})
    assert gateway.get("/").status == 200
    time.sleep(1.3)
    assert gateway.get("/").status == 200
    assert len(upstream.connections) == 1


SMALL = {"upstream": {"max_connections": 2, "queue_timeout": "60s"}}
HASTY = {"upstream": {"max_connections": 2, "queue_timeout": "700ms"}}


def test_request_beyond_the_limit_waits_its_turn(t):
    gateway, upstream = t.shared(SMALL)
    gate = threading.Semaphore(0)
    upstream.reply = lambda message, connection: (gate.acquire(), response(200, [("X-Path", message.target)], b"ok"))[1]
    clients = []
    for n in range(4):
        client = gateway.client()
        client.send(request("GET", f"/{n}"))
        client.wait_read()  # each before the next
        clients.append(client)
    upstream.wait_requests(2)
    time.sleep(0.1)  # one that is too many would come by now
    assert len(upstream.requests) == 2
    gate.release()
    assert upstream.wait_requests(3)[2].target == "/2", "first come, first served"
    gate.release()
    assert upstream.wait_requests(4)[3].target == "/3"
    gate.release()
    gate.release()
    for n, client in enumerate(clients):
        assert client.response().get("x-path") == f"/{n}"
    assert len(upstream.connections) == 2


def test_queue_has_a_deadline(t):
    gateway, upstream = t.shared(HASTY)
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    busy = [gateway.client() for _ in range(2)]
    for client in busy:
        client.send(request("GET", "/busy"))
    upstream.wait_requests(2)
    with Watch(gateway, 0.5, 1.3):
        answer = gateway.get("/waits")
    own_answer(answer, 503)
    assert answer.one("retry-after") == "1", answer
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 503 and record.get("reason") and record["upstream_ms"] is None, record
    gate.set()
    for client in busy:
        assert client.response().status == 200
    assert "/waits" not in [seen.target for seen in upstream.requests]


def test_client_that_leaves_the_queue_is_not_served(t):
    gateway, upstream = t.shared(SMALL)
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    busy = [gateway.client() for _ in range(2)]
    for client in busy:
        client.send(request("GET", "/busy"))
    upstream.wait_requests(2)
    client = gateway.client()
    client.send(request("GET", "/gone"))
    client.wait_read()
    client.reset()
    gateway.last_access(path="/gone")
    gate.set()
    for client in busy:
        assert client.response().status == 200
    time.sleep(0.2)
    assert "/gone" not in [seen.target for seen in upstream.requests]


def test_connections_are_counted(t):
    gateway, upstream = t.pair()
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    clients = [gateway.client() for _ in range(5)]
    for client in clients:
        client.send(request("GET", "/"))
    upstream.wait_requests(5)
    metrics = gateway.metrics()
    assert metrics.total("connections", side="client") == 5 and metrics.total("connections", side="upstream") == 5
    gate.set()
    for client in clients:
        client.response()
        client.close()
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "clients are still counted")


def test_upstream_that_closes_after_each_answer(t):
    gateway, upstream = t.shared()

    def reply(message, connection):
        connection.send(response(200, [], b"ok"))
        return False

    upstream.reply = reply
    client = gateway.client()
    for n in range(30):
        method = "POST" if n % 2 else "GET"
        answer = client.exchange(request(method, f"/{n}", body=BODY if n % 2 else None))
        assert answer.status in (200, 502) and (answer.status == 200 or method == "POST"), answer
        assert answer.status == 200 or not says_close(answer)
        time.sleep(0.01)
    assert sum(1 for seen in upstream.requests if seen.method == "POST") <= 15

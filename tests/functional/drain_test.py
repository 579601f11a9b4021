# SPDX-License-Identifier: MIT
"""SIGTERM and SIGINT: what is in flight ends well, new ones are refused at once, the exit is 0."""

import signal
import socket
import threading
import time

from harness import cases, eventually, timeout
from harness.checks import says_close
from harness.message import request, response
from harness.process import is_sanitized
from harness.wait import PATIENCE
from harness.watch import Watch

RUNS_LONG = True  # started first

LONG = {"drain_timeout": "10s"}
WEBSOCKET = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]


def refused_now(gateway):
    try:
        socket.create_connection(gateway.address, 1.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@cases({"TERM": signal.SIGTERM, "INT": signal.SIGINT})
def test_with_nothing_to_do_it_exits_at_once(t, number):
    gateway, upstream = t.pair(LONG)
    with Watch(gateway, 0.0, 3.0 if is_sanitized() else 0.3):
        gateway.process.signal(number)
        assert gateway.process.wait(PATIENCE) == 0


def test_idle_connections_do_not_keep_it(t):
    gateway, upstream = t.pair(LONG)
    clients = [gateway.client() for _ in range(20)]
    for client in clients[:10]:
        assert client.exchange(request("GET", "/")).status == 200
    with Watch(gateway, 0.0, 3.0 if is_sanitized() else 0.25):
        with Watch(gateway, 0.0, 1.0 if is_sanitized() else 0.1):
            gateway.terminate()
            for client in clients[:10]:
                assert client.is_closed()
        assert gateway.process.wait(PATIENCE) == 0


def test_request_in_flight_is_finished(t):
    gateway, upstream = t.pair(LONG)
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"finished"))[1]
    client = gateway.client()
    client.send(request("GET", "/in-flight"))
    upstream.wait_requests(1)
    gateway.terminate()
    eventually(lambda: refused_now(gateway), "new connections are still taken")
    time.sleep(0.2)
    assert gateway.process.returncode is None
    gate.set()
    answer = client.response()
    assert (answer.status, answer.body) == (200, b"finished") and says_close(answer), answer
    assert client.is_closed()
    assert gateway.process.wait(PATIENCE) == 0
    assert [record["path"] for record in gateway.access()] == ["/in-flight"]


def test_long_answer_is_finished(t):
    gateway, upstream = t.pair(LONG)
    go = threading.Event()

    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000005\r\n\r\nstart")
        go.wait()
        return b"x" * 2_000_000

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/"))
    client.head()
    gateway.terminate()
    eventually(lambda: refused_now(gateway), "new connections are still taken")
    go.set()
    assert client.read_exact(2_000_005) == b"start" + b"x" * 2_000_000
    assert client.is_closed() and gateway.process.wait(PATIENCE) == 0


def test_upload_in_flight_is_finished(t):
    gateway, upstream = t.pair(LONG)
    client = gateway.client()
    client.send(request("POST", "/up", [("Content-Length", 10)], b"12345"))
    upstream.wait_connections(1)
    gateway.terminate()
    eventually(lambda: refused_now(gateway), "new connections are still taken")
    client.send(b"67890")
    answer = client.response("POST")
    assert answer.status == 200 and says_close(answer)
    assert upstream.requests[0].body == b"1234567890"
    assert gateway.process.wait(PATIENCE) == 0


def test_head_that_has_begun_is_finished(t):
    gateway, upstream = t.pair(LONG)
    client = gateway.client()
    client.send(b"GET /begun HTTP/1.1\r\nHost: exam")
    client.wait_read()
    gateway.terminate()
    eventually(lambda: refused_now(gateway), "new connections are still taken")
    client.send(b"ple.test\r\n\r\n")
    answer = client.response()
    assert answer.status == 200 and says_close(answer) and client.is_closed()
    assert gateway.process.wait(PATIENCE) == 0


def test_pipelined_requests_in_flight_get_their_first_answer(t):
    gateway, upstream = t.pair(LONG)
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    client = gateway.client()
    client.send(request("GET", "/1") + request("GET", "/2"))
    upstream.wait_requests(1)
    gateway.terminate()
    eventually(lambda: refused_now(gateway), "new connections are still taken")
    gate.set()
    first = client.response()
    assert first.status == 200
    if not says_close(first):
        assert says_close(client.response())
    assert client.is_closed() and gateway.process.wait(PATIENCE) == 0


def test_what_outlasts_the_deadline_is_cut(t):
    gateway, upstream = t.pair({"drain_timeout": "1s"})

    def reply(message, connection):
        connection.rest()
        return False

    upstream.reply = reply
    client = gateway.client()
    client.send(request("GET", "/for-ever"))
    upstream.wait_requests(1)
    with Watch(gateway, 0.8, 4.0 if is_sanitized() else 1.6):
        gateway.terminate()
        assert gateway.process.wait(PATIENCE) == 0
    record = gateway.last_access(path="/for-ever")
    assert record.get("reason"), record


def test_tunnel_is_closed_at_the_deadline(t):
    gateway, upstream = t.pair({"drain_timeout": "3s"})

    def handler(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while True:
            connection.send(connection.read_some())
            if connection.ended:
                return

    upstream.handler = handler
    client = gateway.client()
    client.send(request("GET", "/ws", WEBSOCKET))
    assert client.head().status == 101
    with Watch(gateway, 2.8, 6.0 if is_sanitized() else 3.6):
        gateway.terminate()
        eventually(lambda: refused_now(gateway), "new connections are still taken")
        client.send(b"still open")
        assert client.read_exact(10) == b"still open"
        rest = client.rest()
        assert rest in (b"", b"\x88\x02\x03\xe9"), rest  # nothing, or a close frame with 1001
        assert gateway.process.wait(PATIENCE) == 0


def test_readyz_says_so_while_draining(t):
    gateway, upstream = t.pair(LONG)
    assert gateway.admin("/readyz").status == 200
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    client = gateway.client()
    client.send(request("GET", "/"))
    upstream.wait_requests(1)
    gateway.terminate()
    eventually(lambda: gateway.admin("/readyz").status == 503, "readyz is still 200")
    assert gateway.admin("/healthz").status == 200
    gate.set()
    assert client.response().status == 200
    assert gateway.process.wait(PATIENCE) == 0


@timeout(30)
def test_drain_under_load_loses_nothing_that_was_begun(t):
    """Every request that was accepted is answered; the others find the port closed."""
    gateway, upstream = t.pair(dict(LONG, workers=2))
    upstream.reply = lambda message, connection: (time.sleep(0.005), response(200, [], b"ok"))[1]
    outcomes, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                client = gateway.client()
            except OSError:
                return
            try:
                client.send(request("GET", "/"))
                answer = client.response()
                outcomes.append(answer.status)
            except AssertionError as error:
                outcomes.append(str(error))
            except Exception as error:
                outcomes.append(repr(error))
            finally:
                client.close()

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(outcomes) > 100, "the load does not begin")
    gateway.terminate()
    assert gateway.process.wait(PATIENCE) == 0
    stop.set()
    for thread in threads:
        thread.join()
    bad = [outcome for outcome in outcomes if outcome != 200]
    assert not bad, (len(outcomes), bad[:5])


def test_second_gateway_takes_over_at_once(t):
    gateway, upstream = t.pair(LONG)
    gateway.terminate()
    assert gateway.process.wait(PATIENCE) == 0
    gateway.start()
    assert gateway.get("/").status == 200

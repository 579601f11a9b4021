# SPDX-License-Identifier: MIT
"""Each timeout has its own setting, its own outcome and its own reason in the access log."""

import socket
import time

from harness import cases, eventually
from harness.checks import own_answer, says_close
from harness.message import request, response
from harness.redis_proxy import listen
from harness.watch import Watch
from harness.wire import Closed

RUNS_LONG = True  # started first

CLIENT = {"client": {"header_timeout": "600ms", "body_timeout": "600ms", "idle_timeout": "900ms", "write_timeout": "1s"}}
UPSTREAM = {"upstream": {"connect_timeout": "400ms", "response_timeout": "600ms", "read_timeout": "500ms"}}


def test_head_that_does_not_end_is_408(t):
    gateway, upstream = t.shared(CLIENT)
    client = gateway.client()
    with Watch(gateway, 0.45, 1.2):
        client.send(b"GET / HTTP/1.1\r\nHost: exam")
        answer = client.response()
    own_answer(answer, 408)
    assert says_close(answer) and client.is_closed()
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 408 and record.get("reason"), record
    assert upstream.bytes_seen() == b""


def test_trickling_does_not_extend_the_header_deadline(t):
    gateway, upstream = t.shared(CLIENT)
    client = gateway.client()
    with Watch(gateway, 0.45, 1.3):
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: example.test\r\nX-Slow: " + b"x" * 100:
                client.send(bytes([byte]))
                time.sleep(0.05)
                if client.received or not client.is_silent(0.001):
                    break
        except Exception:
            pass
        own_answer(client.response(), 408)
    assert client.is_closed()


def test_trickling_leading_empty_lines_does_not_extend_it_either(t):
    gateway, upstream = t.shared(CLIENT)
    client = gateway.client()
    with Watch(gateway, 0.0, 2.2):
        try:
            while not client.ended:
                client.send(b"\r\n")
                if not client.is_silent(0.1):
                    break
        except Exception:
            pass


def test_header_deadline_counts_for_the_second_request_too(t):
    gateway, upstream = t.shared({"client": {"header_timeout": "600ms"}})
    client = gateway.client()
    assert client.exchange(request("GET", "/")).status == 200
    time.sleep(0.4)
    with Watch(gateway, 0.45, 1.2):
        client.send(b"GET /second HTTP/1.1\r\n")
        own_answer(client.response(), 408)


def test_idle_connection_is_closed_without_a_word(t):
    gateway, upstream = t.shared(CLIENT)
    client = gateway.client()
    client.exchange(request("GET", "/before"))
    with Watch(gateway, 0.7, 1.6):  # from before the answer, with which the clock starts
        assert client.exchange(request("GET", "/idle")).status == 200
        assert client.is_closed()
    gateway.last_access(path="/idle")
    time.sleep(0.15)  # a line of the end itself would come by now
    paths = [record["path"] for record in gateway.access()]
    assert paths[paths.index("/before"):] == ["/before", "/idle"], paths


def test_fresh_connection_without_a_byte_is_closed_without_a_word(t):
    gateway, upstream = t.shared(CLIENT)
    with Watch(gateway, 0.4, 2.0):
        assert gateway.client().rest() == b""


def test_stalled_body_does_not_make_an_answer_look_whole(t):
    """To HTTP/1.0 the end of this answer is the close of the connection: a reset says that it is none."""
    gateway, upstream = t.shared(CLIENT)

    def handler(connection):
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        connection.rest()

    upstream.handler = handler
    client = gateway.client()
    client.send(b"POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\n12345")
    answer = client.response("POST")
    assert answer.body == b"half" and not answer.complete


@cases({"length": ([("Content-Length", 10)], b"12345"), "chunked": (["Transfer-Encoding: chunked"], b"5\r\n123"),
        "no byte of it": ([("Content-Length", 10)], b"")})
def test_body_that_stalls_is_408(t, fields, body):
    gateway, upstream = t.shared(CLIENT)
    client = gateway.client()
    with Watch(gateway, 0.45, 1.3):
        client.send(request("POST", "/stall", fields, body))
        answer = client.response("POST")
    own_answer(answer, 408)
    assert says_close(answer) and client.is_closed()
    eventually(lambda: not upstream.open_connections(), "half a request stays open upstream")
    assert upstream.requests == []
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 408 and record.get("reason"), record


# Whoever trickles must not be late himself, on a busy machine either: his pauses are a small part of the timeout, and
# all of them together more than it.
PIECES, PAUSE = 12, 0.2
PATIENT = {"client": {"body_timeout": "2s", "write_timeout": "2s"}, "upstream": {"response_timeout": "2s", "read_timeout": "2s"}}


def test_body_that_trickles_is_served(t):
    gateway, upstream = t.shared(PATIENT)
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", PIECES)]))
    for _ in range(PIECES):
        time.sleep(PAUSE)
        client.send(b"x")
    assert client.response("POST").status == 200 and upstream.requests[0].body == b"x" * PIECES


def test_waiting_for_a_slow_answer_is_no_idling(t):
    gateway, upstream = t.shared(CLIENT)
    upstream.reply = lambda message, connection: (time.sleep(1.5), response(200, [], b"late"))[1]
    assert gateway.get("/").body == b"late"


def test_client_that_does_not_read_is_closed(t):
    gateway, upstream = t.shared(CLIENT)

    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        connection.send(b"x" * 100_000_000)

    upstream.reply = reply
    client = gateway.client(receive_buffer=8192, record=False)
    client.send(request("GET", "/deaf"))
    eventually(lambda: upstream.connections and not upstream.open_connections(), "still open")
    record = gateway.last_access(path="/deaf")
    assert record.get("reason"), record


def test_client_that_reads_slowly_is_served(t):
    gateway, upstream = t.shared(PATIENT)
    body = b"x" * 6_000_000
    upstream.reply = response(200, [], body)
    client = gateway.client(receive_buffer=65_536, record=False)
    client.send(request("GET", "/"))
    head = client.head()
    left = head.length
    while left:
        left -= len(client.read_exact(min(left, len(body) // PIECES)))
        time.sleep(PAUSE)
    assert left == 0


def test_silent_upstream_is_504(t):
    gateway, upstream = t.shared(UPSTREAM)

    def reply(message, connection):
        connection.rest()
        return False

    upstream.reply = reply
    client = gateway.client()
    before = gateway.metrics()
    with Watch(gateway, 0.45, 1.3):
        answer = client.exchange(request("GET", "/silent"))
    own_answer(answer, 504)
    assert len(upstream.requests) == 1, "a request that timed out was sent again"
    eventually(lambda: not upstream.open_connections(), "the upstream connection stays open")
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 504 and record.get("reason") and record["upstream_ms"] is not None, record
    assert gateway.metrics().minus(before).total("upstream_errors_total") == 1
    if not says_close(answer):
        upstream.reply = response(200, [], b"fine")
        assert client.exchange(request("GET", "/next")).body == b"fine"


def test_half_a_head_is_504(t):
    gateway, upstream = t.shared(UPSTREAM)

    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        connection.rest()
        return False

    upstream.reply = reply
    with Watch(gateway, 0.3, 1.6):
        own_answer(gateway.get("/"), 504, 502)


def test_trickling_head_of_the_upstream_ends(t):
    gateway, upstream = t.shared(UPSTREAM)

    def reply(message, connection):
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
            connection.send(bytes([byte]))
            time.sleep(0.05)
        return False

    upstream.reply = reply
    with Watch(gateway, 0.3, 3.0):
        own_answer(gateway.get("/"), 504, 502)


def test_upload_time_does_not_count_for_the_answer(t):
    """response_timeout runs from when the request was sent."""
    gateway, upstream = t.shared(PATIENT)
    client = gateway.client()
    client.send(request("POST", "/", [("Content-Length", PIECES)]))
    for _ in range(PIECES):
        time.sleep(PAUSE)
        client.send(b"x")
    assert client.response("POST").status == 200


@cases({"length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
        "close-delimited": b"HTTP/1.1 200 OK\r\n\r\nsome"})
def test_answer_that_stalls_is_cut_short(t, head):
    gateway, upstream = t.shared(UPSTREAM)

    def reply(message, connection):
        connection.send(head)
        connection.rest()
        return False

    upstream.reply = reply
    client = gateway.client()
    with Watch(gateway, 0.35, 1.4):
        answer = client.exchange(request("GET", "/stalls"))
    assert answer.status == 200 and not answer.complete, answer
    record = gateway.last_access(path="/stalls")
    assert record["status"] == 200 and record.get("reason"), record
    eventually(lambda: not upstream.open_connections(), "the upstream connection stays open")


def test_answer_that_trickles_is_passed(t):
    gateway, upstream = t.shared(PATIENT)

    def reply(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PIECES)
        for _ in range(PIECES):
            time.sleep(PAUSE)
            connection.send(b"x")

    upstream.reply = reply
    assert gateway.get("/").body == b"x" * PIECES


def is_full(listener):
    """A further connection is not taken: one that waits in vain stands there as SYN_SENT."""
    port = listener.getsockname()[1]
    with open("/proc/net/tcp") as table:
        return any(row.split()[2].endswith(f":{port:04X}") and row.split()[3] == "02" for row in table)


def test_connect_that_does_not_come_through_is_504(t):
    """A listener whose queue is full drops SYNs: what an unreachable host looks like."""
    listener = listen(backlog=0)
    t.defer(listener.close)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
        t.defer(filler.close)
    eventually(lambda: is_full(listener), "the queue does not fill")
    gateway = t.gateway(UPSTREAM, f"http://127.0.0.1:{listener.getsockname()[1]}")
    with Watch(gateway, 0.3, 1.5):
        answer = gateway.get("/")
    own_answer(answer, 504)
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record.get("reason"), record


def test_refused_connect_is_502_at_once(t):
    upstream = t.upstream()
    url = upstream.url
    upstream.close()
    gateway = t.gateway(UPSTREAM, url)
    with Watch(gateway, 0, 0.5):
        answer = gateway.get("/")
    own_answer(answer, 502)
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 502 and record.get("reason"), record


def test_reasons_differ(t):
    """Whoever reads the access log can tell the outcomes apart."""
    gateway, upstream = t.shared(yaml_merge(CLIENT, UPSTREAM))
    reasons = {}

    def note(name, path):
        reasons[name] = gateway.last_access(path=path)["reason"]

    upstream.reply = lambda message, connection: connection.rest() and None
    gateway.get("/silent")
    note("response", "/silent")

    def stall(message, connection):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        connection.rest()

    upstream.reply = stall
    gateway.get("/read")
    note("read", "/read")
    client = gateway.client()
    client.send(request("POST", "/body", [("Content-Length", 5)]))
    client.response("POST")
    note("body", "/body")
    client = gateway.client()
    client.send(request("GET", "/left"))
    upstream.wait_requests(3)
    client.reset()
    note("left", "/left")
    assert len(set(reasons.values())) == len(reasons), reasons


def yaml_merge(one, two):
    return {**one, **two}


def test_client_that_ignores_the_close_is_dropped(t):
    """Closing is bounded in time: a client that keeps sending after its 400 does not hold a socket."""
    gateway, upstream = t.pair()
    client = gateway.client()
    client.send(b"BAD\r\n\r\n")
    own_answer(client.response(), 400)
    with Watch(gateway, 0.0, 12.0):
        try:
            while True:
                client.send(b"more")
                time.sleep(0.05)
        except Closed:
            pass
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "still counted")

# SPDX-License-Identifier: MIT
"""Everything at once, seeded: every answer belongs to its request, and in the end nothing is left over."""

import hashlib
import os
import random
import threading
import time

from harness import cases, eventually, slow, timeout
from harness.message import Loose, chunked, request, response
from harness.process import is_sanitized
from harness.wire import Closed, Silent

RUNS_LONG = True  # started first
KINDS = ["length", "chunked", "close", "interim", "pieces", "empty"]


def answer_pieces(message, random_):
    """An answer that names its request, in one of several framings, as (pieces, keep)."""
    mark = [("X-Mark", message.get("x-mark", "none")), ("X-Digest", hashlib.sha256(message.body).hexdigest())]
    body = (message.get("x-mark", "none") + "|").encode() * random_.choice((1, 1, 10, 1000, 8000))
    kind = message.get("x-kind", "length")
    if message.method == "HEAD":
        return [response(200, [*mark, ("Content-Length", len(body))])], True
    if kind == "chunked":
        cut = random_.randrange(1, len(body))
        return [response(200, [*mark, "Transfer-Encoding: chunked"]), chunked(body[:cut], body[cut:])], True
    if kind == "close":
        return [b"HTTP/1.1 200 OK\r\n" + "".join(f"{n}: {v}\r\n" for n, v in mark).encode() + b"\r\n", body], False
    if kind == "interim":
        return [b"HTTP/1.1 103 Early Hints\r\nX-Hint: 1\r\n\r\n", response(200, mark, body)], True
    if kind == "pieces":
        whole = response(200, mark, body)
        cuts = sorted(random_.randrange(len(whole)) for _ in range(4))
        return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])], True
    if kind == "empty":
        return [response(204, mark, reason="No Content")], True
    return [response(200, mark, body)], True


def upstream_handler(upstream, seed):
    def handler(connection):
        random_ = random.Random(seed * 7919 + connection.index)
        while True:
            try:
                message = connection.read_request()
            except Closed:
                return
            if message is None:
                return
            if random_.randrange(40) == 0:
                time.sleep(random_.random() * 0.05)
            if random_.randrange(60) == 0:
                return  # dies without a byte
            pieces, keep = answer_pieces(message, random_)
            for piece in pieces:
                connection.send(piece, timeout=20)
                if random_.randrange(10) == 0:
                    time.sleep(0.001)
            if not keep or random_.randrange(30) == 0:
                return

    return handler


def make_request(random_, mark):
    kind = random_.choice(KINDS)
    fields = [("X-Mark", mark), ("X-Kind", kind)]
    method = random_.choice(("GET", "GET", "HEAD", "POST", "PUT", "DELETE"))
    body = None
    if method in ("POST", "PUT"):
        body = random_.randbytes(random_.choice((0, 1, 100, 5000, 200_000)))
    if body and random_.randrange(2):
        cut = random_.randrange(len(body))
        data = request(method, f"/{mark}", [*fields, "Transfer-Encoding: chunked"], chunked(*[p for p in (body[:cut], body[cut:]) if p]))
    else:
        data = request(method, f"/{mark}", fields, body)
    return method, data, hashlib.sha256(body or b"").hexdigest()


def check(answer, mark, digest):
    if answer.status in (502, 503, 504):
        return None  # the upstream died under it
    if answer.status not in (200, 204):
        return f"{mark}: {answer!r}"
    if answer.one("x-mark") != mark or answer.one("x-digest") != digest:
        return f"{mark} got the answer of {answer.get('x-mark')}"
    if answer.complete and answer.body.replace((mark + "|").encode(), b""):
        return f"{mark} got a body of {answer.body[:80]!r}"
    return None


def one_client(gateway, random_, name):
    """One connection's life; the first thing that is wrong with it."""
    client = gateway.client(timeout=15.0, record=False)
    try:
        for number in range(random_.randrange(1, 12)):
            batch = [(f"{name}-{number}-{n}", *make_request(random_, f"{name}-{number}-{n}")) for n in range(random_.choice((1, 1, 1, 2, 4)))]
            data = b"".join(entry[2] for entry in batch)
            if random_.randrange(25) == 0:
                client.send(data[: random_.randrange(len(data))])
                return client.reset()
            sender = threading.Thread(target=quietly, args=(client.send, data)) if len(data) > 100_000 else None
            if sender:
                sender.start()
            else:
                client.send(data)
            for mark, method, _, digest in batch:
                if random_.randrange(60) == 0:
                    return client.reset() if not sender else None
                answer = client.response(method)
                problem = check(answer, mark, digest)
                if problem:
                    return problem
                if not answer.complete or "close" in answer.get("connection", "") or answer.framing == "close":
                    return None
            if sender:
                sender.join()
        return None
    except (Closed, OSError):
        return None
    except (AssertionError, Loose, Silent) as error:
        return None if "closed" in str(error) and "b''" in str(error) else f"{name}: {type(error).__name__}: {error}"
    finally:
        client.close()
        gateway.clients.remove(client)


def quietly(function, *arguments):
    try:
        function(*arguments)
    except Exception:
        pass


def run_chaos(t, seconds, seed, config, workers=6):
    gateway, upstream = t.pair({"workers": 2, "upstream": {"health": {"eject_after": 1000}}, **config})
    upstream.record = upstream.remembers = False
    upstream.handler = upstream_handler(upstream, seed)
    for _ in range(20):
        gateway.get("/warm")
    findings, lives = [], []
    end = time.monotonic() + seconds

    def work(slot):
        random_ = random.Random(seed * 104729 + slot)
        life = 0
        while (time.monotonic() < end or len(lives) <= 20) and not findings and gateway.process.returncode is None:
            try:
                problem = one_client(gateway, random_, f"s{seed}w{slot}l{life}")
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                findings.append(problem)
            life += 1
            lives.append(life)

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not findings, findings
    assert gateway.process.returncode is None and len(lives) > 20
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "client connections are left over")
    eventually(lambda: len(upstream.open_connections()) <= 256, "upstream connections are left over")
    assert gateway.process.rss_bytes() < (400 if is_sanitized() else 40) << 20, gateway.process.rss_bytes()
    records = gateway.access()
    assert len({record["request_id"] for record in records}) == len(records), "two lines for one request"


@timeout(60)
@cases({"plain": {}, "few upstream connections": {"upstream": {"max_connections": 2, "queue_timeout": "10s", "health": {"eject_after": 1000}}}})
def test_everything_at_once(t, config):
    run_chaos(t, 4, int(os.environ.get("KAMIYO_CHAOS_SEED", "1")), config)


@slow
@timeout(200)
def test_everything_at_once_for_a_minute(t):
    run_chaos(t, 60, int(os.environ.get("KAMIYO_CHAOS_SEED", "2")), {})

# SPDX-License-Identifier: MIT
"""Seeded mutations of valid answers, through the gateway to a client that forgives nothing.

Whatever an upstream sends, the client reads one strict answer (whole, or visibly cut short), and
the next request on its connection gets the next answer: nothing of the odd one is left over.
"""

import os
import random
import threading
import time

from harness import slow, timeout
from harness.message import Loose, chunked, request, response
from harness.wire import Closed, Silent
from mutation_test import TOKENS as REQUEST_TOKENS
from mutation_test import mutate_with

RUNS_LONG = True  # started first

SEEDS = [
    response(200, [], b"hello"),
    response(200, [("Content-Type", "text/plain"), ("Connection", "keep-alive"), ("Keep-Alive", "timeout=5")], b"hello world"),
    response(200, ["Transfer-Encoding: chunked"], chunked("hello", " world")),
    response(200, ["Transfer-Encoding: chunked", "Trailer: X-T"], chunked("hello", trailers="X-T: v\r\n")),
    response(200, ["Transfer-Encoding: chunked"], b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    response(204, reason="No Content"),
    response(304, ['ETag: "x"']),
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response(200, [], b"hello"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + response(200, [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")], b"hello"),
    response(404, [("X-RateLimit-Limit", "5")], b"not found", reason="Not Found"),
]
TOKENS = REQUEST_TOKENS + [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.0 ", b" 204 ", b" 304 ", b" 999 ",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Connection: close\r\n", b"Trailer: X\r\n",
]


class Script:
    """Answers /n with mutation n and a close, /check-n plainly."""

    def __init__(self, seed):
        self.seed = seed

    def answer(self, number):
        random_ = random.Random(self.seed * 1_000_003 + number)
        return mutate_with(random_, random_.choice(SEEDS), TOKENS)

    def handler(self, connection):
        while True:
            message = connection.read_request()
            if message is None:
                return
            name = message.target[1:]
            if name.startswith("check-"):
                connection.send(response(200, [("X-Check", name)], name.encode()))
                continue
            connection.send(self.answer(int(name)))
            time.sleep(0.001)
            return


def one_mutation(gateway, script, number):
    """None, or what is wrong with how mutation `number` was passed on."""
    client = gateway.client(timeout=15.0)
    try:
        client.send(request("GET", f"/{number}"))
        try:
            answer = client.response()
        except AssertionError as error:
            if "closed" in str(error) and not client.received:
                return "closed without an answer"
            return str(error) if "b''" not in str(error) else None
        if answer.status == 101:
            return "101 to a client that did not ask"
        if not answer.complete or "close" in answer.get("connection", "").lower() or answer.framing == "close":
            return None
        client.send(request("GET", f"/check-{number}"))
        check = client.response()
        if check.body != b"check-%d" % number or check.get("x-check") != f"check-{number}":
            return f"the next answer is {check!r}"
        return None
    except (Loose, Silent, Closed, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()
        gateway.clients.remove(client)


def run_mutations(t, count, seed, workers=4):
    gateway, upstream = t.pair({"upstream": {"read_timeout": "8s", "response_timeout": "8s", "health": {"eject_after": 1000, "eject_for": "100ms"}}})
    script = Script(seed)
    upstream.handler = script.handler
    upstream.record = upstream.remembers = False
    findings, done, lock = [], [], threading.Lock()
    numbers = iter(range(count))

    def work():
        while len(findings) < 10 and gateway.process.returncode is None:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                problem = one_mutation(gateway, script, number)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                findings.append(f"mutation {number} of seed {seed}: {problem}\n   for {script.answer(number)!r}")
            done.append(number)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not findings, "\n".join(findings)
    assert gateway.process.returncode is None and len(done) == count


@timeout(60)
def test_mutated_answers(t):
    run_mutations(t, int(os.environ.get("KAMIYO_MUTATIONS", "2000")), int(os.environ.get("KAMIYO_MUTATION_SEED", "1")))


@slow
@timeout(900)
def test_50000_mutated_answers(t):
    run_mutations(t, int(os.environ.get("KAMIYO_MUTATIONS", "50000")), int(os.environ.get("KAMIYO_MUTATION_SEED", "2")))

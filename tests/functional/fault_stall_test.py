# SPDX-License-Identifier: MIT
"""The gateway itself stands still for a while: what Redis has answered meanwhile counts, and nobody blames Redis."""

import signal
import time

from harness import cases, eventually, timeout
from harness.message import request
from harness.redis_load import AWAY, modes, settings, sound
from harness.redis_proxy import ScriptedRedis

CLIENTS = 12


@timeout(30)
@cases({"longer than redis.timeout": 0.8, "longer than connect_timeout, too": 1.4})
def test_answers_that_came_while_it_was_stopped(t, seconds):
    store = ScriptedRedis(sound)
    t.defer(store.close)
    gateway, upstream = t.pair({**settings(store.url, timeout="600ms"), "workers": 1})
    clients = [gateway.client(record=False) for _ in range(CLIENTS)]
    assert clients[0].exchange(request("GET", "/")).status == 200
    asked = []

    def keep(arguments):
        if arguments[0] != b"EVALSHA":
            return sound(arguments)
        asked.append(arguments)

    store.reply = keep
    for client in clients:
        client.send(request("GET", "/"))
    eventually(lambda: len(asked) == CLIENTS, lambda: f"{len(asked)} of {CLIENTS} asked")
    gateway.process.signal(signal.SIGSTOP)
    store.sockets[-1].sendall(b"".join(map(sound, asked)))
    store.reply = sound
    time.sleep(seconds)
    gateway.process.signal(signal.SIGCONT)
    assert [client.response().status for client in clients] == [200] * CLIENTS
    records = gateway.wait_access(1 + CLIENTS)
    assert modes(records) == {"redis"}, records
    assert not gateway.log_lines(AWAY)

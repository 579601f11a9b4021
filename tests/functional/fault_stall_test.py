# SPDX-License-Identifier: MIT
"""The gateway itself stands still for a while: what Redis has answered meanwhile counts, and nobody blames Redis."""

import time

from harness import cases, eventually, timeout
from harness.message import request
from harness.redis_load import AWAY, modes, settings, sound
from harness.redis_proxy import ScriptedRedis

CLIENTS = 12
# More than libevent takes from the kernel at once at first (32). When the gateway goes on, they stand before Redis's answers.
BYSTANDERS = 48


@timeout(40)
@cases({"longer than redis.timeout": 2.4, "longer than connect_timeout, too": 3.4})
def test_answers_that_came_while_it_was_stopped(t, seconds):
    store = ScriptedRedis(sound)
    t.defer(store.close)
    gateway, upstream = t.pair({**settings(store.url, timeout="2s", connect_timeout="3s"), "workers": 1})
    clients, bystanders = ([gateway.client(record=False) for _ in range(count)] for count in (CLIENTS, BYSTANDERS))
    for client in bystanders:  # one by one: each is accepted, and idle
        assert client.exchange(request("GET", "/")).status == 200
    asked = []

    def keep(arguments):
        if arguments[0] != b"EVALSHA":
            return sound(arguments)
        asked.append(arguments)

    store.reply = keep
    for client in clients:
        client.send(request("GET", "/"))
    eventually(lambda: len(asked) == CLIENTS, lambda: f"{len(asked)} of {CLIENTS} asked")
    gateway.process.pause()
    for client in bystanders:
        client.send(request("GET", "/"))
    store.sockets[-1].sendall(b"".join(map(sound, asked)))
    store.reply = sound
    time.sleep(seconds)
    gateway.process.resume()
    statuses = [client.response().status for client in clients + bystanders]
    assert statuses == [200] * (CLIENTS + BYSTANDERS), statuses
    records = gateway.wait_access(CLIENTS + 2 * BYSTANDERS)
    assert modes(records) == {"redis"}, records
    assert not gateway.log_lines(AWAY)

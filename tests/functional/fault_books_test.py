# SPDX-License-Identifier: MIT
"""The books after an outage, user by user: what was spent is charged to Redis, whoever was idle meanwhile.

One client over four workers leaves three connections to Redis unused, so that nobody notices their end; a
window of 300 days refills nothing while a test runs.
"""

import time

from harness import cases, eventually, timeout
from harness.message import request
from harness.redis_load import AWAY, BACKEND, WIDE_LIMIT, greeted, sound, under_load
from harness.redis_proxy import ScriptedRedis

LIMIT = 1000
WINDOW = "25920000s"
USERS = [f"10.1.{n // 10}.{n % 10 + 1}" for n in range(60)]


# One client: until the breaker opens, its requests wait one after another, five times 150 ms, and a machine that lets
# them wait as long is no outage. Redis is stopped for longer than that.
PATIENT = {"timeout": "150ms", "connect_timeout": "2s"}


def settings(url, **redis):
    return {
        "workers": 4,
        "allow": [],
        "client_ip": {"trusted_proxies": ["loopback"]},
        "tiers": {"anonymous": {"300d": LIMIT}},
        "redis": {"url": url, **PATIENT, **redis},
    }


class Users:
    """One connection that speaks for many addresses, and how often each was let through."""

    def __init__(self, gateway):
        self.client = gateway.client(record=False)
        self.spent = dict.fromkeys(USERS, 0)

    def ask(self, user, is_known=True):
        answer = self.client.exchange(request("GET", "/", [("X-Forwarded-For", user)]))
        assert answer.status == 200, answer
        self.spent[user] += 1
        if is_known:
            assert int(answer.one("x-ratelimit-remaining")) == LIMIT - self.spent[user], (user, self.spent[user], answer)

    def ask_all(self, is_known=True):
        for user in USERS:
            self.ask(user, is_known)

    def ask_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.ask_all()
            time.sleep(0.05)

    def missing(self, redis):
        """{user: tokens that Redis was not charged, negative: too many}, of those where it is not all."""
        wrong = {}
        for user, spent in self.spent.items():
            tokens = redis.hash(f"ratelimit:ip:{user}:{WINDOW}").get("tokens", LIMIT)
            if round(LIMIT - float(tokens)) != spent:
                wrong[user] = spent - round(LIMIT - float(tokens))
        return wrong


def balances(users, redis):
    eventually(lambda: not users.missing(redis), lambda: f"not charged: {users.missing(redis)}")
    time.sleep(0.4)
    assert not users.missing(redis), users.missing(redis)


@timeout(30)
@cases({"longer than connect_timeout": 2.4, "shorter": 1.2})
def test_stopped_while_most_workers_are_idle(t, seconds):
    redis = t.redis()
    gateway, upstream = t.pair(settings(redis.url))
    users = Users(gateway)
    users.ask_all()
    redis.pause()
    users.ask_for(seconds)
    redis.resume()
    gateway.wait_log(BACKEND, count=2)
    users.ask_all(is_known=False)  # the charges are on their way
    balances(users, redis)
    assert len(gateway.log_lines(AWAY)) == 1


@timeout(30)
def test_killed_while_most_workers_are_idle(t):
    redis = t.redis("--appendonly", "yes", "--appendfsync", "no")  # written before the answer: a kill loses nothing of it
    gateway, upstream = t.pair(settings(redis.url))
    users = Users(gateway)
    users.ask_all()
    redis.kill()
    users.ask_for(0.5)
    redis.start()
    gateway.wait_log(BACKEND, count=2)
    users.ask_all(is_known=False)  # the charges are on their way
    balances(users, redis)
    assert len(gateway.log_lines(AWAY)) == 1


@timeout(30)
def test_promoted_replica_takes_over_the_books(t):
    """A connection that says READONLY is left; what was spent until the promotion is charged to the new master."""
    master = t.redis()
    replica = t.redis("--replicaof", "127.0.0.1", str(master.port))
    eventually(lambda: "master_link_status:up" in replica.command("INFO", "replication"), "no replica")
    gateway, upstream = t.pair({**settings(master.url), "workers": 1})
    users = Users(gateway)
    users.ask_all()
    eventually(lambda: not users.missing(replica), "not replicated")
    master.kill()
    users.ask_for(0.2)
    # The name stays, another server answers there: the port is taken over.
    replica.command("SAVE")
    replica.kill()
    replica.port = master.port
    replica.options = ("--replicaof", "127.0.0.1", "1")
    replica.start()
    users.ask_for(0.3)
    replica.command("REPLICAOF", "NO", "ONE")
    gateway.wait_log(BACKEND, count=2)
    users.ask_all(is_known=False)  # the charges are on their way
    balances(users, replica)
    assert len(gateway.log_lines(AWAY)) == 1


def cut(arguments):
    raise OSError("the connection ends instead of an answer")


def refuse_two_keys(arguments):
    """As a node of a cluster does: keys of one decision hash to slots that differ."""
    return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n" if arguments[2] != b"1" else sound(arguments)


@timeout(30)
def test_two_windows_in_a_cluster(t):
    """What the probe asks is what decisions ask: one outage, and not thirty a second."""
    store = ScriptedRedis(lambda arguments: refuse_two_keys(arguments) if arguments[0] in (b"EVALSHA", b"EVAL") else sound(arguments))
    t.defer(store.close)
    gateway, load = under_load(t, store.url, tiers={"anonymous": {"365d": WIDE_LIMIT, "366d": WIDE_LIMIT}})
    load.loses("bad reply: CROSSSLOT")
    time.sleep(1.0)
    assert len(gateway.log_lines(AWAY)) == len(gateway.log_lines(BACKEND)) == 1, gateway.stderr()
    load.stop()


NONSENSE = {"garbage": b"hello\r\n", "nil": b"$-1\r\n", "an error": b"-ERR boom\r\n", "no script ever": b"-NOSCRIPT No matching script\r\n",
            "the connection ends": cut}


@timeout(30)
@cases(NONSENSE)
def test_only_the_script_fails(t, answer):
    """Everything else works, the probe's SET too: one outage all the same, and not ten a second."""

    def reply(arguments):
        if arguments[0] not in (b"EVALSHA", b"EVAL"):
            return sound(arguments)
        return answer(arguments) if callable(answer) else answer

    store, gateway, load = greeted(t, reply)
    load.loses(("bad reply", "connection closed"))
    time.sleep(1.0)
    # Nothing new: what a busy machine made it lose and find before is in both counts.
    assert len(gateway.log_lines(AWAY)) == len(gateway.log_lines(BACKEND)) == load.outages, gateway.stderr()
    store.reply = sound
    load.finds()
    load.stop()
    assert len(gateway.log_lines(AWAY)) == len(gateway.log_lines(BACKEND)) - 1 == load.outages, gateway.stderr()

# SPDX-License-Identifier: MIT
"""The path to Redis breaks, under load: delays, silence, cuts, garbage; and clocks jump. Judged by `Load.stop`."""

import socket
import time

from harness import cases, timeout
from harness.clock_shift import ClockShift
from harness.redis_load import AWAY, UNHURRIED, expect_redis, greeted, sound, stamp, under_load
from harness.redis_proxy import RedisProxy, ScriptedRedis, listen

RUNS_LONG = True


def proxied(t, **options):
    redis = t.redis()
    proxy = RedisProxy(redis.port)
    t.defer(proxy.close)
    gateway, load = under_load(t, proxy.url, **options)
    load.settles()
    return redis, proxy, gateway, load


@timeout(40)
@cases({"far": 0.9, "a little": 0.7})
def test_replies_delayed_beyond_the_timeout(t, delay):
    # A connection that says nothing for connect_timeout is dropped, and what was under way on it may be charged twice.
    redis, proxy, gateway, load = proxied(t, connect_timeout=UNHURRIED)
    proxy.delay = delay
    load.loses("socket_timeout")
    time.sleep(1.0)
    proxy.heal()
    load.finds()
    load.stop(books=redis)


@timeout(30)
def test_replies_delayed_within_the_timeout(t):
    redis, proxy, gateway, load = proxied(t)
    outages = load.outages
    proxy.delay = 0.1
    time.sleep(2.0)
    expect_redis(load.stop(books=redis))
    assert len(gateway.log_lines(AWAY)) == outages


@timeout(40)
@cases({"swallowed": ("swallow", True), "half open": ("stall", True), "cut in a reply": ("cut_after", 7),
        "cut at once": ("cut_after", 0), "garbage": ("instead", b"\x16\x03\x01garbage\r\n"),
        "another's reply": ("instead", b"$3\r\nfoo\r\n")})
def test_path_breaks_and_heals(t, name, value):
    redis, proxy, gateway, load = proxied(t)
    setattr(proxy, name, value)
    load.loses()
    time.sleep(1.0)
    proxy.heal()
    load.finds()
    # Of what was under way on each connection that broke nobody knows whether it was charged.
    load.stop(books=redis, twice_at_most=3 * len(proxy.accepted))


@timeout(40)
def test_a_syn_that_is_never_answered(t):
    silent = listen(backlog=0)
    t.defer(silent.close)
    port = silent.getsockname()[1]
    fillers = []
    for _ in range(4):  # the queue of connections that wait to be accepted is full: further SYNs are dropped
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        fillers.append(sock)
        t.defer(sock.close)
    gateway, load = under_load(t, f"redis://127.0.0.1:{port}", connect_timeout="300ms")
    load.loses("socket_connect_timeout")
    assert gateway.log_lines("(Redis: False)")
    time.sleep(1.0)
    silent.close()
    for sock in fillers:
        sock.close()
    redis = t.redis(port=port)
    load.finds()
    load.stop(books=redis)


@timeout(40)
def test_accepted_and_never_answered(t):
    store = ScriptedRedis(sound)
    answer, store._answer = store._answer, lambda arguments: None
    t.defer(store.close)
    gateway, load = under_load(t, store.url, connect_timeout="500ms")
    load.loses("socket_connect_timeout")
    listening = stamp(gateway.log_lines("Listening on")[0]) - time.time() + time.monotonic()
    assert listening - store.accepted[0] < 5
    time.sleep(1.0)
    store._answer = answer
    load.finds()
    load.stop()


@timeout(40)
def test_probe_that_is_never_answered(t):
    """Connected and greeted in time: what has timed out is no connecting."""
    store = ScriptedRedis(None)
    t.defer(store.close)
    gateway, load = under_load(t, store.url, connect_timeout="500ms")
    load.loses("socket_timeout")
    assert gateway.log_lines("(Redis: False)")
    store.reply = sound
    load.finds()
    load.stop()


def test_name_that_does_not_resolve(t):
    gateway, load = under_load(t, "redis://no-such-host.invalid:6379")
    load.loses("name not resolved")
    load.stop()


@timeout(40)
def test_clock_of_redis_jumps(t):
    offset = [0]

    def reply(arguments):
        if arguments[0] not in (b"EVALSHA", b"EVAL"):
            return sound(arguments)
        import struct

        now = int((time.time() + offset[0]) * 1000)
        numbers = arguments[4 + 0]
        deadline = struct.unpack_from(">q", numbers, 1)[0]  # behind MessagePack's type byte
        return b"*1\r\n:%d\r\n" % (now * 4 + 2) if now > deadline else b"*2\r\n:%d\r\n:500\r\n" % (now * 4 + 1)

    store, gateway, load = greeted(t, reply)
    for jump in (3600, -86400, 5, -5):
        offset[0] += jump
        time.sleep(0.3)
        load.finds()
    assert_late_is_no_failure(gateway, load.stop(), 4, load.outages)


def assert_late_is_no_failure(gateway, records, jumps, outages):
    odd = sum(record["mode"] != "redis" for record in records)
    assert odd <= 4 * jumps, f"{odd} decisions were late; a jump costs what is in flight"
    assert len(gateway.log_lines(AWAY)) == outages, "late is no failure"


@timeout(40)
@cases({"of Redis": (True, False), "of the gateway": (False, True), "of both": (True, True)})
def test_clock_jumps(t, of_redis, of_gateway):
    """A real Redis, and real clocks that jump."""
    shift = ClockShift(t.directory)
    redis = t.redis(env=shift.environment if of_redis else None)
    gateway, load = under_load(t, redis.url, env=shift.environment if of_gateway else None)
    for seconds in (3600, -86400, 5, -5, 0):
        shift.jump(seconds)
        if of_redis:
            now = int(redis.command("TIME")[0])
            assert abs(now - time.time() - seconds) < 2, "its clock did not jump"
        time.sleep(0.4)
    assert_late_is_no_failure(gateway, load.stop(), 5, 0)

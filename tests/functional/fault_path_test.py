# SPDX-License-Identifier: MIT
"""The path to Redis breaks, under load: delays, silence, cuts, garbage; and its clock jumps."""

import socket
import time

from harness import cases, eventually, timeout
from harness.redis_load import AWAY, expect_outage, greeted, modes, p99, sound, spent, under_load, wait_mode
from harness.redis_proxy import RedisProxy, ScriptedRedis, listen

RUNS_LONG = True


def proxied(t, **options):
    redis = t.redis()
    proxy = RedisProxy(redis.port)
    t.defer(proxy.close)
    gateway, load = under_load(t, proxy.url, **options)
    assert modes(gateway.access()) == {"redis"}
    return redis, proxy, gateway, load


@timeout(40)
@cases({"far": 0.15, "a little": 0.07})
def test_replies_delayed_beyond_the_timeout(t, delay):
    redis, proxy, gateway, load = proxied(t)
    proxy.delay = delay
    wait_mode(gateway, "fallback")
    expect_outage(gateway, "socket_timeout")
    mark = len(gateway.access())
    time.sleep(1.0)
    assert p99(gateway.access()[mark:]) < 20
    proxy.heal()
    wait_mode(gateway, "redis")
    records = load.stop()
    allowed = sum(record["decision"] == "allowed" for record in records)
    eventually(lambda: spent(redis) >= allowed, lambda: f"{spent(redis)} of {allowed} charged")


@timeout(30)
def test_replies_delayed_within_the_timeout(t):
    redis, proxy, gateway, load = proxied(t)
    proxy.delay = 0.02
    time.sleep(1.0)
    records = load.stop()
    late = sum(record["mode"] != "redis" for record in records)
    assert late <= len(records) * 0.02, f"{late} of {len(records)} not by Redis"


@timeout(40)
@cases({"swallowed": ("swallow", True), "half open": ("stall", True), "cut in a reply": ("cut_after", 7),
        "cut at once": ("cut_after", 0), "garbage": ("instead", b"\x16\x03\x01garbage\r\n"),
        "another's reply": ("instead", b"$3\r\nfoo\r\n")})
def test_path_breaks_and_heals(t, name, value):
    redis, proxy, gateway, load = proxied(t)
    setattr(proxy, name, value)
    wait_mode(gateway, "fallback")
    gateway.wait_log(AWAY)
    time.sleep(1.0)
    proxy.heal()
    wait_mode(gateway, "redis")
    load.stop()


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
    expect_outage(gateway, "socket_connect_timeout")
    assert gateway.log_lines("(Redis: False)")
    assert p99(load.stop()) < 20


@timeout(40)
def test_accepted_and_never_answered(t):
    store = ScriptedRedis(None)
    store._answer = lambda arguments: None
    t.defer(store.close)
    began = time.monotonic()
    gateway, load = under_load(t, store.url, connect_timeout="500ms")
    expect_outage(gateway, "socket_connect_timeout")
    assert time.monotonic() - began < 5
    load.stop()


@timeout(40)
def test_probe_that_is_never_answered(t):
    """Connected and greeted in time: what has timed out is no connecting."""
    store = ScriptedRedis(None)
    t.defer(store.close)
    gateway, load = under_load(t, store.url, connect_timeout="500ms")
    expect_outage(gateway, "socket_timeout")
    assert gateway.log_lines("(Redis: False)")
    store.reply = sound
    wait_mode(gateway, "redis")
    load.stop()


def test_name_that_does_not_resolve(t):
    gateway, load = under_load(t, "redis://no-such-host.invalid:6379")
    expect_outage(gateway, "name not resolved")
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
        deadline = struct.unpack_from(">d", numbers, 1)[0]  # behind MessagePack's type byte
        return b"*2\r\n:2\r\n:%d\r\n" % now if now > deadline else b"*3\r\n:1\r\n:%d\r\n:500\r\n" % now

    store, gateway, load = greeted(t, reply)
    for jump in (3600, -86400, 5, -5):
        offset[0] += jump
        time.sleep(0.3)
        wait_mode(gateway, "redis")
    records = load.stop()
    odd = sum(record["mode"] != "redis" for record in records)
    assert odd <= 4 * 4, f"{odd} decisions were late; a jump costs what is in flight"
    assert not gateway.log_lines(AWAY), "late is no failure"

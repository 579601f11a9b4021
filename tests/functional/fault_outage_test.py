# SPDX-License-Identifier: MIT
"""Redis absent, killed, stopped, flushed under load: no request fails, waits or counts twice.

Each fault runs under a `Load`: clients that ask all the time. What has to hold in all of them: every
answer is a 200 or a 429, every request has one decision, none waits for Redis longer than 100 ms, and
within two seconds of Redis being well the decisions are Redis's again.
"""

import datetime
import time

from harness import cases, eventually, timeout, until
from harness.process import is_sanitized
from harness.redis_load import (AWAY, BACKEND, LONGEST_MS, Load, expect_outage, modes, p99, settings, spent, under_load,
                                wait_mode)

RUNS_LONG = True


def test_absent_at_the_start_and_coming_up_later(t):
    redis = t.redis()
    redis.kill()
    gateway, load = under_load(t, redis.url)
    expect_outage(gateway, "connection refused")
    assert gateway.log_lines("(Redis: False)") and not gateway.log_lines(BACKEND)
    redis.start()
    took = wait_mode(gateway, "redis")
    assert took < (2.0 if not is_sanitized() else 5.0), took
    load.stop()
    assert len(gateway.wait_log(BACKEND)) == 1


@timeout(40)
@cases({"with its data": True, "without": False})
def test_killed_under_load_and_started_again(t, keep_data):
    redis = t.redis()
    # SAVE holds everybody up for as long as the disk takes: that is not the outage that is meant here.
    gateway, load = under_load(t, redis.url, timeout="500ms")
    assert modes(gateway.access()) == {"redis"}
    saved = time.time()
    if keep_data:
        redis.command("SAVE")
    redis.kill()
    killed = time.time()
    wait_mode(gateway, "fallback")
    expect_outage(gateway, "connection")
    time.sleep(0.7)
    redis.start()
    wait_mode(gateway, "redis")
    records = load.stop(LONGEST_MS + 450)
    assert p99([record for record in records if record["mode"] == "fallback"]) < 20
    assert len(gateway.wait_log(BACKEND, count=2)) == 2
    # What was spent meanwhile is charged: nothing of it is lost, and a lost reply may count twice.
    allowed = sum(record["decision"] == "allowed" for record in records)
    if keep_data:
        lost = allowed_between(records, saved, killed)
        eventually(lambda: spent(redis) >= allowed - lost, lambda: f"{spent(redis)} of {allowed} charged, {lost} lost")
        assert spent(redis) <= allowed + 8, (spent(redis), allowed)


def allowed_between(records, first, last):
    """Requests of a moment, and a little around it."""
    def when(record):
        return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()

    return sum(first - 0.1 < when(record) < last + 0.1 for record in records)


@timeout(60)
def test_stopped_and_continued(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.pause()
    wait_mode(gateway, "fallback")
    expect_outage(gateway, "socket_timeout")
    mark = len(gateway.access())
    time.sleep(1.5)
    outage = gateway.access()[mark:]
    assert p99(outage) < 20 and modes(outage) == {"fallback"}
    redis.resume()
    wait_mode(gateway, "redis")
    time.sleep(0.5)
    records = load.stop()
    allowed = sum(record["decision"] == "allowed" for record in records)
    # Late commands charged nothing, and the ledger everything: each request once. But what was in
    # flight when the connection was given up is unknown, and counted for certain.
    eventually(lambda: spent(redis) >= allowed, lambda: f"{spent(redis)} of {allowed} charged")
    time.sleep(0.3)
    assert spent(redis) == allowed, (spent(redis), allowed)


@timeout(60)
def test_four_workers_lose_and_find_it_together(t):
    redis = t.redis()
    config = settings(redis.url)
    config["workers"] = 4
    gateway, upstream = t.pair(config)
    load = Load(gateway, clients=8)
    t.defer(load.stopping.set)
    for outage in range(1, 4):
        time.sleep(0.3)
        redis.kill()
        gateway.wait_log(AWAY, count=outage)
        time.sleep(0.3)
        redis.start()
        gateway.wait_log(BACKEND, count=outage + 1, seconds=4)
    load.stop()
    assert len(gateway.log_lines(AWAY)) == 3 and len(gateway.log_lines(BACKEND)) == 4, "once a process"


def test_scripts_flushed_under_load(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    for _ in range(5):
        redis.command("SCRIPT", "FLUSH")
        time.sleep(0.1)
    assert modes(load.stop()) == {"redis"}
    assert not gateway.log_lines(AWAY)


def test_flushall_under_load(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.command("FLUSHALL")
    time.sleep(0.3)
    assert modes(load.stop()) == {"redis"}
    assert redis.keys("ratelimit:ip:*")


def test_clients_killed_under_load(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    for _ in range(4):
        redis.command("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(0.2)
    wait_mode(gateway, "redis")
    records = load.stop()
    assert sum(record["mode"] != "redis" for record in records) <= len(records) * 0.1
    assert not gateway.log_lines(AWAY), "a connection that comes back at once is no outage"


@timeout(30)
def test_idle_connection_closed_by_redis(t):
    redis = t.redis("--timeout", "1")
    gateway, upstream = t.pair(settings(redis.url))
    assert gateway.get("/").status == 200
    time.sleep(2.5)
    assert gateway.get("/").status == 200
    assert modes(gateway.wait_access(2)) == {"redis"}
    assert not gateway.log_lines(AWAY)
@timeout(90)
def test_memory_and_descriptors_come_back(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    load.stop()
    descriptors = gateway.process.fd_count()
    memory = gateway.process.rss_bytes()
    for _ in range(6):
        redis.kill()
        time.sleep(0.3)
        redis.start()
        gateway.get("/")
        time.sleep(0.4)
    until(lambda: gateway.process.fd_count() <= descriptors, 3)
    assert gateway.process.fd_count() <= descriptors + 1, (gateway.process.fd_count(), descriptors)
    assert gateway.process.rss_bytes() < memory + (8 << 20) * (8 if is_sanitized() else 1)

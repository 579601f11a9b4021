# SPDX-License-Identifier: MIT
"""Redis absent, killed, stopped, flushed under load: no request fails, waits or counts twice.

Each fault runs under a `Load` (`harness/redis_load.py`), whose stop() judges what has to hold in all of them.
"""

import time

from harness import cases, eventually, timeout, until
from harness.process import is_sanitized
from harness.redis_load import AWAY, BACKEND, LONGER_MS, TIMEOUT_MS, expect_redis, modes, settings, spent, under_load, when

RUNS_LONG = True


@timeout(30)
def test_absent_at_the_start_and_coming_up_later(t):
    redis = t.redis()
    redis.kill()
    gateway, load = under_load(t, redis.url)
    load.loses("connection refused")
    assert gateway.log_lines("(Redis: False)") and not gateway.log_lines(BACKEND)
    time.sleep(0.5)
    redis.start()
    load.finds()
    load.stop(books=redis)
    assert len(gateway.wait_log(BACKEND)) == 1


@timeout(40)
@cases({"with its data": True, "without": False})
def test_killed_under_load_and_started_again(t, keep_data):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    load.settles()
    saved = time.time()
    if keep_data:
        redis.command("SAVE")
    redis.kill()
    killed = time.time()
    load.loses("connection")
    time.sleep(0.7)
    redis.start()
    load.finds()
    records = load.stop()
    assert len(gateway.wait_log(BACKEND, count=2)) == 2
    # What was spent meanwhile is charged: nothing of it is lost, and a lost reply may count twice.
    allowed = sum(record["decision"] == "allowed" for record in records)
    if keep_data:
        lost = sum(when(record) < killed + 0.1 and when(record) + record["duration_ms"] / 1000 > saved - 0.1 for record in records)
        eventually(lambda: spent(redis) >= allowed - lost, lambda: f"{spent(redis)} of {allowed} charged, {lost} lost")
        assert spent(redis) <= allowed + 8, (spent(redis), allowed)


@timeout(60)
@cases({"shorter than connect_timeout": ("10s", 0), "longer": ("1s", 3)})
def test_stopped_and_continued(t, connect_timeout, twice_at_most):
    redis = t.redis()
    gateway, load = under_load(t, redis.url, connect_timeout=connect_timeout)
    redis.pause()
    load.loses("socket_timeout")
    time.sleep(1.5)
    redis.resume()
    load.finds()
    # Late commands charged nothing, and the ledger everything: each request once. But what Redis had charged and
    # not yet answered when it was stopped is not known on a new connection: a request of each client at the most.
    load.stop(books=redis, twice_at_most=twice_at_most)


@timeout(40)
def test_stopped_for_a_moment(t):
    """A stall over redis.timeout that ends by itself: shared again at once, and still each request once."""
    redis = t.redis()
    gateway, load = under_load(t, redis.url, clients=12, timeout="50ms")
    for _ in range(5):
        redis.pause()
        time.sleep(0.08)
        redis.resume()
        time.sleep(0.4)
    load.finds()
    load.stop(books=redis)
    opened, closed = gateway.log_lines(AWAY), gateway.log_lines(BACKEND)
    assert len(closed) == len(opened) + 1, (opened, closed)


@timeout(60)
def test_four_workers_lose_and_find_it_together(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url, workers=4, clients=8)
    for outage in range(1, 4):
        time.sleep(0.3)
        redis.kill()
        load.loses("connection")
        time.sleep(0.3)
        redis.start()
        gateway.wait_log(BACKEND, count=outage + 1)
    load.finds()
    load.stop()
    assert len(gateway.log_lines(AWAY)) == 3 and len(gateway.log_lines(BACKEND)) == 4, "once a process"


def test_scripts_flushed_under_load(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    for _ in range(5):
        redis.command("SCRIPT", "FLUSH")
        time.sleep(0.1)
    expect_redis(load.stop(books=redis))
    assert not gateway.log_lines(AWAY)


def test_flushall_under_load(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.command("FLUSHALL")
    time.sleep(0.3)
    expect_redis(load.stop())
    assert redis.keys("ratelimit:ip:*")


@timeout(30)
@cases({"one worker": 1, "two": 2})
def test_clients_killed_under_load(t, workers):
    redis = t.redis()
    gateway, load = under_load(t, redis.url, workers=workers, clients=4)
    for _ in range(4):
        redis.command("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(0.3)
    load.finds()
    # Tried once more within the deadline: unless that passes, the table decides nothing.
    expect_redis(load.stop(books=redis, twice_at_most=4 * 4))
    assert not gateway.log_lines(AWAY), "a connection that comes back at once is no outage"


@timeout(30)
def test_idle_connection_closed_by_redis(t):
    redis = t.redis("--timeout", "1")
    gateway, upstream = t.pair(settings(redis.url))
    descriptors = gateway.process.fd_count()
    for _ in range(2):
        assert gateway.get("/").status == 200
        time.sleep(2.5)  # Redis closes, the gateway connects again, and Redis closes that as well
    assert gateway.get("/").status == 200
    records = gateway.wait_access(3)
    assert modes(records) == {"redis"} and max(record["limit_ms"] for record in records) <= TIMEOUT_MS + LONGER_MS, records
    assert not gateway.log_lines(AWAY)
    assert gateway.process.fd_count() <= descriptors + 1  # a pooled connection to the upstream


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
    until(lambda: gateway.process.fd_count() <= descriptors + 1)
    assert gateway.process.fd_count() <= descriptors + 1, (gateway.process.fd_count(), descriptors)
    assert gateway.process.rss_bytes() < memory + (8 << 20) * (8 if is_sanitized() else 1)

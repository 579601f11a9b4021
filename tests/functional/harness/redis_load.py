# SPDX-License-Identifier: MIT
"""Clients that ask all the time while a test breaks Redis, and what has to hold whatever it breaks.

    gateway, load = under_load(t, redis.url)
    redis.pause()
    load.loses("socket_timeout")
    redis.resume()
    load.finds()
    load.stop()

`stop` judges the run. Every request got 200 or 429, one decision, one line in the access log, and was passed
on at most once; none waited for Redis longer than redis.timeout and 50 ms; while the breaker was open, 99 in 100 took less
than 20 ms; within 2 s of Redis being well its decisions were shared again, and stayed so; memory and
descriptors are back to where they were. What the gateway's threads waited for a CPU meanwhile
(`harness/starvation.py`) is no waiting for Redis, and is taken off, to each request its own.
"""

import datetime
import threading
import time

from harness.message import request
from harness.process import is_sanitized
from harness.redis_proxy import ScriptedRedis
from harness.starvation import Starvation
from harness.wait import eventually, until

BACKEND = "INFO - Rate limiter using Redis backend"
AWAY = "WARNING - Redis unavailable, falling back to in-memory: "
# So long a window that what refills during a test is no token.
WIDE_LIMIT = 1_000_000
WIDE = {"anonymous": {"366d": WIDE_LIMIT}}
WIDE_KEY = "ratelimit:ip:127.0.0.1:31622400s"

# redis.timeout, ten times the default: a busy machine that lets Redis, or the test, wait for a while is no outage.
TIMEOUT_MS = 500
UNHURRIED = "10s"  # where an answer that comes late would be another answer
LONGER_MS = 50  # than redis.timeout no decision waits
OPEN_P99_MS = 20
SHARED_AGAIN_S = 2.0
# Freed memory that the allocator keeps; a sanitizer keeps all of it for a while.
GROWTH_BYTES = (64 if is_sanitized() else 8) << 20


def settings(url, tiers=None, **redis):
    if redis.get("timeout") == UNHURRIED:
        redis.setdefault("connect_timeout", UNHURRIED)
    return {"allow": [], "tiers": tiers or WIDE, "redis": {"url": url, "timeout": f"{TIMEOUT_MS}ms", **redis}}


class Load:
    """A few clients that ask without pause until stop()."""

    def __init__(self, gateway, upstream, clients=3, pause=0.003):
        self.gateway, self.upstream, self.pause = gateway, upstream, pause
        self.timeout_ms = in_ms(gateway.config["redis"]["timeout"])
        self.statuses, self.errors = [], []
        self.fds_before = gateway.process.fd_count()
        self.passed_before = len(upstream.requests)
        self.lines_before = len(gateway.access())
        self.decisions_before = gateway.metrics().total("decisions_total")
        self.outages, self.well_since = 0, None
        self.starvation = Starvation(gateway.process.pid)
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()
        eventually(lambda: len(self.statuses) > 2 * clients or self.errors, "the load does not begin")
        time.sleep(0.3)
        self.memory_before = gateway.process.rss_bytes()

    def _run(self):
        client = self.gateway.client(record=False)
        while not self.stopping.is_set():
            try:
                self.statuses.append(client.exchange(request("GET", "/")).status)
            except Exception as error:  # a failed request is what is looked for
                self.errors.append(repr(error))
                if self.stopping.is_set():
                    return
                client = self.gateway.client(record=False)
            time.sleep(self.pause)

    def _newest(self):
        """Records from now on, as a function."""
        seen = len(self.gateway.access())
        return lambda: self.gateway.access()[seen:]

    def settles(self):
        """Redis decides. A store that runs in the test's own process may have been too slow for that on a busy
        machine; what was lost and found until now is not the fault that follows."""
        newest = self._newest()
        assert until(lambda: newest() and newest()[-1]["mode"] == "redis"), f"Redis does not decide:\n{self.gateway.describe()}"
        self.outages = len(self.gateway.log_lines(AWAY))

    def loses(self, reason=""):
        """Redis is broken: waits until the table decides, and for the one line that says why."""
        newest = self._newest()
        self.outages += 1
        assert until(lambda: newest() and newest()[-1]["mode"] == "fallback"), f"no fallback:\n{self.gateway.describe()}"
        lines = self.gateway.wait_log(AWAY, count=self.outages)
        assert len(lines) == self.outages, lines
        assert lines[-1].split(AWAY)[1].startswith(reason), lines

    def finds(self):
        """Redis is well from now on: waits until it decides. How soon is judged at the end."""
        self.well_since = time.time()
        newest = self._newest()
        assert until(lambda: newest() and newest()[-1]["mode"] == "redis"), f"no recovery:\n{self.gateway.describe()}"

    def stop(self, books=None, twice_at_most=0):
        """Ends it, judges it, and gives the access log. `books`: the Redis that has charged every request, and
        `twice_at_most` so many of them twice."""
        if self.well_since is not None:
            time.sleep(0.3)  # the decisions stay Redis's
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.starvation.stop()
        assert not self.errors, self.errors[:3]
        records = self._judge_decisions()
        self._judge_waits(records)
        self._judge_open_breaker(records)
        if self.well_since is not None:
            self._judge_recovery(records)
        if books is not None:
            allowed = sum(record["decision"] == "allowed" for record in records)
            eventually(lambda: spent(books) >= allowed, lambda: f"{spent(books)} of {allowed} charged")
            time.sleep(0.3)
            assert spent(books) <= allowed + twice_at_most, (spent(books), allowed, twice_at_most)
        self._judge_resources()
        return records

    # The judgements.

    def _judge_decisions(self):
        assert set(self.statuses) <= {200, 429}, set(self.statuses)
        count = len(self.statuses)
        self.gateway.wait_access(self.lines_before + count)
        time.sleep(0.15)  # one that is too many would come by now
        records = self.gateway.access()[self.lines_before :]
        assert len(records) == count, f"{len(records)} lines for {count} requests"
        assert all(record["decision"] in ("allowed", "denied") for record in records)
        decisions = self.gateway.metrics().total("decisions_total") - self.decisions_before
        assert decisions == count, f"{decisions} decisions for {count} requests"
        passed = len(self.upstream.requests) - self.passed_before
        assert passed == self.statuses.count(200), f"{passed} passed on, {self.statuses.count(200)} answers"
        return records

    def waited_ms(self, record):
        """Of a decision's time, what nobody waited for a CPU."""
        began = when(record)
        starved = self.starvation.between(began - 0.005, began + record["duration_ms"] / 1000 + 0.005)
        return record["limit_ms"] - 1000 * starved

    def _judge_waits(self, records):
        longest_ms = self.timeout_ms + LONGER_MS
        for record in records:
            if record["limit_ms"] > longest_ms:
                waited = self.waited_ms(record)
                assert waited <= longest_ms, f"a decision waited {waited:.0f} of {record['limit_ms']} ms for Redis: {record}"

    def _judge_open_breaker(self, records):
        opened = [stamp(line) for line in self.gateway.log_lines(AWAY)]
        closed = [stamp(line) for line in self.gateway.log_lines(BACKEND)]
        for first in opened:
            # With several workers the line comes with the first that loses it.
            begin = first + (0.001 if self.gateway.config["workers"] == 1 else 0.15)
            last = min((moment for moment in closed if moment > first), default=time.time())
            slow = []
            during = [record for record in records if begin < when(record) < last]
            for record in during:
                if record["limit_ms"] >= OPEN_P99_MS and self.waited_ms(record) >= OPEN_P99_MS:
                    slow.append(record)
            assert len(slow) <= len(during) // 100, f"{len(slow)} of {len(during)} waited with an open breaker: {slow[:3]}"

    def _judge_recovery(self, records):
        after = [record for record in records if when(record) >= self.well_since]
        shared = next(when(record) for record in after if record["mode"] == "redis")
        allowance = SHARED_AGAIN_S + self.starvation.of_all_between(self.well_since, shared)
        assert shared - self.well_since <= allowance, f"shared again after {shared - self.well_since:.2f} s"
        settled = [record for record in after if when(record) > shared + 0.2]
        odd = [record for record in settled if is_at_once(record, self.timeout_ms)]
        assert len(odd) <= len(settled) // 100, f"{len(odd)} of {len(settled)} not Redis's after its return: {odd[:3]}"

    def _judge_resources(self):
        process = self.gateway.process
        for client in self.gateway.clients:
            client.close()
        self.gateway.clients.clear()
        workers = self.gateway.config["workers"]  # each may have a connection to Redis that it did not have before

        def left_over():
            upstream = self.gateway.metrics().total("connections", side="upstream")
            return process.fd_count() - upstream - self.fds_before - workers

        assert until(lambda: left_over() <= 0), f"{left_over():.0f} descriptors are left over"
        growth = process.rss_bytes() - self.memory_before
        assert growth <= GROWTH_BYTES, f"{growth >> 10} KiB more than before"


def under_load(t, url, workers=1, clients=3, env=None, **options):
    upstream = t.upstream()
    gateway = t.gateway({**settings(url, **options), "workers": workers}, upstream, env=env or {})
    load = Load(gateway, upstream, clients)
    t.defer(load.stopping.set)
    t.defer(setattr, load.starvation, "stopping", True)
    return gateway, load


def when(record):
    """The moment at which a request began."""
    return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def in_ms(text):
    return int(text[:-2]) if text.endswith("ms") else int(text[:-1]) * 1000


def is_at_once(record, timeout_ms=TIMEOUT_MS):
    """The table decided, and no deadline had passed: neither a busy machine nor a slow Redis was the reason."""
    return record["mode"] == "fallback" and record["limit_ms"] < 0.9 * timeout_ms


def expect_redis(records):
    """Redis decided all through, but for the few whose deadline a busy machine let pass (Redis and the test's own
    threads wait for a CPU, too)."""
    local = [record for record in records if record["mode"] != "redis"]
    assert not [record for record in local if is_at_once(record)], f"decided by the table at once: {local[:3]}"
    assert len(local) <= len(records) // 20, f"{len(local)} of {len(records)} by the table: {local[:3]}"


def stamp(line):
    return datetime.datetime.fromisoformat(line.split(" ", 1)[0].replace("Z", "+00:00")).timestamp()


def modes(records):
    return {record["mode"] for record in records}


def spent(redis):
    return round(WIDE_LIMIT - float(redis.hash(WIDE_KEY)["tokens"])) if redis.keys(WIDE_KEY) else 0


def greeted(t, reply):
    """A gateway that came up with a sound store, which then answers so."""
    store = ScriptedRedis(sound)
    t.defer(store.close)
    gateway, load = under_load(t, store.url)
    load.settles()
    store.reply = reply
    return store, gateway, load


def sound(arguments):
    """What the script would say; anything else is fine."""
    if arguments[0] in (b"EVALSHA", b"EVAL"):
        return b"*2\r\n:%d\r\n:500\r\n" % (int(time.time() * 1000) * 4 + 1)
    return b":1\r\n" if arguments[0] == b"DEL" else b"+OK\r\n"

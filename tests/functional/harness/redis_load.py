# SPDX-License-Identifier: MIT
"""Clients that ask all the time while a test breaks Redis, and what has to hold whatever it breaks."""

import threading
import time

from harness.message import request
from harness.process import is_sanitized
from harness.redis_proxy import ScriptedRedis
from harness.wait import until

BACKEND = "INFO - Rate limiter using Redis backend"
AWAY = "WARNING - Redis unavailable, falling back to in-memory: "
# So long a window that what refills during a test is no token.
WIDE = {"anonymous": {"366d": 1_000_000}}
WIDE_KEY = "ratelimit:ip:127.0.0.1:31622400s"
# A decision waits at most redis.timeout (50 ms) and a tick. What this machine makes anybody wait comes on
# top, and is measured beside.
LONGEST_MS = 400 if is_sanitized() else 100


def settings(url, tiers=None, **redis):
    return {"allow": [], "tiers": tiers or WIDE, "redis": {"url": url, **redis}}


class Load:
    """A few clients that ask without pause until stop()."""

    def __init__(self, gateway, clients=3, pause=0.003):
        self.gateway, self.pause = gateway, pause
        self.statuses, self.errors = [], []
        self.stopping = threading.Event()
        self.hiccup_ms = 0.0
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]
        self.threads.append(threading.Thread(target=self._measure_hiccups))
        for thread in self.threads:
            thread.start()

    def _run(self):
        client = self.gateway.client(record=False, timeout=10.0)
        while not self.stopping.is_set():
            try:
                self.statuses.append(client.exchange(request("GET", "/")).status)
            except Exception as error:  # a failed request is what is looked for
                self.errors.append(repr(error))
                client = self.gateway.client(record=False, timeout=10.0)
            time.sleep(self.pause)

    def _measure_hiccups(self):
        """How much later than asked for a sleeper wakes up, at worst."""
        while not self.stopping.is_set():
            began = time.monotonic()
            time.sleep(0.002)
            self.hiccup_ms = max(self.hiccup_ms, (time.monotonic() - began) * 1000 - 2)

    def stop(self, longest_ms=LONGEST_MS):
        """Ends it, checks what has to hold in every fault, and gives the access log."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.errors, self.errors[:3]
        assert set(self.statuses) <= {200, 429}, set(self.statuses)
        records = self.gateway.wait_access(len(self.statuses))
        assert len(records) == len(self.statuses), "one decision for each request"
        assert all(record["decision"] in ("allowed", "denied") for record in records)
        slowest = max(record["limit_ms"] for record in records)
        bound = longest_ms + 2 * self.hiccup_ms
        assert slowest <= bound, f"a decision took {slowest} ms (the machine's hiccups: {self.hiccup_ms:.0f} ms)"
        return records


def under_load(t, url, seconds_before=0.3, **options):
    upstream = t.upstream()
    gateway = t.gateway(settings(url, **options), upstream)
    load = Load(gateway)
    t.defer(load.stopping.set)
    time.sleep(seconds_before)
    return gateway, load


def wait_mode(gateway, mode, seconds=2.0):
    """Until the newest decision was made so; how long it took."""
    began = time.monotonic()
    seen = len(gateway.access())

    def is_so():
        records = gateway.access()[seen:]
        return bool(records) and records[-1]["mode"] == mode

    assert until(is_so, seconds + (1.0 if not is_sanitized() else 5.0)), f"no {mode} within {seconds} s:\n{gateway.describe()}"
    return time.monotonic() - began


def modes(records):
    return {record["mode"] for record in records}


def expect_outage(gateway, reason, count=1):
    lines = gateway.wait_log(AWAY, count=count)
    assert len(lines) == count, lines
    assert lines[-1].split(AWAY)[1].startswith(reason), lines


def p99(records):
    values = sorted(record["limit_ms"] for record in records)
    return values[int(len(values) * 0.99)] if values else 0.0


def spent(redis):
    return round(1_000_000 - float(redis.hash(WIDE_KEY)["tokens"])) if redis.keys(WIDE_KEY) else 0


def greeted(t, reply):
    """A gateway that came up with a sound store, which then answers so."""
    store = ScriptedRedis(sound)
    t.defer(store.close)
    gateway, load = under_load(t, store.url)
    store.reply = reply
    return store, gateway, load


def sound(arguments):
    """What the script would say; anything else is fine."""
    if arguments[0] in (b"EVALSHA", b"EVAL"):
        return b"*3\r\n:1\r\n:%d\r\n:500\r\n" % int(time.time() * 1000)
    return b":1\r\n" if arguments[0] == b"DEL" else b"+OK\r\n"

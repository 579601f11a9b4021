# SPDX-License-Identifier: MIT
"""Everything that Redis may do to the gateway, under load: no request fails, waits or counts twice.

Each fault runs under a `Load`: clients that ask all the time. What has to hold in all of them: every
answer is a 200 or a 429, every request has one decision, none waits for Redis longer than 100 ms, and
within two seconds of Redis being well the decisions are Redis's again.
"""

import datetime
import json
import socket
import threading
import time
from pathlib import Path

from harness import cases, eventually, timeout, until
from harness.message import request
from harness.process import is_sanitized
from harness.redis_proxy import RedisProxy, ScriptedRedis, listen
from harness.tls import make_certificates

RUNS_LONG = True

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


# Absent, killed, stopped, started again.


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


def spent(redis):
    return round(1_000_000 - float(redis.hash(WIDE_KEY)["tokens"])) if redis.keys(WIDE_KEY) else 0


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


# Redis that is there and refuses.


@timeout(40)
def test_read_only(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.command("REPLICAOF", "127.0.0.1", "1")
    wait_mode(gateway, "fallback")
    expect_outage(gateway, "read only")
    time.sleep(0.5)
    redis.command("REPLICAOF", "NO", "ONE")
    wait_mode(gateway, "redis")
    load.stop()


@timeout(40)
def test_read_only_from_the_start(t):
    redis = t.redis()
    redis.command("REPLICAOF", "127.0.0.1", "1")
    gateway, load = under_load(t, redis.url)
    expect_outage(gateway, "read only")
    assert gateway.log_lines("(Redis: False)")
    redis.command("REPLICAOF", "NO", "ONE")
    wait_mode(gateway, "redis")
    load.stop()


@timeout(40)
def test_out_of_memory(t):
    redis = t.redis("--maxmemory-policy", "noeviction")
    gateway, load = under_load(t, redis.url)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    wait_mode(gateway, "fallback")
    expect_outage(gateway, "out of memory")
    time.sleep(0.5)
    redis.command("CONFIG", "SET", "maxmemory", "0")
    wait_mode(gateway, "redis")
    load.stop()


@timeout(40)
def test_denials_do_not_close_the_breaker_of_a_full_redis(t):
    redis = t.redis("--maxmemory-policy", "noeviction")
    gateway, upstream = t.pair(settings(redis.url, tiers={"anonymous": {"minute": 600}}))
    redis.command("CONFIG", "SET", "maxmemory", "1")
    for _ in range(8):
        assert gateway.get("/").status == 200
    expect_outage(gateway, "out of memory")
    time.sleep(1.0)
    assert not gateway.log_lines(BACKEND)[1:], "no recovery while it is full"


@timeout(40)
def test_busy_with_a_script(t):
    redis = t.redis("--lua-time-limit", "50")
    gateway, load = under_load(t, redis.url)
    thread = threading.Thread(target=lambda: run_quietly(redis, "EVAL", "while true do end", "0"))
    thread.start()
    wait_mode(gateway, "fallback")
    gateway.wait_log(AWAY)
    time.sleep(1.0)
    redis.command("SCRIPT", "KILL")
    thread.join()
    wait_mode(gateway, "redis")
    load.stop()
    assert gateway.log_lines(AWAY)[0].split(AWAY)[1].startswith(("socket_timeout", "busy"))


def run_quietly(redis, *command):
    try:
        redis.command(*command)
    except (RuntimeError, OSError):
        pass


ERRORS = {
    "LOADING": (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
    "BUSY": (b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL.\r\n", "busy"),
    "MISCONF": (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "read only"),
    "NOREPLICAS": (b"-NOREPLICAS Not enough good replicas to write.\r\n", "read only"),
    "NOPERM": (b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n", "authentication failed"),
    "NOAUTH": (b"-NOAUTH Authentication required.\r\n", "authentication failed"),
    "MOVED": (b"-MOVED 3999 127.0.0.1:6381\r\n", "bad reply"),
    "OOM": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out of memory"),
    "READONLY": (b"-READONLY You can't write against a read only replica.\r\n", "read only"),
}
SHAPES = {
    "nil": b"$-1\r\n",
    "status": b"+OK\r\n",
    "integer": b":1\r\n",
    "text": b"$5\r\nhello\r\n",
    "empty array": b"*0\r\n",
    "null array": b"*-1\r\n",
    "too few": b"*2\r\n:1\r\n:1700000000000\r\n",
    "too many": b"*9\r\n" + b":1\r\n" * 9,
    "strings": b"*3\r\n$1\r\n1\r\n$13\r\n1700000000000\r\n$1\r\n5\r\n",
    "nested": b"*3\r\n:1\r\n*1\r\n:1\r\n:5\r\n",
    "level too high": b"*3\r\n:1\r\n:1700000000000\r\n:9000000000000000000\r\n",
    "negative time": b"*3\r\n:1\r\n:-5\r\n:5\r\n",
    "word out of range": b"*3\r\n:7\r\n:1700000000000\r\n:5\r\n",
    "denied and full": b"*3\r\n:0\r\n:1700000000000\r\n:1000000\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": b"\x00\xff\x7f\r\n",
    "huge array": b"*2000000000\r\n",
    "huge string": b"$500000000\r\n",
    "two for one": b"+OK\r\n+OK\r\n",
    "half": b"*3\r\n:1\r\n",
    "push": b">2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n",
}


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


@timeout(30)
@cases({name: pair for name, pair in ERRORS.items()})
def test_error_reply(t, reply, reason):
    store, gateway, load = greeted(t, reply)
    wait_mode(gateway, "fallback")
    expect_outage(gateway, reason)
    time.sleep(0.4)
    mark = len(gateway.access())
    store.reply = sound
    wait_mode(gateway, "redis")
    assert p99(load.stop()[:mark]) <= LONGEST_MS
    assert gateway.metrics().total("redis_errors_total", reason=reason) >= 1
    assert gateway.metrics().total("redis_commands_total") > 0


@timeout(30)
@cases(SHAPES)
def test_reply_of_a_wrong_shape(t, reply):
    store, gateway, load = greeted(t, reply)
    wait_mode(gateway, "fallback")
    gateway.wait_log(AWAY)
    time.sleep(0.3)
    assert len(store.accepted) <= 2 + 10 * 2, "ten reconnects a second at most"
    store.reply = sound
    wait_mode(gateway, "redis")
    load.stop()


GREETINGS = {
    "NOAUTH": (b"-NOAUTH Authentication required.\r\n", "authentication failed"),
    "WRONGPASS": (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "authentication failed"),
    "LOADING": (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
    "MAXCLIENTS": (b"-ERR max number of clients reached\r\n", "connection refused"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n", "bad reply"),
    "wrong shape": (b":1\r\n", "bad reply"),
}


@timeout(30)
@cases({name: pair for name, pair in GREETINGS.items()})
def test_greeting_refused(t, greeting, reason):
    store = ScriptedRedis(sound, greeting)
    t.defer(store.close)
    gateway, load = under_load(t, store.url)
    expect_outage(gateway, reason)
    assert gateway.log_lines("(Redis: False)")
    time.sleep(1.0)
    assert len(store.accepted) <= 1 + 15, "ten reconnects a second at most"
    store.greeting = None
    wait_mode(gateway, "redis")
    load.stop()


def test_wrong_password_is_not_shown(t):
    redis = t.redis("--requirepass", "right-one")
    gateway, load = under_load(t, f"redis://:S3CRET@127.0.0.1:{redis.port}")
    expect_outage(gateway, "authentication failed")
    load.stop()
    assert "S3CRET" not in gateway.stderr()


def test_password_user_and_database(t):
    redis = t.redis("--requirepass", "p@ss/word")
    gateway, load = under_load(t, f"redis://default:p%40ss%2Fword@127.0.0.1:{redis.port}/3")
    assert modes(load.stop()) == {"redis"}
    assert "p@ss/word" not in gateway.stderr() and "p%40ss" not in gateway.stderr()


@timeout(40)
def test_max_clients(t):
    redis = t.redis()
    redis.command("CONFIG", "SET", "maxclients", "1")
    held = socket.create_connection(("127.0.0.1", redis.port))
    t.defer(held.close)
    held.sendall(b"PING\r\n")
    assert held.recv(100) == b"+PONG\r\n"
    gateway, load = under_load(t, redis.url)
    expect_outage(gateway, "connection refused")
    held.sendall(b"CONFIG SET maxclients 100\r\n")
    wait_mode(gateway, "redis")
    load.stop()


WRONG_KEYS = {
    "a string": ("SET", "x"),
    "a list": ("RPUSH", "x"),
    "not a number": ("HSET", "tokens", "abc", "last_refill", "1"),
    "nan": ("HSET", "tokens", "nan", "last_refill", "1"),
    "hexadecimal": ("HSET", "tokens", "0x10", "last_refill", "1"),
    "infinite": ("HSET", "tokens", "inf", "last_refill", "1"),
    "half of it": ("HSET", "tokens", "5"),
}


@cases({**{name: (values, "local") for name, values in WRONG_KEYS.items()},
        "a string, on_failure deny": (WRONG_KEYS["a string"], "deny")})
def test_one_key_that_is_not_ours(t, values, on_failure):
    redis = t.redis()
    redis.command(values[0], "ratelimit:ip:127.0.0.1:hour", *values[1:])
    tiers = {"anonymous": {"minute": 100, "hour": 5}, "free": {"minute": 100, "hour": 5}}
    config = settings(redis.url, tiers=tiers, on_failure=on_failure)
    config["client_ip"] = {"trusted_proxies": ["127.0.0.1"]}
    gateway, upstream = t.pair(config)
    answers = [gateway.get("/").status for _ in range(7)]
    assert answers == [200] * 5 + [429] * 2, answers
    other = gateway.get("/", [("X-Forwarded-For", "192.0.2.7")])
    assert other.status == 200
    records = gateway.wait_access(8)
    assert modes(records[:5]) == {"fallback"} and records[7]["mode"] == "redis", records
    assert not redis.keys("ratelimit:ip:127.0.0.1:minute"), "all or nothing"
    assert not gateway.log_lines(AWAY)


# The path between.


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
        deadline = struct.unpack_from("<d", numbers)[0]
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


# Failover without a gift.


@timeout(60)
def test_an_outage_starts_from_the_last_known_level(t):
    redis = t.redis()
    gateway, upstream = t.pair(settings(redis.url, tiers={"anonymous": {"day": 10}}))
    assert [gateway.get("/").status for _ in range(4)] == [200] * 4
    redis.command("SAVE")
    redis.kill()
    statuses = [gateway.get("/").status for _ in range(10)]
    assert statuses == [200] * 6 + [429] * 4, statuses
    redis.start()
    gateway.wait_log(BACKEND, count=2, seconds=5)
    eventually(lambda: float(redis.hash("ratelimit:ip:127.0.0.1:day")["tokens"]) < 0.5,
               lambda: f"not charged: {redis.hash('ratelimit:ip:127.0.0.1:day')}")
    time.sleep(1.1)  # the memory of denials
    assert [gateway.get("/").status for _ in range(3)] == [429] * 3


@timeout(90)
@cases({"one": (1, "auto"), "two": (2, "auto"), "four": (4, "auto"), "four in thirds": (4, "1/3"),
        "four without a share": (4, 1)})
def test_the_bound_over_an_outage(t, count, share):
    """The README's: n gateways grant at most C + n x ceil(C / s) over an outage, s of fallback_share."""
    redis = t.redis()
    upstream = t.upstream()
    config = settings(redis.url, tiers={"anonymous": {"day": 40}}, fallback_share=share)
    gateways = [t.gateway(config, upstream) for _ in range(count)]
    parts = {"auto": count, "1/3": 3, 1: 1}[share]
    has_heartbeats = share == "auto"
    if has_heartbeats:
        eventually(lambda: redis.command("ZCARD", "ratelimit:instances") == count, "no heartbeats")
        time.sleep(2.5)  # each has counted the others
    for gateway in gateways:
        assert gateway.get("/").status == 200
    redis.command("SAVE")
    redis.kill()
    admitted = count
    share = -(-40 // parts)
    for gateway in gateways:
        statuses = [gateway.get("/").status for _ in range(60)]
        assert statuses.count(200) <= share, (statuses.count(200), share)
        admitted += statuses.count(200)
    redis.start()
    for gateway in gateways:
        gateway.wait_log(BACKEND, count=2, seconds=6)
    time.sleep(1.3)
    for gateway in gateways:
        admitted += sum(gateway.get("/").status == 200 for _ in range(20))
    assert admitted <= 40 + count * share, admitted
    assert (redis.command("TTL", "ratelimit:instances") > 0) == has_heartbeats, "heartbeats with auto only"


@timeout(60)
@cases({"window": "window", "identity": "identity"})
def test_each_window_is_charged_what_it_lacks(t, layout):
    """What a short window has got back meanwhile is not charged to it; the long one owes all of it."""
    redis = t.redis()
    tiers = {"anonymous": {"second": 5, "366d": 100}}
    gateway, upstream = t.pair(settings(redis.url, tiers=tiers, layout=layout))
    assert [gateway.get("/").status for _ in range(3)] == [200] * 3
    redis.command("SAVE")
    redis.kill()
    for _ in range(4):
        time.sleep(0.7)
        assert [gateway.get("/").status for _ in range(3)] == [200] * 3
    redis.start()
    gateway.wait_log(BACKEND, count=2, seconds=5)

    def left(window):
        if layout == "window":
            return float(redis.hash(f"ratelimit:ip:127.0.0.1:{window}")["tokens"])
        return float(redis.hash("ratelimit:{ip:127.0.0.1}")[f"{window}:tokens"])

    eventually(lambda: round(left("31622400s")) == 85, lambda: f"{left('31622400s')} left")
    time.sleep(1.1)  # had it been charged all twelve, it would still be empty
    answer = gateway.get("/")
    assert answer.status == 200 and 'second";r=4' in answer.one("ratelimit"), answer
    assert gateway.wait_access(16)[-1]["mode"] == "redis"


@timeout(40)
def test_share_holds_the_dearest_request(t):
    redis = t.redis()
    config = settings(redis.url, tiers={"anonymous": {"366d": 10}}, fallback_share="1/10")
    config["routes"] = [{"path": "/dear", "cost": 4}]
    gateway, upstream = t.pair(config)
    redis.kill()
    assert gateway.get("/dear").status == 200
    assert gateway.get("/dear").status == 429


@timeout(60)
@cases({"local": ("local", 200), "allow": ("allow", 200), "deny": ("deny", 503)})
def test_on_failure(t, word, status):
    redis = t.redis()
    redis.kill()
    gateway, upstream = t.pair(settings(redis.url, on_failure=word))
    answer = gateway.get("/", [("Accept", "application/problem+json")])
    assert answer.status == status, answer
    if word == "deny":
        assert json.loads(answer.body)["type"].endswith("#temporary-reduced-capacity"), answer
        assert answer.one("retry-after") == "1"
    assert answer.has("x-ratelimit-limit") == (word == "local")
    decision = "denied" if word == "deny" else "allowed"
    record = gateway.last_access(decision=decision)
    assert record["mode"] == "fallback", record
    assert gateway.metrics().total("decisions_total", decision=decision, mode="fallback") == 1


# What Redis is asked.


@timeout(60)
def test_denials_are_remembered(t):
    redis = t.redis()
    gateway, upstream = t.pair(settings(redis.url, tiers={"anonymous": {"day": 10}}))
    client = gateway.client(record=False)
    before = redis.command("INFO", "commandstats")
    statuses = [client.exchange(request("GET", "/")).status for _ in range(2000)]
    assert statuses.count(200) == 10
    calls = calls_of(redis, "evalsha") - calls_in(before, "evalsha")
    assert calls < 30, f"{calls} commands for 1990 denials"
    assert modes(gateway.wait_access(2000)[50:]) <= {"cached", "redis"}


def calls_in(info, command):
    for line in info.splitlines():
        if line.startswith(f"cmdstat_{command}:calls="):
            return int(line.split("=")[1].split(",")[0])
    return 0


def calls_of(redis, command):
    return calls_in(redis.command("INFO", "commandstats"), command)


def test_one_command_a_decision(t):
    redis = t.redis()
    tiers = {"anonymous": {"minute": 100, "hour": 1000, "day": 5000}}
    gateway, upstream = t.pair(settings(redis.url, tiers=tiers))
    before = {word: calls_of(redis, word) for word in ("evalsha", "eval", "hset", "hmget")}
    for _ in range(20):
        assert gateway.get("/").status == 200
    assert calls_of(redis, "evalsha") - before["evalsha"] == 20
    assert calls_of(redis, "eval") == before["eval"]


def test_denial_by_one_window_leaves_the_others_alone(t):
    redis = t.redis()
    tiers = {"anonymous": {"minute": 5, "hour": 6, "day": 7}}
    gateway, upstream = t.pair(settings(redis.url, tiers=tiers))
    assert [gateway.get("/").status for _ in range(12)] == [200] * 5 + [429] * 7
    left = {window: float(redis.hash(f"ratelimit:ip:127.0.0.1:{window}")["tokens"]) for window in ("minute", "hour", "day")}
    assert left["hour"] < 1.1 and left["day"] < 2.1 and left["hour"] > 0.9 and left["day"] > 1.9, left


@timeout(90)
def test_four_gateways_on_one_bucket(t):
    redis = t.redis()
    upstream = t.upstream()
    config = settings(redis.url, tiers={"anonymous": {"day": 50}})
    gateways = [t.gateway(config, upstream) for _ in range(4)]
    statuses, lock = [], threading.Lock()

    def ask(gateway):
        client = gateway.client(record=False)
        for _ in range(8):
            status = client.exchange(request("GET", "/")).status
            with lock:
                statuses.append(status)

    threads = [threading.Thread(target=ask, args=(gateways[i % 4],)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 400 and statuses.count(200) == 50, statuses.count(200)
    fallback = [record for gateway in gateways for record in gateway.access() if record["mode"] == "fallback"]
    assert not fallback, "a loaded machine made Redis late; the count above still has to hold"


# Other ways to it.


@timeout(40)
def test_unix_socket(t):
    path = t.directory / "redis.sock"
    redis = t.redis("--unixsocket", path)
    gateway, load = under_load(t, f"unix://{path}")
    assert modes(load.stop()) == {"redis"}


TLS_CASES = {
    "right": ("localhost", {}, None),
    "by address": ("127.0.0.1", {}, None),
    "unknown authority": ("localhost", {"ca_file": ""}, "connection closed"),
    "another name": ("localhost", {"server_name": "example.com"}, "connection closed"),
}


@timeout(40)
@cases(TLS_CASES)
def test_tls(t, host, changes, reason):
    ca, cert, key = make_certificates(t.directory)
    options = ["--tls-port", "0", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca]
    redis = t.redis(*options)
    port = free_tls_port(redis)
    if not port:
        t.skip("this redis-server has no TLS")
    tls = {"ca_file": str(ca), "cert_file": str(cert), "key_file": str(key), **changes}
    gateway, load = under_load(t, f"rediss://{host}:{port}", tls=tls, connect_timeout="4s", timeout="200ms")
    if reason is None:
        assert modes(load.stop(longest_ms=1000)) == {"redis"}, gateway.describe()
    else:
        expect_outage(gateway, reason)
        load.stop(longest_ms=1000)


def free_tls_port(redis):
    from harness.process import free_port

    port = free_port()
    try:
        redis.command("CONFIG", "SET", "tls-port", port)
    except RuntimeError:
        return None
    return port


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

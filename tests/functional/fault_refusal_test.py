# SPDX-License-Identifier: MIT
"""Redis that is there and refuses, or answers nonsense, under load; judged by `Load.stop`."""

import socket
import threading
import time

from harness import cases, eventually, timeout
from harness.redis import decode, encode
from harness.redis_load import AWAY, BACKEND, UNHURRIED, expect_redis, greeted, modes, settings, sound, under_load
from harness.redis_proxy import ScriptedRedis
from harness.wire import Wire

RUNS_LONG = True


@timeout(40)
def test_read_only(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.command("REPLICAOF", "127.0.0.1", "1")
    load.loses("read only")
    time.sleep(0.5)
    redis.command("REPLICAOF", "NO", "ONE")
    load.finds()
    load.stop(books=redis)


@timeout(40)
def test_read_only_from_the_start(t):
    redis = t.redis()
    redis.command("REPLICAOF", "127.0.0.1", "1")
    gateway, load = under_load(t, redis.url)
    load.loses("read only")
    assert gateway.log_lines("(Redis: False)")
    redis.command("REPLICAOF", "NO", "ONE")
    load.finds()
    load.stop()


@timeout(40)
def test_out_of_memory(t):
    redis = t.redis("--maxmemory-policy", "noeviction")
    gateway, load = under_load(t, redis.url)
    redis.command("CONFIG", "SET", "maxmemory", "1")
    load.loses("out of memory")
    time.sleep(0.5)
    redis.command("CONFIG", "SET", "maxmemory", "0")
    load.finds()
    load.stop(books=redis)


@timeout(40)
def test_denials_do_not_close_the_breaker_of_a_full_redis(t):
    redis = t.redis("--maxmemory-policy", "noeviction")
    gateway, upstream = t.pair(settings(redis.url, tiers={"anonymous": {"minute": 600}}, timeout=UNHURRIED))
    redis.command("CONFIG", "SET", "maxmemory", "1")
    for _ in range(8):
        assert gateway.get("/").status == 200
    assert len(gateway.wait_log(AWAY + "out of memory")) == 1
    time.sleep(1.0)
    assert not gateway.log_lines(BACKEND)[1:], "no recovery while it is full"


@timeout(40)
def test_busy_with_a_script(t):
    redis = t.redis("--lua-time-limit", "50")
    gateway, load = under_load(t, redis.url)
    thread = threading.Thread(target=lambda: run_quietly(redis, "EVAL", "while true do end", "0"))
    thread.start()
    load.loses()
    time.sleep(1.0)
    redis.command("SCRIPT", "KILL")
    thread.join()
    load.finds()
    load.stop(books=redis)
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
    "too few": b"*1\r\n:6800000000001\r\n",
    "too many": b"*9\r\n" + b":1\r\n" * 9,
    "strings": b"*2\r\n$13\r\n6800000000001\r\n$1\r\n5\r\n",
    "nested": b"*2\r\n*1\r\n:6800000000001\r\n:5\r\n",
    "level too high": b"*2\r\n:6800000000001\r\n:9000000000000000000\r\n",
    "negative time": b"*2\r\n:-7\r\n:5\r\n",
    "time out of range": b"*2\r\n:9007199254740993\r\n:5\r\n",
    "denied and full": b"*2\r\n:6800000000000\r\n:1000000\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": b"\x00\xff\x7f\r\n",
    "huge array": b"*2000000000\r\n",
    "huge string": b"$500000000\r\n",
    "two for one": b"+OK\r\n+OK\r\n",
    "half": b"*2\r\n:6800000000001\r\n",
    "push": b">2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n",
}


@timeout(30)
@cases({name: pair for name, pair in ERRORS.items()})
def test_error_reply(t, reply, reason):
    store, gateway, load = greeted(t, reply)
    load.loses(reason)
    time.sleep(0.4)
    store.reply = sound
    load.finds()
    load.stop()
    assert gateway.metrics().total("redis_errors_total", reason=reason) >= 1
    assert gateway.metrics().total("redis_commands_total") > 0


@timeout(30)
@cases(SHAPES)
def test_reply_of_a_wrong_shape(t, reply):
    store, gateway, load = greeted(t, reply)
    load.loses()
    time.sleep(0.3)
    assert len(store.accepted) <= 2 + 10 * 2, "ten reconnects a second at most"
    store.reply = sound
    load.finds()
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
    load.loses(reason)
    assert gateway.log_lines("(Redis: False)")
    time.sleep(1.0)
    assert len(store.accepted) <= 1 + 15, "ten reconnects a second at most"
    store.greeting = None
    load.finds()
    load.stop()


@timeout(30)
@cases({"SELECT": "redis://127.0.0.1:{}/1", "AUTH": "redis://:secret@127.0.0.1:{}"})
def test_greeting_not_understood(t, url):
    """No error, and no OK either: nobody knows whose database this is."""
    store = ScriptedRedis(sound)
    t.defer(store.close)
    answer = store._answer
    store._answer = lambda arguments: b"*0\r\n" if arguments[0] in (b"SELECT", b"AUTH") else answer(arguments)
    gateway, load = under_load(t, url.format(store.port))
    load.loses("bad reply: to ")
    assert gateway.log_lines("(Redis: False)")
    store._answer = answer
    load.finds()
    load.stop()


@timeout(30)
def test_wrong_password_until_it_is_right(t):
    redis = t.redis()
    master = Master(t, redis)
    master.command("CONFIG", "SET", "requirepass", "another")
    gateway, load = under_load(t, f"redis://:S3CRET@127.0.0.1:{redis.port}")
    load.loses("authentication failed")
    master.command("CONFIG", "SET", "requirepass", "S3CRET")
    load.finds()
    load.stop()
    assert "S3CRET" not in gateway.stderr()


@timeout(30)
def test_password_that_is_asked_for_suddenly(t):
    redis = t.redis()
    master = Master(t, redis)
    gateway, load = under_load(t, redis.url)
    master.command("CONFIG", "SET", "requirepass", "new-one")
    master.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # whoever is connected stays authenticated
    load.loses("authentication failed")
    time.sleep(0.5)
    master.command("CONFIG", "SET", "requirepass", "")
    load.finds()
    load.stop(books=redis, twice_at_most=3)


class Master:
    """A connection that was let in before Redis let nobody in."""

    def __init__(self, t, redis):
        self.wire = Wire(socket.create_connection(("127.0.0.1", redis.port)))
        t.defer(self.wire.close)

    def command(self, *arguments):
        self.wire.send(encode(arguments))
        return decode(self.wire)


@timeout(40)
def test_loading_its_data(t):
    redis = t.redis()
    gateway, load = under_load(t, redis.url)
    redis.command("EVAL", "for i = 1, 2000 do redis.call('SET', 'filler:' .. i, 'x') end", "0")
    redis.command("SAVE")
    redis.kill()
    load.loses("connection")
    options = redis.options
    # Half a millisecond for each key, and an answer to others after each KiB: a second of -LOADING.
    redis.options = (*options, "--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")
    redis.start()
    eventually(lambda: gateway.metrics().total("redis_errors_total", reason="loading"), "it was not seen loading")
    eventually(lambda: "\nloading:0" in redis.command("INFO", "persistence"), "still loading")  # not async_loading:0
    load.finds()
    load.stop()


def test_password_user_and_database(t):
    redis = t.redis("--requirepass", "p@ss/word")
    gateway, load = under_load(t, f"redis://default:p%40ss%2Fword@127.0.0.1:{redis.port}/3")
    expect_redis(load.stop())
    assert "p@ss/word" not in gateway.stderr() and "p%40ss" not in gateway.stderr()


@timeout(40)
@cases({"at the start": True, "later": False})
def test_max_clients(t, at_the_start):
    redis = t.redis()
    master = Master(t, redis)
    if at_the_start:
        master.command("CONFIG", "SET", "maxclients", "1")
    gateway, load = under_load(t, redis.url)
    if not at_the_start:
        master.command("CONFIG", "SET", "maxclients", "1")
        master.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    load.loses("connection refused")
    time.sleep(0.5)
    master.command("CONFIG", "SET", "maxclients", "100")
    load.finds()
    load.stop(books=redis, twice_at_most=3)


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
    config = settings(redis.url, tiers=tiers, on_failure=on_failure, timeout=UNHURRIED)
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

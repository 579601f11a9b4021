# SPDX-License-Identifier: MIT
"""What Redis is asked, and the ways to it: a socket, TLS."""

import threading
import time

from harness import cases, timeout
from harness.message import request
from harness.process import free_port
from harness.redis_load import UNHURRIED, expect_redis, modes, settings, under_load
from harness.tls import make_certificates

RUNS_LONG = True


@timeout(60)
def test_denials_are_remembered(t):
    redis = t.redis()
    gateway, upstream = t.pair(settings(redis.url, tiers={"anonymous": {"day": 10}}, timeout=UNHURRIED))
    client = gateway.client(record=False)
    before = redis.command("INFO", "commandstats")
    began = time.monotonic()
    statuses = [client.exchange(request("GET", "/")).status for _ in range(2000)]
    seconds = time.monotonic() - began
    assert statuses.count(200) == 10
    calls = calls_of(redis, "evalsha") - calls_in(before, "evalsha")
    assert calls <= 10 + 2 + seconds, f"{calls} commands for 1990 denials in {seconds:.1f} s"  # one a second
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
    gateway, upstream = t.pair(settings(redis.url, tiers=tiers, timeout=UNHURRIED))
    before = {word: calls_of(redis, word) for word in ("evalsha", "eval", "hset", "hmget")}
    for _ in range(20):
        assert gateway.get("/").status == 200
    assert calls_of(redis, "evalsha") - before["evalsha"] == 20
    assert calls_of(redis, "eval") == before["eval"]


def test_denial_by_one_window_leaves_the_others_alone(t):
    redis = t.redis()
    tiers = {"anonymous": {"minute": 5, "hour": 6, "day": 7}}
    gateway, upstream = t.pair(settings(redis.url, tiers=tiers, timeout=UNHURRIED))
    assert [gateway.get("/").status for _ in range(12)] == [200] * 5 + [429] * 7
    left = {window: float(redis.hash(f"ratelimit:ip:127.0.0.1:{window}")["tokens"]) for window in ("minute", "hour", "day")}
    assert left["hour"] < 1.1 and left["day"] < 2.1 and left["hour"] > 0.9 and left["day"] > 1.9, left


@timeout(90)
def test_four_gateways_on_one_bucket(t):
    redis = t.redis()
    upstream = t.upstream()
    # One bucket, and no outage: 50 clients on a busy machine may well make each other wait.
    config = settings(redis.url, tiers={"anonymous": {"day": 50}}, timeout=UNHURRIED)
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
    assert not fallback, fallback[:3]


# Other ways to it.


@timeout(40)
def test_unix_socket(t):
    path = t.directory / "redis.sock"
    redis = t.redis("--unixsocket", path)
    gateway, load = under_load(t, f"unix://{path}")
    expect_redis(load.stop())


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
    port = free_port()
    t.redis("--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca)
    tls = {"ca_file": str(ca), "cert_file": str(cert), "key_file": str(key), **changes}
    gateway, load = under_load(t, f"rediss://{host}:{port}", tls=tls, connect_timeout="4s")
    if reason is None:
        assert modes(load.stop()) == {"redis"}, gateway.describe()
    else:
        load.loses(reason)
        load.stop()



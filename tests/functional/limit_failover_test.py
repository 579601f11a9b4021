# SPDX-License-Identifier: MIT
"""Failover without a gift: what an outage grants, and what is charged for it afterwards."""

import json
import time

from harness import cases, eventually, timeout
from harness.redis_load import BACKEND, UNHURRIED, settings

RUNS_LONG = True


@timeout(60)
def test_an_outage_starts_from_the_last_known_level(t):
    redis = t.redis()
    gateway, upstream = t.pair(settings(redis.url, timeout=UNHURRIED, tiers={"anonymous": {"day": 10}}))
    assert [gateway.get("/").status for _ in range(4)] == [200] * 4
    redis.command("SAVE")
    redis.kill()
    statuses = [gateway.get("/").status for _ in range(10)]
    assert statuses == [200] * 6 + [429] * 4, statuses
    redis.start()
    gateway.wait_log(BACKEND, count=2)
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
    config = settings(redis.url, timeout=UNHURRIED, tiers={"anonymous": {"day": 40}}, fallback_share=share)
    gateways = [t.gateway(config, upstream) for _ in range(count)]
    parts = {"auto": count, "1/3": 3, 1: 1}[share]
    has_heartbeats = share == "auto"
    if has_heartbeats:
        eventually(lambda: redis.command("ZCARD", "ratelimit:instances") == count, "no heartbeats")
        score = lambda: dict(zip(*[iter(redis.command("ZRANGE", "ratelimit:instances", 0, -1, "WITHSCORES"))] * 2))
        first = score()
        eventually(lambda: all(float(beat) > float(first[name]) for name, beat in score().items()), "no second heartbeat")
        for gateway in gateways:
            gateway.process.wait_at_rest()  # each has counted the others
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
        gateway.wait_log(BACKEND, count=2)
    time.sleep(1.3)
    for gateway in gateways:
        admitted += sum(gateway.get("/").status == 200 for _ in range(20))
    assert admitted <= 40 + count * share, admitted
    assert (redis.command("TTL", "ratelimit:instances") > 0) == has_heartbeats, "heartbeats with auto only"


@timeout(40)
@cases({"one worker": 1, "two": 2})
def test_an_instance_that_ends_is_not_counted_any_more(t, workers):
    redis = t.redis()
    upstream = t.upstream()
    config = {**settings(redis.url, timeout=UNHURRIED, fallback_share="auto"), "workers": workers}
    gateways = [t.gateway(config, upstream) for _ in range(2)]
    count = lambda: redis.command("ZCARD", "ratelimit:instances")
    eventually(lambda: count() == 2, lambda: f"{count()} heartbeats")
    assert not gateways[0].stop()
    assert count() == 1, "its heartbeat outlives it"
    time.sleep(2.2)  # the other has beaten meanwhile, and only the other
    assert count() == 1


@timeout(60)
@cases({"window": "window", "identity": "identity"})
def test_each_window_is_charged_what_it_lacks(t, layout):
    """What a short window has got back meanwhile is not charged to it; the long one owes all of it."""
    redis = t.redis()
    tiers = {"anonymous": {"second": 5, "366d": 100}}
    gateway, upstream = t.pair(settings(redis.url, timeout=UNHURRIED, tiers=tiers, layout=layout))
    assert [gateway.get("/").status for _ in range(3)] == [200] * 3
    redis.command("SAVE")
    redis.kill()
    for _ in range(4):
        time.sleep(0.7)
        assert [gateway.get("/").status for _ in range(3)] == [200] * 3
    redis.start()
    gateway.wait_log(BACKEND, count=2)

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
    config = settings(redis.url, timeout=UNHURRIED, tiers={"anonymous": {"366d": 10}}, fallback_share="1/10")
    config["routes"] = [{"path": "/dear", "cost": 4}]
    gateway, upstream = t.pair(config)
    redis.kill()
    assert gateway.get("/dear").status == 200
    assert gateway.get("/dear").status == 429


@timeout(60)
@cases({"window": ("window",), "identity": ("identity",)})
def test_a_reset_while_redis_is_away(t, layout):
    """It is answered for the table at once and done in Redis afterwards; what was spent since is charged, what before is not."""
    redis = t.redis("--appendonly", "yes", "--appendfsync", "no")  # written before the answer: a kill loses nothing of it
    config = settings(redis.url, timeout=UNHURRIED, tiers={"anonymous": {"day": 10}}, layout=layout)
    config["routes"] = [{"name": "own", "path": "/own", "tiers": {"anonymous": {"day": 5}}}]
    gateway, upstream = t.pair({**config, "workers": 1})
    assert [gateway.get(target).status for target in ("/", "/", "/", "/own")] == [200] * 4
    redis.kill()
    assert [gateway.get("/").status for _ in range(8)] == [200] * 7 + [429]
    answer = gateway.admin("/api/buckets/ip:127.0.0.1", "DELETE")
    assert answer.status == 200 and json.loads(answer.body)["deleted"] == 2, answer
    assert [gateway.get("/").one("x-ratelimit-remaining") for _ in range(2)] == ["9", "8"]
    redis.start()
    gateway.wait_log(BACKEND, count=2)
    key, field = ("ratelimit:ip:127.0.0.1:day", "tokens") if layout == "window" else ("ratelimit:{ip:127.0.0.1}", "day:tokens")
    eventually(lambda: round(float(redis.hash(key).get(field, 10))) == 8, lambda: f"{redis.hash(key)}")
    assert [name for name in redis.keys() if "probe" not in name] == [key], "the route's bucket is still there"
    assert gateway.get("/").one("x-ratelimit-remaining") == "7"
    assert gateway.get("/own").one("x-ratelimit-remaining") == "4"


@timeout(60)
@cases({"local": ("local", 200), "allow": ("allow", 200), "deny": ("deny", 503)})
def test_on_failure(t, word, status):
    redis = t.redis()
    redis.kill()
    gateway, upstream = t.pair(settings(redis.url, timeout=UNHURRIED, on_failure=word))
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

# SPDX-License-Identifier: MIT
"""What stands in Redis: every decision against a model in fractions, texts of any shape, other writers, limits that change."""

import hashlib
import json
import random
import time

from harness import cases, timeout
from harness.bucket_model import Outcome, Window
from harness.message import request
from harness.redis_load import UNHURRIED

RUNS_LONG = True

LAYOUTS = {"window": ("window",), "identity": ("identity",)}
MINUTE = Window(60, 10)
HOUR = Window(3600, 100)
POLICIES = {
    "three": [Window(60, 5), Window(3600, 6), Window(86400, 7)],
    "odd": [Window(1, 3), Window(10, 7), Window(300, 13), Window(366 * 86400, 999)],
    "bursts": [Window(60, 7, 20), Window(90, 11), Window(3600, 100, 30)],
    "slow": [Window(86400, 1, 3), Window(366 * 86400, 1, 3)],
    "large": [Window(1, 10**12), Window(86400, 31536000000)],
    "alike": [Window(60, 10), Window(3600, 10), Window(86400, 10)],
}
COSTS = (1, 2, 3)


def tier_of(windows):
    return {name: value for window in windows for name, value in window.setting.items()}


def started(t, redis, layout="window", tiers=None, **more):
    tiers = tiers or {"anonymous": tier_of([MINUTE, HOUR]), "pro": tier_of([Window(60, 100), Window(3600, 1000)])}
    config = {
        "allow": [],
        "redis": {"url": redis.url, "layout": layout, "timeout": UNHURRIED},
        "tiers": tiers,
        "client_ip": {"trusted_proxies": ["loopback"]},
        "identity": {"header": {"user": "X-User", "tier": "X-Tier"}},
        "routes": [{"path": f"/cost-{cost}", "cost": cost} for cost in COSTS if cost > 1],
        **more,
    }
    gateway, _ = t.pair(config)
    return gateway


def now_of(redis):
    seconds, micros = redis.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def text_of(ms):
    return "%.3f" % (ms / 1000)


def key_of(layout, user, window):
    return f"ratelimit:user:{user}:{window.name}" if layout == "window" else f"ratelimit:{{user:{user}}}"


def store(redis, layout, user, window, fields):
    prefix = "" if layout == "window" else f"{window.name}:"
    if fields:
        redis.command("HSET", key_of(layout, user, window), *[part for name, text in fields.items() for part in (prefix + name, text)])


def stored(redis, layout, user, window):
    fields = redis.hash(key_of(layout, user, window))
    if layout == "window":
        return fields
    prefix = f"{window.name}:"
    return {name[len(prefix):]: text for name, text in fields.items() if name.startswith(prefix)}


def ask(gateway, user, tier="", target="/"):
    return gateway.get(target, [("X-User", user), *([("X-Tier", tier)] if tier else [])])


def some_state(rng, window, cost, now):
    kind = rng.random()
    if kind < 0.25:
        return {}
    edge = cost * window.units
    level = rng.choice([rng.randrange(window.capacity + 1), edge - 1, edge, edge - window.speed, -rng.randrange(window.capacity + 1)])
    age = rng.choice([0, 1, rng.randrange(2000), rng.randrange(2 * window.period_ms), -rng.randrange(1, window.period_ms), -window.period_ms - 100000])
    fields = {"tokens": "%.17g" % (level / window.units), "last_refill": text_of(now - age)}
    if kind > 0.4:
        fields["capacity"] = str(rng.choice([window.burst, window.burst, window.burst + 3, max(1, window.burst // 2)]))
    return fields


@cases(LAYOUTS)
@timeout(120)
def test_every_decision_is_the_models(t, layout):
    """Levels at the edge of what suffices, times ahead and long past, capacities that have changed: the answer, its fields,
    and what is written."""
    redis = t.redis()
    rng = random.Random(7)
    gateway = started(t, redis, layout, {"anonymous": tier_of([MINUTE]), **{name: tier_of(windows) for name, windows in POLICIES.items()}})
    client = gateway.client(record=False)
    for number in range(180):
        name, windows = rng.choice(sorted(POLICIES.items()))
        cost = rng.choice(COSTS)
        user = f"{name}-{number}"
        before = [some_state(rng, window, cost, now_of(redis)) for window in windows]
        for window, fields in zip(windows, before):
            store(redis, layout, user, window, fields)
        first = now_of(redis)
        answer = client.exchange(request("GET", "/" if cost == 1 else f"/cost-{cost}", [("X-User", user), ("X-Tier", name)]))
        last = now_of(redis)
        after = [stored(redis, layout, user, window) for window in windows]
        outcomes = [Outcome(windows, before, now, cost) for now in range(first, last + 1)]
        assert any(fits(outcome, answer, after, last + 1 - first) for outcome in outcomes), (user, cost, before, after, answer, outcomes[0].__dict__)
        if answer.status == 200:
            for window in windows:
                assert int(redis.command("PTTL", key_of(layout, user, window))) > 0, (user, window.name)


def fits(outcome, answer, after, late_ms):
    """X-RateLimit-Reset is by the gateway's clock, when the answer is written: a little later than the decision."""
    if outcome.allowed != (answer.status == 200) or after != outcome.written:
        return False
    if not outcome.allowed:
        body = json.loads(answer.body)
        if (body["window"], body["limit"], body["retry_after_ms"]) != (outcome.window.name, outcome.window.burst, outcome.wait_ms):
            return False
    if not -(-outcome.reset_ms // 1000) <= int(answer.one("x-ratelimit-reset")) <= -(-(outcome.reset_ms + late_ms) // 1000):
        return False
    return all(answer.one(name) == text for name, text in outcome.fields.items())


NONSENSE = ["nan", "inf", "-inf", "0x10", "1e400", "1E5", "", " ", " 5", "5 ", "+5", "5.", ".5", "1.e5", "--5", "-", "1e", "5\n", "1" * 41, "1,5"]


@timeout(120)
def test_nonsense_concerns_its_key_alone(t):
    redis = t.redis()
    gateway = started(t, redis, **{"log": {"access": {"enabled": True}}})
    for field in ("tokens", "last_refill", "capacity"):
        for number, text in enumerate(NONSENSE):
            user = f"{field}-{number}"
            store(redis, "window", user, HOUR, {"tokens": "5", "last_refill": text_of(now_of(redis)), "capacity": "100", field: text})
            before = stored(redis, "window", user, HOUR)
            answer = ask(gateway, user)
            assert answer.status == 200 and answer.one("x-ratelimit-remaining") == "9", (field, text, answer)
            assert stored(redis, "window", user, HOUR) == before, (field, text)
            assert not redis.command("EXISTS", key_of("window", user, MINUTE)), (field, text)
    assert ask(gateway, "well").status == 200
    asked = len(NONSENSE) * 3
    records = gateway.wait_access(asked + 1)
    assert [record["mode"] for record in records] == ["fallback"] * asked + ["redis"]
    assert "falling back" not in gateway.stderr()


DECIMALS = {
    "whole": ("5", "4"),
    "leading_zero": ("05", "4"),
    "point": ("5.0", "4"),
    "exponent": ("50e-1", "4"),
    "plus_exponent": ("0.5e+1", "4"),
    "forty_bytes": ("0" * 39 + "5", "4"),
    "rounds_to_a_token": ("5.999999999999999", "5"),
    "huge": ("1e300", "9"),
    "beyond_the_capacity": ("99999", "9"),
}


@cases(DECIMALS)
def test_decimals_are_read(t, text, remaining):
    redis = t.redis()
    gateway = started(t, redis)
    store(redis, "window", "u", MINUTE, {"tokens": text, "last_refill": text_of(now_of(redis)), "capacity": "10"})
    answer = ask(gateway, "u")
    assert answer.one("x-ratelimit-remaining") == remaining, answer
    assert gateway.wait_access(1)[0]["mode"] == "redis"


@cases({"long_ago": ("-5", "9"), "far_ahead": ("9999999999", "2"), "beyond_any_clock": ("1e300", "2")})
def test_times_from_elsewhere(t, last_refill, remaining):
    redis = t.redis()
    gateway = started(t, redis)
    store(redis, "window", "u", MINUTE, {"tokens": "3", "last_refill": last_refill, "capacity": "10"})
    assert ask(gateway, "u").one("x-ratelimit-remaining") == remaining
    now = now_of(redis)
    assert now - 2000 < float(stored(redis, "window", "u", MINUTE)["last_refill"]) * 1000 <= now


@cases(LAYOUTS)
def test_a_time_too_far_ahead_ends_with_the_first_denial(t, layout):
    """As after a clock that was set back by an hour: what stays ahead would be refused until the clock is there again."""
    redis = t.redis()
    gateway = started(t, redis, layout, {"anonymous": {"second": {"limit": 2, "burst": 3}, "hour": 3600}})
    second, hour = Window(1, 2, 3), Window(3600, 3600)
    far = text_of(now_of(redis) + 7200000)
    for window, tokens in ((second, "0"), (hour, "5")):
        store(redis, layout, "u", window, {"tokens": tokens, "last_refill": far, "capacity": str(window.burst)})
    before = now_of(redis)
    answer = ask(gateway, "u")
    assert answer.status == 429 and json.loads(answer.body)["retry_after_ms"] == 500, answer
    for window, tokens in ((second, "0"), (hour, "5")):
        state = stored(redis, layout, "u", window)
        assert state["tokens"] == tokens and before <= round(float(state["last_refill"]) * 1000) <= now_of(redis), state
    time.sleep(0.52)
    assert ask(gateway, "u").status == 200


@cases(LAYOUTS)
def test_a_key_without_a_ttl_is_healed(t, layout):
    redis = t.redis()
    gateway = started(t, redis, layout)
    life = 120 if layout == "window" else 7200
    for user, tokens, ahead, status, healed in (
        ("passes", "5", 0, 200, True),
        ("waits", "0", 0, 429, False),
        ("waits-long", "-200", 0, 429, True),
        ("waits-for-the-clock", "-8", 59000, 429, True),  # neither part of the wait exceeds the window alone
    ):
        time_text = text_of(now_of(redis) + ahead)
        store(redis, layout, user, MINUTE, {"tokens": tokens, "last_refill": time_text, "capacity": "10"})
        assert ask(gateway, user).status == status
        assert (int(redis.command("TTL", key_of(layout, user, MINUTE))) >= life) == healed, user


@cases(LAYOUTS)
def test_a_ttl_is_prolonged_when_it_must_be(t, layout):
    redis = t.redis()
    gateway = started(t, redis, layout, {"anonymous": {"hour": {"limit": 10, "burst": 50}}})
    key = key_of(layout, "u", HOUR)
    ask(gateway, "u")
    assert redis.command("TTL", key) == 36000, "twice the five hours to full"
    for left, after in ((60, 36000), (17000, 36000), (19000, 19000)):
        redis.command("EXPIRE", key, left)
        ask(gateway, "u")
        assert after - 1 <= redis.command("TTL", key) <= after, left


@cases(LAYOUTS)
def test_a_shorter_window_leaves_a_longer_one_its_time(t, layout):
    """One hash has them all in layout identity: whoever changes tiers for a moment must not get the day back."""
    redis = t.redis()
    gateway = started(t, redis, layout, {"anonymous": {"day": 3}, "pro": {"second": 10}})
    day = Window(86400, 3)
    for _ in range(3):
        assert ask(gateway, "u").status == 200
    assert ask(gateway, "u", "pro").status == 200
    assert redis.command("TTL", key_of(layout, "u", day)) >= 2 * 86400 - 10
    assert ask(gateway, "u").status == 429


@cases(LAYOUTS)
def test_limits_that_change_keep_what_was_spent(t, layout):
    redis = t.redis()
    tiers = {"anonymous": {"hour": 100}, "pro": {"hour": 200}, "mini": {"hour": 50}}
    gateway = started(t, redis, layout, tiers)
    now = text_of(now_of(redis))
    for user in ("upgraded", "reloaded"):
        store(redis, layout, user, HOUR, {"tokens": "20", "last_refill": now, "capacity": "100"})
    store(redis, layout, "without", HOUR, {"tokens": "20", "last_refill": now})
    assert ask(gateway, "upgraded", "pro").one("x-ratelimit-remaining") == "119", "80 of 100 spent, and 200 leaves 120"
    assert ask(gateway, "upgraded").one("x-ratelimit-remaining") == "18"
    answer = ask(gateway, "upgraded", "mini")
    assert answer.status == 429 and answer.one("x-ratelimit-remaining") == "0"
    assert 32 * 72000 < json.loads(answer.body)["retry_after_ms"] <= 33 * 72000
    assert ask(gateway, "without", "pro").one("x-ratelimit-remaining") == "19", "nothing to adjust by"
    gateway.write_config({"tiers": {**tiers, "anonymous": {"hour": 200}}})
    gateway.reload()
    assert ask(gateway, "reloaded").one("x-ratelimit-remaining") == "119"


IDS = {
    "plain": ("aZ09._@+=-", "aZ09._@+=-"),
    "encoded": ("a b:c/d%{}*", "a%20b%3Ac%2Fd%25%7B%7D%2A"),
    "128_bytes": ("a" * 128, "a" * 128),
    "129_bytes": ("a" * 129, "sha256-" + hashlib.sha256(b"a" * 129).hexdigest()),
}


@cases(IDS)
def test_ids_in_keys(t, user, written):
    redis = t.redis()
    gateway = started(t, redis)
    assert ask(gateway, user).status == 200
    assert redis.keys() == [f"ratelimit:user:{written}:hour", f"ratelimit:user:{written}:minute"]


def test_a_reset_where_the_identity_was_never_seen(t):
    redis = t.redis()
    routes = [{"name": "own", "path": "/own", "tiers": {"anonymous": {"second": 3}, "pro": {"90s": 8}}}]
    tiers = {"anonymous": {"minute": 10}, "pro": {"10s": 50, "hour": 100}}
    first, second = (started(t, redis, "window", tiers, routes=routes) for _ in range(2))
    for target in ("/", "/own"):
        ask(first, "u", "pro", target)
    ask(first, "other")
    assert len(redis.keys("*:u:*")) == 3
    assert json.loads(second.admin("/api/buckets/user:u", "DELETE").body)["deleted"] == 3
    assert redis.keys() == ["ratelimit:user:other:minute"]


@cases(LAYOUTS)
def test_a_reset_takes_a_key_of_another_type_along(t, layout):
    redis = t.redis()
    gateway = started(t, redis, layout)
    redis.command("SET", key_of(layout, "u", MINUTE), "no hash")
    deleted = gateway.admin("/api/buckets/user:u", "DELETE")
    assert deleted.status == 200 and json.loads(deleted.body)["deleted"] == 1, deleted
    assert redis.keys() == []
    assert ask(gateway, "u").one("x-ratelimit-remaining") == "9" and gateway.wait_access(1)[0]["mode"] == "redis"


def test_what_was_not_charged_is_not_given_back(t):
    redis = t.redis()
    routes = [{"name": "lenient", "path": "/lenient", "shadow": True, "refund": [200], "cost_from": "X-Cost"}]
    gateway = started(t, redis, "window", {"anonymous": {"hour": 10}}, routes=routes)
    for _ in range(10):
        assert ask(gateway, "u").status == 200
    for _ in range(3):
        assert ask(gateway, "u", target="/lenient").status == 200
    time.sleep(0.2)
    assert ask(gateway, "u").status == 429
    assert float(stored(redis, "window", "u", HOUR)["tokens"]) < 0.1

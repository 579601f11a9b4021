# SPDX-License-Identifier: MIT
"""The first of the limiter: ten and then 429, one bucket for two gateways, Redis killed under load."""

import json
import re
import threading
import time

from harness import cases, eventually, timeout
from harness.checks import own_answer
from harness.message import request, response
from harness.redis_load import UNHURRIED
from harness.structured import Malformed, parse_list
from harness.watch import Watch

RUNS_LONG = True  # started first

PLAIN = {"allow": []}
DAY = {"allow": [], "tiers": {"anonymous": {"day": 10}}}


def with_redis(redis, *layers, **settings):
    config = {"redis": {"url": redis.url, "timeout": UNHURRIED, "connect_timeout": UNHURRIED, **settings}}
    for layer in layers:
        config = {**config, **layer}
    return config


def test_ten_and_then_429_with_the_default_tiers(t):
    gateway, upstream = t.pair(PLAIN)
    before = gateway.metrics()
    client = gateway.client()
    answers = []
    for _ in range(15):
        answers.append(client.exchange(request("GET", "/exploits?page=1&page_size=10")))
        answers[-1].at = time.time()
    assert [answer.status for answer in answers] == [200] * 10 + [429] * 5
    assert len(upstream.requests) == 10
    for n, answer in enumerate(answers[:10]):
        assert answer.one("x-ratelimit-limit") == "10" and answer.one("x-ratelimit-tier") == "anonymous"
        assert answer.one("x-ratelimit-remaining") == str(9 - n), answer
        assert answer.one("ratelimit-policy") == '"minute";q=10;w=60, "hour";q=100;w=3600, "day";q=500;w=86400'
        rate = re.match(r'"minute";r=(\d+);t=(\d+), "hour";r=(\d+);t=(\d+), "day";r=(\d+);t=(\d+)\Z', answer.one("ratelimit"))
        assert rate and (int(rate[1]), int(rate[3]), int(rate[5])) == (9 - n, 99 - n, 499 - n), answer
        assert not answer.has("retry-after")
        assert 0 < int(answer.one("x-ratelimit-reset")) - answer.at <= 6 * (n + 1) + 1
    for answer in answers[10:]:
        body = own_answer(answer, 429)
        assert answer.one("x-ratelimit-remaining") == "0" and 1 <= int(answer.one("retry-after")) <= 6
        assert body["message"] == "Rate limit exceeded for minute window. Please slow down."
        assert (body["tier"], body["window"], body["limit"], body["remaining"]) == ("anonymous", "minute", 10, 0)
        assert body["retry_after_seconds"] == int(answer.one("retry-after"))
        assert body["retry_after_seconds"] == -(-body["retry_after_ms"] // 1000)
        assert body["upgrade_url"] == "https://kamiyo.ai/pricing"
        assert 0 <= int(answer.one("x-ratelimit-reset")) - answer.at <= 7
    records = gateway.wait_access(15)
    assert [record["decision"] for record in records] == ["allowed"] * 10 + ["denied"] * 5
    assert {record["mode"] for record in records} <= {"memory", "cached"}
    assert all(record["upstream_ms"] is None for record in records[10:])
    assert [record["remaining"] for record in records[:10]] == list(range(9, -1, -1))
    change = gateway.metrics().minus(before)
    assert change.total("decisions_total", decision="allowed", tier="anonymous") == 10, change
    assert change.total("decisions_total", decision="denied", tier="anonymous") == 5, change
    assert change.total("requests_total", status="429") == 5


def test_head_is_limited_alike(t):
    gateway, upstream = t.pair(PLAIN)
    client = gateway.client()
    answers = [client.exchange(request("HEAD", "/")) for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 10 + [429] * 2
    assert answers[-1].has("retry-after") and answers[-1].has("content-length")


def test_waiting_the_told_seconds_gives_a_200(t):
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"10s": 5}}})
    while True:
        answer = gateway.get("/")
        if answer.status == 429:
            break
    body = json.loads(answer.body)
    time.sleep(body["retry_after_ms"] / 1000 + 0.05)
    began = time.monotonic()
    assert gateway.get("/").status == 200
    after = gateway.get("/")
    assert after.status == 429 or time.monotonic() - began > 2, "a token takes two seconds"


def test_exempt_paths_cost_nothing(t):
    gateway, upstream = t.pair(PLAIN)
    client = gateway.client()
    for path in ("/health", "/ready", "/docs", "/redoc", "/openapi.json"):
        for _ in range(5):
            answer = client.exchange(request("GET", path))
            assert answer.status == 200 and not answer.has("x-ratelimit-limit"), answer
    assert client.exchange(request("GET", "/")).one("x-ratelimit-remaining") == "9"
    records = gateway.wait_access(26)
    assert [record["decision"] for record in records] == ["exempt"] * 25 + ["allowed"]


@cases({"percent": "/%68ealth", "double slash": "//health", "dots": "/x/../health", "case": "/Health", "slash": "/health/"})
def test_disguised_exempt_path_is_not_exempt(t, target):
    gateway, upstream = t.pair(PLAIN)
    assert gateway.get(target).has("x-ratelimit-limit")


def test_upstream_fields_are_replaced(t):
    gateway, upstream = t.pair(PLAIN)
    upstream.reply = response(200, [("X-RateLimit-Limit", "999"), ("X-RateLimit-Remaining", "998"), ("x-ratelimit-reset", "1"),
                                    ("RateLimit", '"x";r=1;t=1'), ("RateLimit-Policy", '"x";q=1;w=1'), ("X-RateLimit-Tier", "x")], b"ok")
    answer = gateway.get("/")
    assert (answer.one("x-ratelimit-limit"), answer.one("x-ratelimit-remaining")) == ("10", "9")
    assert answer.one("x-ratelimit-tier") == "anonymous"
    assert '"x"' not in answer.one("ratelimit") + answer.one("ratelimit-policy")
    exempt = gateway.get("/health")
    assert exempt.one("x-ratelimit-limit") == "999", "on an exempt request the upstream's own pass"


def test_redis_layout_and_ttl(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, PLAIN))
    for _ in range(3):
        assert gateway.get("/").status == 200
    assert redis.keys("ratelimit:ip:*") == [f"ratelimit:ip:127.0.0.1:{window}" for window in ("day", "hour", "minute")]
    fields = redis.hash("ratelimit:ip:127.0.0.1:minute")
    assert set(fields) == {"tokens", "last_refill", "capacity"}, fields
    assert 7.0 <= float(fields["tokens"]) < 7.5 and abs(float(fields["last_refill"]) - time.time()) < 5 and fields["capacity"] == "10"
    for window, period in (("minute", 60), ("hour", 3600), ("day", 86400)):
        assert period <= redis.command("TTL", f"ratelimit:ip:127.0.0.1:{window}") <= 2 * period
    assert gateway.last_access()["mode"] == "redis"
    assert gateway.metrics().total("redis_up") >= 1


def test_log_lines_with_redis(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis))
    lines = [line.split(" ", 1)[1] for line in gateway.stderr().splitlines()]
    wanted = ["INFO - Rate limiter using Redis backend", "INFO - Rate limiting middleware enabled (Redis: True)",
              f"INFO - Listening on 127.0.0.1:{gateway.port}"]
    assert [line for line in lines if line in wanted] == wanted, lines


def test_two_gateways_share_one_bucket(t):
    redis = t.redis()
    upstream = t.upstream()
    config = with_redis(redis, {"allow": [], "tiers": {"anonymous": {"day": 40}}})
    gateways = [t.gateway(config, upstream), t.gateway(config, upstream)]
    statuses, lock = [], threading.Lock()

    def load(gateway):
        client = gateway.client()
        for _ in range(30):
            answer = client.exchange(request("GET", "/"))
            with lock:
                statuses.append(answer.status)

    threads = [threading.Thread(target=load, args=(gateway,)) for gateway in gateways * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(200) == 40 and statuses.count(429) == 80, (statuses.count(200), statuses.count(429))
    assert len(upstream.requests) == 40


def test_absent_redis_is_one_warning_and_local_decisions(t):
    redis = t.redis()
    redis.kill()
    gateway, upstream = t.pair(with_redis(redis, DAY))
    answers = [gateway.get("/").status for _ in range(12)]
    assert answers == [200] * 10 + [429] * 2
    lines = [line.split(" ", 1)[1] for line in gateway.stderr().splitlines()]
    assert "WARNING - Redis unavailable, falling back to in-memory: connection refused" in [line[:76] for line in lines], lines
    assert len([line for line in lines if line.startswith("WARNING - Redis unavailable")]) == 1
    assert "INFO - Rate limiting middleware enabled (Redis: False)" in lines
    assert {record["mode"] for record in gateway.wait_access(12)} <= {"fallback", "cached"}


@cases({"scheme": "http://h", "port": "redis://h:port", "nothing": "redis", "password": "redis://user:S3CRET@h:99999/0"})
def test_unusable_url_is_a_warning_without_its_password(t, url):
    gateway, upstream = t.pair({"redis": {"url": url}})
    warnings = gateway.log_lines("WARNING - Redis unavailable, falling back to in-memory: invalid REDIS_URL: ")
    assert len(warnings) == 1 and "S3CRET" not in gateway.stderr(), gateway.stderr()
    assert gateway.get("/").status == 200


@timeout(40)
def test_redis_killed_under_load_fails_no_request(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, {"allow": [], "tiers": {"anonymous": {"day": 100_000}}}, backoff={"min": "50ms", "max": "200ms"}))
    stop, bad, times = threading.Event(), [], []

    def load():
        client = gateway.client(record=False)
        while not stop.is_set():
            began = time.monotonic()
            try:
                answer = client.exchange(request("GET", "/"))
                if answer.status != 200:
                    bad.append(answer)
            except Exception as error:
                bad.append(error)
                return
            times.append(time.monotonic() - began)
            time.sleep(0.002)

    threads = [threading.Thread(target=load) for _ in range(4)]
    with Watch(gateway, 0.0) as watch:
        for thread in threads:
            thread.start()
        eventually(lambda: len(times) > 50, "the load does not begin")
        redis.kill()
        gateway.wait_log("WARNING - Redis unavailable, falling back to in-memory: ")
        time.sleep(0.7)
        assert gateway.metrics().total("redis_up") == 0
        redis.start()
        gateway.wait_log("INFO - Rate limiter using Redis backend", count=2)
        eventually(lambda: gateway.access()[-1]["mode"] == "redis", "Redis does not decide")
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
    assert not bad, (len(bad), bad[:3])
    assert max(times) < 1.0 + watch.starved(), f"one request took {max(times):.2f} s"
    assert len(gateway.log_lines("WARNING - Redis unavailable")) == 1, gateway.stderr()
    modes = [record["mode"] for record in gateway.wait_access(len(times))]
    assert modes[0] == "redis" and "fallback" in modes and modes[-1] == "redis", set(modes)
    assert redis.hash("ratelimit:ip:127.0.0.1:day"), "after the restart decisions are shared again"


def test_outage_hands_nobody_a_fresh_bucket(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, DAY))
    for _ in range(6):
        assert gateway.get("/").status == 200
    redis.kill()
    assert [gateway.get("/").status for _ in range(6)] == [200] * 4 + [429] * 2


def test_paused_redis_costs_at_most_its_timeout(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, {"allow": [], "tiers": {"anonymous": {"day": 10_000}}}, timeout="300ms"))
    assert gateway.get("/").status == 200
    redis.pause()
    try:
        times = []
        for _ in range(15):
            with Watch(gateway, 0.0) as watch:
                assert gateway.get("/").status == 200
            times.append(watch.took)
        assert max(times) < 0.5, times
        assert times[-1] < 0.1, "after the breaker opened nothing waits"
    finally:
        redis.resume()
    gateway.wait_log("WARNING - Redis unavailable, falling back to in-memory: socket_timeout")
    gateway.wait_log("INFO - Rate limiter using Redis backend", count=2)
    eventually(lambda: gateway.get("/").status == 200 and gateway.wait_access(1)[-1]["mode"] == "redis", "not back")


def test_flushed_scripts_are_loaded_again(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, DAY))
    assert gateway.get("/").one("x-ratelimit-remaining") == "9"
    redis.command("SCRIPT", "FLUSH")
    assert gateway.get("/").one("x-ratelimit-remaining") == "8"
    assert gateway.wait_access(2)[-1]["mode"] == "redis"


def test_bucket_of_the_admin_listener(t):
    redis = t.redis()
    gateway, upstream = t.pair(with_redis(redis, DAY))
    for _ in range(11):
        gateway.get("/")
    bucket = json.loads(gateway.admin("/api/buckets/ip:127.0.0.1").body)
    assert bucket["key"] == "ip:127.0.0.1" and bucket["windows"]["day"]["limit"] == 10, bucket
    assert bucket["windows"]["day"]["remaining"] == 0 and bucket["mode"] == "redis"
    deleted = gateway.admin("/api/buckets/ip:127.0.0.1", "DELETE")
    assert deleted.status == 200 and json.loads(deleted.body)["deleted"] >= 1
    assert gateway.get("/").one("x-ratelimit-remaining") == "9"


def test_limit_fields_are_structured_lists(t):
    """Names, order, types and ranges of both fields, read by a parser and not by their look."""
    tiers = {"anonymous": {"100s": {"limit": 3, "burst": 5}, "200s": 7, "hour": 100, "day": 500}}
    gateway, upstream = t.pair({"allow": [], "tiers": tiers})
    statuses = []
    for _ in range(7):
        answer = gateway.get("/")
        statuses.append(answer.status)
        policy = parse_list(answer.one("ratelimit-policy"))
        levels = parse_list(answer.one("ratelimit"))
        assert [name for name, _ in policy] == ["100s", "200s", "hour", "day"] == [name for name, _ in levels]
        assert [parameters["q"] for _, parameters in policy] == [5, 7, 100, 500]
        assert [parameters["w"] for _, parameters in policy] == [167, 200, 3600, 86400]
        for (_, quota), (_, level) in zip(policy, levels):
            assert set(quota) == {"q", "w"} and set(level) == {"r", "t"}
            assert 0 <= level["r"] <= quota["q"] and 0 <= level["t"] <= quota["w"]
        if answer.status == 429:
            assert max(level["t"] for _, level in levels) == int(answer.one("retry-after"))
    assert statuses == [200] * 5 + [429] * 2


@cases({text: text for text in ('x;r=1', '"a";R=1', '"a";r=1.5', '"a" "b"', '"a",', '"a;r=1', '"a";r=', "\"\u00e4\"")})
def test_the_reader_of_structured_lists_is_strict(t, text):
    try:
        parse_list(text)
    except Malformed:
        return
    raise AssertionError(f"{text!r} was read")

# SPDX-License-Identifier: MIT
"""What the running gateway says that it would decide, held against what it decides next; and that saying it changes nothing."""

import json
import urllib.parse

from harness import cases
from harness.process import free_port
from harness.redis_load import UNHURRIED
from harness.tokens import digest

from commands_test import run
from identity_test import keys_file

TIERS = {"anonymous": {"hour": 3}, "pro": {"hour": 5, "day": 1000}}
ALIKE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Tier", "RateLimit-Policy")


def explain(gateway, path="/x", key=None, token=None, expect=200, **query):
    """The explanation of a request that 127.0.0.1 would send."""
    fields = [("X-API-Key", key)] if key else []
    if token:
        fields.append(("Authorization", f"Bearer {token}"))
    answer = gateway.admin("/api/explain?" + urllib.parse.urlencode({"path": path, **query}, quote_via=urllib.parse.quote), fields=fields)
    assert answer.status == expect, answer
    return json.loads(answer.body)


def settings(**more):
    return {"allow": [], "tiers": TIERS, **more}


@cases({"in-process": False, "with Redis": True})
def test_it_is_what_comes_next(t, with_redis):
    redis = {"redis": {"url": t.redis().url, "timeout": UNHURRIED}} if with_redis else {}
    gateway, upstream = t.pair(settings(identity={"api_key": {"keys_file": keys_file(t, {"key-of-alice": ("alice", "pro")})}}, **redis))
    for key, tier, limit in (None, "anonymous", 3), ("key-of-alice", "pro", 5):
        for i in range(limit + 2):
            said = [explain(gateway, key=key) for _ in range(3)][-1]
            came = gateway.get("/x", [("X-API-Key", key)] if key else [])
            assert said["allowed"] == (came.status == 200) == (i < limit), (said, came)
            assert said["status"] == (None if came.status == 200 else 429), said
            assert said["decision"] == ("allowed" if came.status == 200 else "denied"), said
            assert said["mode"] in (("redis", "cached") if with_redis else ("memory",)), said
            assert (said["tier"], said["identity"]["found_by"]) == (tier, "api_key" if key else "address"), said
            assert [said["headers"].get(name) for name in ALIKE] == [came.one(name) for name in ALIKE], (said, came)
            hour = said["windows"]["hour"]
            assert (hour["remaining"], hour["limit"]) == (max(limit - i, 0), limit), said
            assert hour["key"] == f"ratelimit:{said['identity']['key']}:hour", said
            if came.status == 429:
                assert (said["window"], said["route"]["index"]) == ("hour", 0), said
                assert int(said["headers"]["Retry-After"]) == -(-said["retry_after_ms"] // 1000) >= int(came.one("Retry-After")), (said, came)
    assert len(upstream.requests) == 3 + 5, "no explanation reaches the upstream"


def test_failures_are_not_charged(t):
    path = keys_file(t, {"key-of-alice": ("alice", "pro")})
    gateway, _ = t.pair(settings(identity={"api_key": {"keys_file": path}, "failures": {"hour": 2}}))
    for i in range(5):
        said = explain(gateway, key=f"guess-{i}")
        assert said["allowed"] and said["identity"]["found_by"] == "address" and said["identity"]["keys"] == 1, said
    assert explain(gateway, key="key-of-alice")["identity"]["key"] == "user:alice"
    for i in range(2):
        assert gateway.get("/x", [("X-API-Key", f"guess-{i}")]).status == 200
    said = explain(gateway, key="guess")
    assert (said["status"], said["window"], said["allowed"]) == (429, "failures", False), said
    assert explain(gateway, key="key-of-alice")["window"] == "failures", "valid, and never used: not looked at"
    assert explain(gateway)["allowed"], "without a key nothing is spent"
    came = gateway.get("/x", [("X-API-Key", "guess")])
    assert (came.status, json.loads(came.body)["window"]) == (429, "failures"), came


def test_keys_in_redis(t):
    redis = t.redis()
    identity = {"api_key": {"redis_lookup": True}, "failures": {"hour": 2}}
    gateway, _ = t.pair(settings(identity=identity, redis={"url": redis.url, "timeout": UNHURRIED}))
    for _ in range(4):
        assert explain(gateway, key="key-of-bob")["identity"]["found_by"] == "address"
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-bob')}", "user", "bob", "tier", "pro")
    said = explain(gateway, key="key-of-bob")
    assert (said["identity"]["key"], said["tier"]) == ("user:bob", "pro"), "that there was none was not remembered"
    assert gateway.get("/x", [("X-API-Key", "key-of-bob")]).one("X-RateLimit-Tier") == "pro"


def test_without_redis(t):
    routes = [{"path": "/deny", "on_failure": "deny"}, {"path": "/allow", "on_failure": "allow"}]
    gateway, _ = t.pair(settings(routes=routes, redis={"url": f"redis://127.0.0.1:{free_port()}"}))
    said = explain(gateway)
    assert (said["mode"], said["allowed"], said["windows"]["hour"]["remaining"]) == ("fallback", True, 3), said
    said = explain(gateway, path="/deny")
    assert (said["status"], said["headers"]) == (503, {"Retry-After": "1"}) and gateway.get("/deny").status == 503, said
    said = explain(gateway, path="/allow")
    assert (said["allowed"], said["headers"]) == (True, {}) and gateway.get("/allow").status == 200, said


def test_routes_lists_and_what_is_no_request(t):
    routes = [{"path": "/free", "limit": "none"}, {"name": "w", "path": "/w/*", "methods": ["POST"], "cost": 2, "tiers": {"anonymous": {"minute": 30}}}]
    gateway, _ = t.pair(settings(routes=routes, deny=["192.0.2.0/24"], client={"max_target_bytes": "64B"}))
    said = explain(gateway, path="/free")
    assert (said["allowed"], said["decision"], said["windows"], said["headers"]) == (True, "exempt", {}, {}), said
    said = explain(gateway, path="/w/a?b=c&d", method="POST")
    assert (said["route"]["name"], said["route"]["cost"], said["windows"]["minute"]["remaining_after"]) == ("w", 2, 28), said
    assert said["path"] == "/w/a?b=c&d" and explain(gateway, path="/w/a")["route"]["index"] == 0
    said = explain(gateway, ip="192.0.2.9")
    assert (said["status"], said["decision"], said["identity"]) == (403, None, None), said
    assert explain(gateway, ip="2001:db8::5")["identity"]["key"] == "ip:2001:db8::/64"
    assert explain(gateway, ip="unix")["identity"]["key"] == "ip:unix"
    assert explain(gateway, path="/a b")["status"] == 400
    assert explain(gateway, path="/" + "x" * 64)["status"] == 414
    assert explain(gateway, method="CONNECT")["status"] == 501
    for query in "ip=nobody", "path=%zz", "path=%00", "api_key=hunter2", "path=/x&key=k":
        answer = gateway.admin(f"/api/explain?{query}")
        assert answer.status == 400 and b"hunter2" not in answer.body, (query, answer)
    assert gateway.admin("/api/explain", "POST").status == 405


def test_reload_is_followed(t):
    gateway, _ = t.pair(settings())
    assert explain(gateway)["windows"]["hour"]["limit"] == 3
    gateway.write_config({"tiers": {"anonymous": {"hour": 7}}})
    gateway.reload()
    assert explain(gateway)["windows"]["hour"]["limit"] == 7


def test_nothing_without_the_token(t):
    path = keys_file(t, {"key-of-alice": ("alice", "pro")})
    gateway, _ = t.pair(settings(identity={"api_key": {"keys_file": path}}, admin={"token": "a-token-of-the-admins"}))
    bodies = {json.dumps(explain(gateway, key=key, token=token, expect=401))
              for key in (None, "key-of-alice", "guess") for token in (None, "another-token")}
    assert len(bodies) == 1, bodies
    assert explain(gateway, key="key-of-alice", token="a-token-of-the-admins")["identity"]["key"] == "user:alice"


def test_the_command(t):
    path = keys_file(t, {"key-of-alice": ("alice", "pro")})
    gateway, upstream = t.pair(settings(identity={"api_key": {"keys_file": path}}, admin={"token": "${ADMIN_TOKEN:-}"}),
                               env={"ADMIN_TOKEN": "a-token-of-the-admins"})
    secret = t.directory / "secret"
    secret.write_text("X-API-Key: key-of-alice\n")
    known = {"ADMIN_TOKEN": "a-token-of-the-admins"}
    for _ in range(2):
        gateway.get("/x", [("X-API-Key", "key-of-alice")])

    def live(*arguments, environment=None):
        result = run("explain", "--live", "--config", gateway.config_path, *arguments, environment=known if environment is None else environment)
        assert "key-of-alice" not in result.stdout + result.stderr and "a-token-of" not in result.stdout + result.stderr, result
        return result

    result = live("/x", "-H", f"@{secret}")
    assert result.returncode == 0 and result.stderr == "", result
    for part in (f"asked     127.0.0.1:{gateway.admin_port}, version ", "identity  user:alice (by its API key)", "store     memory",
                 "bucket    ratelimit:user:alice:hour", "; 2 left after this request", "X-RateLimit-Remaining: 2"):
        assert part in result.stdout, (part, result.stdout)
    dry = run("explain", "/x", "-H", f"@{secret}", "--config", gateway.config_path)
    assert "asked" not in dry.stdout and "; 4 left after this request" in dry.stdout, dry
    assert [line.split()[0] for line in dry.stdout.splitlines()[:4]] == ["request", "route", "client", "identity"], dry
    assert json.loads(live("/x", "-f", "json", "-H", f"@{secret}").stdout)["identity"]["key"] == "user:alice"
    for _ in range(3):
        gateway.get("/x")
    result = live("GET", "/x?a=b&c=%2F")
    assert result.returncode == 0, "it could say"
    assert "request   GET /x?a=b&c=%2F\n" in result.stdout and "answer    429: the hour's limit; again in " in result.stdout, result
    assert "          Retry-After: " in result.stdout, result

    result = live("/x", environment={})
    assert result.returncode == 1 and "needs the admin token: set ADMIN_TOKEN" in result.stderr, result
    result = live("/x", environment={"ADMIN_TOKEN": "another"})
    assert result.returncode == 1 and "refuses the admin token" in result.stderr, result
    result = live("/x", "--admin", f"127.0.0.1:{free_port()}")
    assert result.returncode == 1 and "nothing listens on" in result.stderr, result
    result = live("/x", "--admin", upstream.url.split("//")[1])
    assert result.returncode == 1 and "is no explanation" in result.stderr, result
    for field in "Authorization: Bearer a.b.c", "Host: api", "bad", f"@{t.directory / 'none'}":
        result = live("/x", "-H", field)
        assert result.returncode == 2 and result.stdout == "", result
    assert "without --live" in live("/x", "-H", "Authorization: Bearer a.b.c").stderr


@cases({"no field": ("-H", "bad"), "an address of the admin listener": ("--admin", "127.0.0.1:1"), "a format": ("--format", "xml")})
def test_called_wrongly(t, option, value):
    result = run("explain", "/x", option, value, cwd=t.directory)
    assert result.returncode == 2 and result.stdout == "" and "usage: " in result.stderr, result

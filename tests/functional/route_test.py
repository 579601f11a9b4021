# SPDX-License-Identifier: MIT
"""Routes with limits, costs, refunds and bounds of their own; lists of who is never limited and who never served."""

import json
import threading
import time

from harness import cases, eventually, until
from harness.checks import own_answer
from harness.message import request, response
from harness.redis_load import UNHURRIED
from harness.tokens import digest
from harness.wait import stands_still

ANONYMOUS = {"anonymous": {"hour": 10}}


def with_routes(*routes, tiers=None, **more):
    return {"allow": [], "tiers": tiers or ANONYMOUS, "routes": list(routes), **more}


def remaining(answer):
    return int(answer.one("x-ratelimit-remaining"))


# Which route.


@cases(
    {
        "exact": ("GET", "/exact", [], "exact"),
        "exact with query": ("GET", "/exact?a=%2F", [], "exact"),
        "exact escaped": ("GET", "/ex%61ct", [], "exact"),
        "exact with slash": ("GET", "/exact/", [], None),
        "prefix": ("GET", "/api/x", [], "prefix"),
        "prefix itself": ("GET", "/api/", [], "prefix"),
        "prefix without slash": ("GET", "/api", [], None),
        "first wins": ("POST", "/api/x", [], "post"),
        "header": ("GET", "/api/x", [("X-Batch", "")], "batch"),
        "nested": ("GET", "/api/v1/deep", [], "prefix"),
        "another": ("GET", "/elsewhere", [], None),
    }
)
def test_first_match(t, method, target, fields, expected):
    own = {"tiers": {"anonymous": {"hour": 1000}}}
    gateway, upstream = t.shared(
        with_routes(
            {"name": "post", "path": "/api/*", "methods": ["POST"], **own},
            {"name": "exact", "path": ["/exact", "/other"], **own},
            {"name": "batch", "path": "/api/*", "headers": ["X-Batch"], **own},
            {"name": "prefix", "path": "/api/*", **own},
            {"name": "deep", "path": "/api/v1/deep", **own},
            tiers={"anonymous": {"hour": 2000}},
        )
    )
    answer = gateway.exchange(request(method, target, fields, body=b"" if method == "POST" else None))
    assert gateway.last_access(request_id=answer.one("x-request-id"))["route"] == expected
    assert answer.one("x-ratelimit-limit") == ("2000" if expected is None else "1000")


@cases({"plain": "api.example.test", "port": "api.example.test:8443", "letters": "API.Example.TEST", "dot": "api.example.test."})
def test_host(t, host):
    gateway, upstream = t.shared(with_routes({"name": "host", "host": "api.example.test", "tiers": {"anonymous": {"hour": 900}}}))
    answer = gateway.exchange(request("GET", "/", host=host))
    assert answer.one("x-ratelimit-limit") == "900"
    assert gateway.exchange(request("GET", "/", host="x.example.test")).one("x-ratelimit-limit") == "10"


@cases({"plain": ("/free", True), "percent": ("/fre%65", False), "double": ("//free", False), "dots": ("/a/../free", False),
        "query": ("/free?x=%65//..", True), "below": ("/free/x", False)})
def test_exempt_only_by_a_plain_path(t, target, is_exempt):
    gateway, upstream = t.shared(with_routes({"path": "/free", "limit": "none"}, tiers={"anonymous": {"hour": 1000}}))
    assert gateway.get(target).has("x-ratelimit-limit") != is_exempt


def test_star_matches_every_target(t):
    gateway, upstream = t.pair(with_routes({"name": "all", "path": "*", "methods": ["OPTIONS"], "tiers": {"anonymous": {"hour": 77}}}))
    assert gateway.exchange(request("OPTIONS", "*")).one("x-ratelimit-limit") == "77"
    assert gateway.exchange(request("OPTIONS", "/x")).one("x-ratelimit-limit") == "77"
    assert gateway.get("/x").one("x-ratelimit-limit") == "10"


def test_preflights_have_buckets_of_their_own(t):
    gateway, upstream = t.pair({"allow": []})
    for _ in range(20):
        answer = gateway.exchange(request("OPTIONS", "/x", [("Origin", "https://a.test"), ("Access-Control-Request-Method", "GET")]))
        assert answer.status == 200 and answer.one("x-ratelimit-limit") == "100"
    assert remaining(gateway.get("/")) == 9


# Limits of a route.


def test_own_tiers_and_their_keys(t):
    redis = t.redis()
    path = t.directory / "keys.yaml"
    path.write_text(f"- {{sha256: {digest('pro-key')}, user: alice, tier: pro}}\n- {{sha256: {digest('team-key')}, user: bob, tier: team}}\n")
    gateway, upstream = t.pair(
        with_routes(
            {"name": "hooks", "path": "/hooks/*", "tiers": {"anonymous": {"hour": 3}, "pro": {"hour": 5}}},
            tiers={"anonymous": {"hour": 10}, "pro": {"hour": 20}, "team": {"hour": 30}},
            identity={"api_key": {"keys_file": str(path)}},
            redis={"url": redis.url, "timeout": UNHURRIED},
        )
    )
    pro, team = [("X-API-Key", "pro-key")], [("X-API-Key", "team-key")]
    assert [gateway.get("/hooks/x").status for _ in range(4)] == [200] * 3 + [429]
    assert remaining(gateway.get("/")) == 9, "the route's bucket is another"
    assert gateway.get("/hooks/x", pro).one("x-ratelimit-limit") == "5"
    answer = gateway.get("/hooks/x", team)
    assert (answer.one("x-ratelimit-limit"), answer.one("x-ratelimit-tier")) == ("3", "team"), "the route's anonymous limits"
    assert gateway.get("/", team).one("x-ratelimit-limit") == "30"
    keys = [key for key in redis.keys("ratelimit:*") if ":probe:" not in key]
    assert keys == [
        "ratelimit:ip:127.0.0.1:hooks:hour",
        "ratelimit:ip:127.0.0.1:hour",
        "ratelimit:user:alice:hooks:hour",
        "ratelimit:user:bob:hooks:hour",
        "ratelimit:user:bob:hour",
    ]


def test_cost(t):
    gateway, upstream = t.pair(with_routes({"path": "/dear", "cost": 4}))
    assert remaining(gateway.get("/dear")) == 6
    assert remaining(gateway.get("/cheap")) == 5
    assert remaining(gateway.get("/dear")) == 1
    refused = gateway.get("/dear")
    assert own_answer(refused, 429)["window"] == "hour"
    assert remaining(gateway.get("/cheap")) == 0


def test_cost_from_the_answer(t):
    gateway, upstream = t.pair(
        with_routes({"path": "/query", "cost_from": "X-Cost", "max_cost": 20}, tiers={"anonymous": {"hour": {"limit": 1, "burst": 100}}})
    )

    def spends(value, tokens):
        """The request costs one at once, and after its answer so many more."""
        upstream.replies.append(response(200, [("X-Cost", value)], b"ok"))
        before = left()
        assert remaining(gateway.get("/query")) == before - 1, value
        if tokens:
            assert until(lambda: left() == before - 1 - tokens), f"{value}: {left()} left of {before}"
        else:
            assert stands_still(left, 0.1) == before - 1, f"{value}: {left()} left of {before}"

    def left():
        return json.loads(gateway.admin("/api/buckets/ip:127.0.0.1").body)["windows"]["hour"]["remaining"]

    spends("7", 7)
    for malformed in ("", "-3", "1e3", "2.5", "x", "9" * 30 + "x"):
        spends(malformed, 0)
    spends("5000", 20)
    spends("9" * 30, 20)  # more digits than 64 bits hold


def test_cost_from_below_zero(t):
    gateway, upstream = t.pair(with_routes({"path": "/query", "cost_from": "X-Cost", "max_cost": 500}))
    upstream.reply = response(200, [("X-Cost", "20")], b"ok")
    assert gateway.get("/query").status == 200
    eventually(lambda: gateway.get("/query").status == 429, "the further cost was not charged")
    body = json.loads(gateway.get("/query").body)
    assert body["remaining"] == 0 and body["retry_after_seconds"] > 11 * 360, body


def test_refund(t):
    gateway, upstream = t.pair(with_routes({"path": "/flaky", "refund": [502, 503], "cost": 2}))
    upstream.replies = [response(503, [], b"busy"), response(500, [], b"broken"), response(200, [], b"ok")]
    assert gateway.get("/flaky").status == 503
    time.sleep(0.1)
    assert gateway.get("/flaky").status == 500
    time.sleep(0.1)
    assert remaining(gateway.get("/flaky")) == 6, "503 was given back, 500 was not"


def test_refund_of_the_gateways_own_502(t):
    gateway, upstream = t.pair(with_routes({"path": "/flaky", "refund": [502]}))
    upstream.replies = [False, False]
    assert gateway.get("/flaky").status == 502
    time.sleep(0.1)
    assert remaining(gateway.get("/flaky")) == 9


def test_concurrency(t):
    gateway, upstream = t.pair(with_routes({"path": "/slow", "concurrency": 2}))
    gate = threading.Event()

    def wait(message, connection):
        gate.wait()
        return response(200, [], b"ok")

    upstream.reply = wait
    clients = [gateway.client() for _ in range(2)]
    for client in clients:
        client.send(request("GET", "/slow"))
    upstream.wait_requests(2)
    refused = gateway.get("/slow")
    body = own_answer(refused, 429)
    assert (body["window"], body["limit"], refused.one("retry-after")) == ("concurrency", 2, "1")
    assert not refused.has("x-ratelimit-limit") and not refused.has("ratelimit")
    gate.set()
    levels = sorted(remaining(client.response()) for client in clients)
    assert levels == [8, 9]
    assert remaining(gateway.get("/slow")) == 7, "the refused one took nothing"


def test_concurrency_of_routes_without_a_name(t):
    gateway, upstream = t.pair(with_routes({"path": "/slow", "concurrency": 1}, {"path": "/slower", "concurrency": 1}))
    gate = threading.Event()
    t.defer(gate.set)
    upstream.reply = lambda message, connection: gate.wait() and response(200, [], b"ok")
    clients = [gateway.client() for _ in range(2)]
    for client, target in zip(clients, ("/slow", "/slower")):
        client.send(request("GET", target))
    upstream.wait_requests(2)
    assert [gateway.get(target).status for target in ("/slow", "/slower")] == [429, 429]
    gate.set()
    assert [client.response().status for client in clients] == [200, 200], "each route counts its own"


def test_concurrency_does_not_leak_when_clients_die(t):
    gateway, upstream = t.pair(with_routes({"path": "/slow", "concurrency": 2}, tiers={"anonymous": {"hour": 1000}}))
    gate = threading.Event()
    t.defer(gate.set)
    upstream.reply = lambda message, connection: gate.wait() and response(200, [], b"ok")
    for round_number in range(1, 4):
        clients = [gateway.client() for _ in range(2)]
        for client in clients:
            client.send(request("GET", "/slow"))
        upstream.wait_requests(2 * round_number)
        for client in clients:
            client.close()
        gateway.wait_access(2 * round_number, where=lambda record: record["reason"] == "client_closed")
    gate.set()
    upstream.reply = response(200, [], b"ok")
    assert gateway.get("/slow").status == 200, "places are still taken"


def test_shadow_refuses_nobody(t):
    gateway, upstream = t.pair(with_routes({"name": "trial", "path": "/trial", "shadow": True, "tiers": {"anonymous": {"hour": 2}}}))
    answers = [gateway.get("/trial") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [remaining(answer) for answer in answers] == [1, 0, 0, 0, 0]
    assert not any(answer.has("retry-after") for answer in answers)
    records = gateway.wait_access(5)
    assert [record["decision"] for record in records] == ["allowed"] * 2 + ["shadow"] * 3, [record["decision"] for record in records]


def test_unlimited_tier(t):
    path = t.directory / "keys.yaml"
    path.write_text(f"- {{sha256: {digest('our-key')}, user: batch, tier: internal}}\n")
    gateway, upstream = t.pair(
        with_routes(tiers={"anonymous": {"hour": 1}, "internal": "none"}, identity={"api_key": {"keys_file": str(path)}})
    )
    answers = [gateway.get("/", [("X-API-Key", "our-key")]) for _ in range(5)]
    assert all(answer.status == 200 and not answer.has("x-ratelimit-limit") for answer in answers)
    assert gateway.wait_access(5)[-1]["decision"] == "exempt"


# Lists.


def test_denied_and_allowed_addresses(t):
    gateway, upstream = t.pair(
        {
            "tiers": {"anonymous": {"hour": 1}},
            "client_ip": {"trusted_proxies": ["127.0.0.1"]},
            "allow": ["203.0.113.0/24", "2001:db8::/32"],
            "deny": ["203.0.113.64/26", "2001:db8:bad::/48"],
        }
    )

    def ask(address):
        return gateway.get("/", [("X-Forwarded-For", address)])

    for address in ("203.0.113.1", "2001:db8::1"):
        assert [ask(address).status for _ in range(3)] == [200] * 3
        assert not ask(address).has("x-ratelimit-limit")
    for address in ("203.0.113.65", "2001:db8:bad::1"):
        answer = ask(address)
        assert own_answer(answer, 403)["error"] == "forbidden" and not answer.has("x-ratelimit-limit")
    assert [ask("198.51.100.1").status for _ in range(2)] == [200, 429]
    record = gateway.last_access(status=403)
    assert record["decision"] is None and record["upstream_ms"] is None


def test_denied_and_allowed_users(t):
    path = t.directory / "keys.yaml"
    users = ("alice", "mallory", "bob")
    path.write_text("".join(f"- {{sha256: {digest(user + '-key')}, user: {user}, tier: free}}\n" for user in users))
    gateway, upstream = t.pair(
        {
            "tiers": {"anonymous": {"hour": 1}, "free": {"hour": 1}},
            "identity": {"api_key": {"keys_file": str(path)}},
            "allow": ["user:alice", "user:mallory"],
            "deny": ["user:mallory"],
        }
    )

    def ask(user):
        return gateway.get("/", [("X-API-Key", f"{user}-key")])

    assert [ask("alice").status for _ in range(3)] == [200] * 3
    assert own_answer(ask("mallory"), 403)["error"] == "forbidden"
    assert [ask("bob").status for _ in range(2)] == [200, 429]


def test_many_routes_and_ranges(t):
    routes = [{"path": f"/api/v{n % 9}/thing{n}/*" if n % 2 else f"/exact/{n}", "cost": 1 + n % 7} for n in range(1000)]
    deny = [f"10.{n // 256}.{n % 256}.0/24" for n in range(0, 10000, 2)]
    gateway, upstream = t.pair(
        with_routes(*routes, tiers={"anonymous": {"hour": 10000}}, deny=deny, client_ip={"trusted_proxies": ["127.0.0.1"]})
    )
    before = remaining(gateway.get("/elsewhere"))
    assert remaining(gateway.get("/exact/998")) == before - (1 + 998 % 7)
    assert gateway.get("/", [("X-Forwarded-For", "10.1.0.7")]).status == 403
    assert gateway.get("/", [("X-Forwarded-For", "10.1.1.7")]).status == 200

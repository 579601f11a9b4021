# SPDX-License-Identifier: MIT
"""What the live page and `top` are made of: who is limited most, over all workers."""

import json

from harness.message import request
from harness.tokens import claims, hmac_token

SECRET = "live-page-secret-0123456789abcdef"
LIMITED = {
    "allow": [],
    "identity": {"jwt": {"secrets": [SECRET]}},
    "tiers": {"anonymous": {"hour": 2}, "pro": {"day": 3}},
    "routes": [{"name": "search", "path": "/search", "tiers": {"anonymous": {"minute": 1}}},
               {"name": "trial", "path": "/trial", "shadow": True}],
}


def as_user(user):
    return [("Authorization", "Bearer " + hmac_token(SECRET, claims(user, "pro")))]


def top(gateway, query="", fields=()):
    answer = gateway.admin("/api/top" + query, fields=fields)
    assert answer.status == 200 and answer.one("content-type") == "application/json", answer
    return json.loads(answer.body)


def spend(gateway, count, target="/", fields=()):
    client = gateway.client()
    statuses = [client.exchange(request("GET", target, fields)).status for _ in range(count)]
    client.close()
    return statuses.count(429)


def test_who_is_limited_most(t):
    gateway, upstream = t.pair({**LIMITED, "workers": 2})
    assert top(gateway) == {"window_seconds": 60, "denied_total": 0, "clients": []}
    refused = 0
    for _ in range(6):  # connections of their own: some for each worker
        refused += spend(gateway, 10)
    assert refused == 58
    assert spend(gateway, 8, "/", as_user("bob")) == 5
    assert spend(gateway, 5, "/trial", as_user("bob")) == 0, "a trial refuses nobody"
    assert top(gateway) == {
        "window_seconds": 60,
        "denied_total": 63,
        "clients": [
            {"key": "ip:127.0.0.1", "tier": "anonymous", "route": "default", "window": "hour", "denied": 58, "denied_at_most": 58},
            {"key": "user:bob", "tier": "pro", "route": "default", "window": "day", "denied": 5, "denied_at_most": 5},
        ],
    }
    assert [client["key"] for client in top(gateway, "?limit=1")["clients"]] == ["ip:127.0.0.1"]
    assert gateway.admin("/api/top?limit=0").status == 400


def test_names_of_the_last_denial(t):
    """A route of its own; then a reload, which gives every name another place and perhaps another meaning."""
    gateway, upstream = t.pair(LIMITED)

    def last():
        return {key: top(gateway)["clients"][0][key] for key in ("route", "window", "denied")}

    assert spend(gateway, 4, "/search") == 3
    assert last() == {"route": "search", "window": "minute", "denied": 3}
    assert spend(gateway, 4) == 2
    assert last() == {"route": "default", "window": "hour", "denied": 5}
    for name in ("one", "two", "three"):
        gateway.write_config({"routes": [{"name": name, "path": "/search", "tiers": {"anonymous": {"minute": 1}}}]})
        gateway.reload()
        before = last()["denied"]
        assert spend(gateway, 4, "/search") == 3
        assert last() == {"route": name, "window": "minute", "denied": before + 3}


def test_refusals_without_a_bucket_are_told_too(t):
    gateway, upstream = t.pair({**LIMITED, "identity": {"jwt": {"secrets": [SECRET]}, "failures": {"minute": 1}},
                                "tiers": {"anonymous": {"hour": 1000}}})
    bad = [("Authorization", "Bearer a.b.c")]
    assert spend(gateway, 4, "/", bad) == 3
    clients = top(gateway)["clients"]
    assert [(client["key"], client["window"], client["denied"]) for client in clients] == [("ip:127.0.0.1", "failures", 3)]


def test_keys_of_users_are_texts_like_any(t):
    """What a user's id may hold does not break the JSON, and no token stands in it."""
    gateway, upstream = t.pair(LIMITED)
    user = '"}]<script>alert(1)</script>\\\u2028é'
    assert spend(gateway, 4, "/", as_user(user)) == 1
    answer = gateway.admin("/api/top").body.decode()
    (client,) = json.loads(answer)["clients"]
    assert client["key"].startswith("user:%22%7D%5D%3Cscript%3E") and "<" not in answer
    assert as_user(user)[0][1].split()[1] not in answer


def test_only_with_the_token(t):
    gateway, upstream = t.pair({**LIMITED, "admin": {"token": "sesame"}})
    assert gateway.admin("/api/top").status == 401
    assert top(gateway, fields=[("Authorization", "Bearer sesame")])["clients"] == []

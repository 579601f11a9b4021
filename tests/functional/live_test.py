# SPDX-License-Identifier: MIT
"""What the live page and `top` are made of: who is limited most, over all workers."""

import json
import signal
import socket
import threading
import time

from harness import eventually, timeout
from harness.message import request, response
from harness.tokens import claims, hmac_token
from harness.wait import PATIENCE

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


@timeout(90)
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


@timeout(90)
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


@timeout(90)
def test_refusals_without_a_bucket_are_told_too(t):
    gateway, upstream = t.pair({**LIMITED, "identity": {"jwt": {"secrets": [SECRET]}, "failures": {"minute": 1}},
                                "tiers": {"anonymous": {"hour": 1000}}})
    bad = [("Authorization", "Bearer a.b.c")]
    assert spend(gateway, 4, "/", bad) == 3
    clients = top(gateway)["clients"]
    assert [(client["key"], client["window"], client["denied"]) for client in clients] == [("ip:127.0.0.1", "failures", 3)]


@timeout(90)
def test_keys_of_users_are_texts_like_any(t):
    """What a user's id may hold does not break the JSON, and no token stands in it."""
    gateway, upstream = t.pair(LIMITED)
    user = '"}]<script>alert(1)</script>\\\u2028é'
    assert spend(gateway, 4, "/", as_user(user)) == 1
    answer = gateway.admin("/api/top").body.decode()
    (client,) = json.loads(answer)["clients"]
    assert client["key"].startswith("user:%22%7D%5D%3Cscript%3E") and "<" not in answer
    assert as_user(user)[0][1].split()[1] not in answer


@timeout(90)
def test_only_with_the_token(t):
    gateway, upstream = t.pair({**LIMITED, "admin": {"token": "sesame"}})
    assert gateway.admin("/api/top").status == 401
    assert top(gateway, fields=[("Authorization", "Bearer sesame")])["clients"] == []


# /api/events


class Stream:
    """One who watches: events as they come."""

    def __init__(self, gateway, fields=()):
        self.socket = socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=PATIENCE)
        self.socket.sendall(request("GET", "/api/events", fields, host=f"127.0.0.1:{gateway.admin_port}"))
        self.file = self.socket.makefile("rb")
        head = iter(lambda: self.file.readline().strip(), b"")
        self.status = int(next(head).split()[1])
        self.fields = [line.decode().lower() for line in head]

    def event(self):
        """(type, data) of the next one; None at the end of the stream."""
        name, data = "message", None
        for line in self.file:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = json.loads(value)
            elif data is not None:
                return name, data
        return None

    def until(self, wanted):
        """The first event that is as wanted."""
        end = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < end:
            name, data = self.event() or ("end of the stream", None)
            assert name == "message", (name, data)
            if wanted(data):
                return data
        raise AssertionError(f"no such event, the last was {data}")

    def close(self):
        self.file.close()
        self.socket.close()


@timeout(90)
def test_events_tell_what_happens(t):
    gateway, upstream = t.pair({**LIMITED, "workers": 2})
    stream = Stream(gateway)
    assert stream.status == 200 and "content-type: text/event-stream" in stream.fields
    name, first = stream.event()
    assert name == "message" and first["requests_total"] == 0 and first["clients"] == []
    assert first["store"] == {"mode": "memory", "redis": None} and first["state"] == "serving" and first["workers"] == 2
    assert spend(gateway, 12) == 10
    seen = stream.until(lambda event: event["requests_total"] == 12)
    assert seen["denied_total"] == 10 and seen["clients"][0]["denied"] == 10
    assert [endpoint["requests"] for endpoint in seen["endpoints"]] == [2]
    # All twelve may not have come within one interval.
    assert seen["denied_per_second"]["anonymous"] > 0 and seen["decisions_per_second"]["denied"] > 0
    assert seen["requests_per_second"] > 0 and seen["duration_ms"]["p50"] is not None
    calm = stream.until(lambda event: event["requests_per_second"] == 0)
    assert calm["requests_total"] == 12 and calm["denied_per_second"]["anonymous"] == 0
    stream.close()


@timeout(90)
def test_events_tell_an_outage_and_its_end(t):
    redis = t.redis()
    gateway = t.gateway({"redis": {"url": redis.url}}, t.upstream())
    stream = Stream(gateway)
    assert stream.until(lambda event: event["store"]["mode"] == "redis")["store"]["redis"]["up"] is True
    began = time.time()
    redis.kill()
    away = stream.until(lambda event: event["store"]["mode"] == "fallback")["store"]["redis"]
    assert away["up"] is False and away["reason"] and began - 1 <= away["since_ms"] / 1000 <= time.time() + 1
    redis.start()
    assert stream.until(lambda event: event["store"]["mode"] == "redis")["store"]["redis"]["reason"] is None
    stream.close()


@timeout(90)
def test_events_end_with_a_drain_and_do_not_delay_it(t):
    gateway, upstream = t.pair({"drain_timeout": "60s"})
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    stream = Stream(gateway)
    stream.event()
    client = gateway.client()
    client.send(request("GET", "/in-flight"))
    upstream.wait_requests(1)
    gateway.terminate()
    events = list(iter(stream.event, None))
    assert events[-1] == ("end", {"reason": "draining"})
    assert Stream(gateway).status == 503
    watching = [socket.create_connection(("127.0.0.1", gateway.admin_port)) for _ in range(3)]
    gate.set()
    assert client.response().status == 200
    assert gateway.process.wait(PATIENCE) == 0


@timeout(90)
def test_events_end_at_once_with_an_idle_gateway(t):
    gateway, upstream = t.pair({"drain_timeout": "60s"})
    streams = [Stream(gateway) for _ in range(5)]
    for stream in streams:
        stream.event()
    gateway.terminate()
    assert gateway.process.wait(PATIENCE) == 0
    for stream in streams:
        assert list(iter(stream.event, None))[-1][0] == "end"


@timeout(90)
def test_events_need_the_token_and_end_with_it(t):
    gateway, upstream = t.pair({"admin": {"token": "before"}})
    assert Stream(gateway).status == 401
    stream = Stream(gateway, [("Authorization", "Bearer before")])
    assert stream.event()[0] == "message"
    gateway.write_config({"admin": {"token": "after"}})
    gateway.process.signal(signal.SIGHUP)
    assert list(iter(stream.event, None))[-1] == ("end", {"reason": "token"})


@timeout(90)
def test_no_more_watch_than_may(t):
    gateway, upstream = t.pair()
    streams = [Stream(gateway) for _ in range(16)]
    assert {stream.status for stream in streams} == {200}
    assert Stream(gateway).status == 503
    assert gateway.admin("/healthz").status == 200
    streams.pop().close()
    eventually(lambda: Stream(gateway).status == 200, "no room after one has left")
    for stream in streams:
        stream.close()

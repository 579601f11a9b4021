# SPDX-License-Identifier: MIT
"""Who is asking: forged addresses, API keys, tokens, front-ends that have authenticated, and secrets that leak nowhere."""

import json
import os
import threading
import time

from harness import cases, eventually, timeout
from harness.checks import own_answer
from harness.message import request
from harness.redis_load import UNHURRIED, sound
from harness.redis_proxy import ScriptedRedis
from harness.tokens import Signer, claims, digest, encode, hmac_token
from harness.watch import Watch

SECRET = "functional-secret-of-at-least-32-bytes"
STRANGER = "127.0.0.9"  # a peer that is not in trusted_proxies
PROXY = {"allow": [], "client_ip": {"trusted_proxies": ["127.0.0.1"]}}
LARGE = {
    "anonymous": {"minute": 1000},
    "free": {"minute": 2000},
    "pro": {"minute": 3000},
    "team": {"minute": 4000},
}


def keys_file(t, keys):
    """A keys file of {key: (user, tier)}."""
    path = t.directory / "keys.yaml"
    lines = []
    for key, (user, tier) in keys.items():
        lines.append(f"- sha256: {digest(key)}\n  user: {json.dumps(user)}\n")
        if tier:
            lines.append(f"  tier: {tier}\n")
    path.write_text("".join(lines) or "[]\n")
    return str(path)


def config(identity, **more):
    return {"allow": [], "tiers": LARGE, "identity": identity, **more}


def who(gateway, *fields, source=None, path="/"):
    """Status and the access log's client, user and tier for a request with these fields."""
    tag = f"{path}?{os.urandom(6).hex()}"
    answer = gateway.get(tag, fields, **({"source": source} if source else {}))
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    return answer.status, record["client_ip"], record["user"], record["tier"]


def buckets(redis):
    """The buckets' keys; the probe's, which ends by itself, is none."""
    return [key for key in redis.keys("ratelimit:*") if not key.startswith("ratelimit:probe:")]


def bearer(token):
    return ("Authorization", f"Bearer {token}")


# The client's address.


@cases(
    {
        "one entry": ({}, [("X-Forwarded-For", "203.0.113.7")], "203.0.113.7"),
        "forged on the left": ({}, [("X-Forwarded-For", "6.6.6.6, 203.0.113.7")], "203.0.113.7"),
        "two lines": ({}, [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7, 127.0.0.1")], "203.0.113.7"),
        "ipv6 with port": ({}, [("X-Forwarded-For", "[2001:db8::1]:443")], "2001:db8::1"),
        "mapped": ({}, [("X-Forwarded-For", "::ffff:203.0.113.7")], "203.0.113.7"),
        "junk": ({}, [("X-Forwarded-For", "unknown")], "127.0.0.1"),
        "hops": ({"hops": 2}, [("X-Forwarded-For", "6.6.6.6, 203.0.113.7, 198.51.100.1")], "203.0.113.7"),
        "short chain": ({"hops": 2}, [("X-Forwarded-For", "203.0.113.7")], "127.0.0.1"),
        "forwarded": ({"header": "Forwarded"}, [("Forwarded", 'for=6.6.6.6, for="[2001:db8::7]:1";proto=https')], "2001:db8::7"),
        "open quote": ({"header": "Forwarded"}, [("Forwarded", 'for="6.6.6.6, for=203.0.113.7')], "203.0.113.7"),
        "real ip": ({"header": "X-Real-IP"}, [("X-Real-IP", "203.0.113.7"), ("X-Forwarded-For", "6.6.6.6")], "203.0.113.7"),
        "cloudflare": ({"header": "CF-Connecting-IP"}, [("CF-Connecting-IP", "203.0.113.7")], "203.0.113.7"),
    }
)
def test_address_from_a_trusted_peer(t, changes, fields, expected):
    gateway, upstream = t.pair({"allow": [], "client_ip": {"trusted_proxies": ["127.0.0.1"], **changes}})
    assert who(gateway, *fields)[1] == expected
    assert who(gateway, *fields, source=STRANGER)[1] == STRANGER, "a stranger's fields are not believed"


def test_forged_addresses_do_not_mint_buckets(t):
    redis = t.redis()
    gateway, upstream = t.pair({**PROXY, "redis": {"url": redis.url, "timeout": UNHURRIED}, "tiers": {"anonymous": {"hour": 10}}})
    client = gateway.client(source=STRANGER)
    statuses = [
        client.exchange(request("GET", "/", [("X-Forwarded-For", f"203.0.113.{n}"), ("Forwarded", f"for=203.0.113.{n}")])).status
        for n in range(40)
    ]
    assert statuses == [200] * 10 + [429] * 30
    assert buckets(redis) == [f"ratelimit:ip:{STRANGER}:hour"]
    assert all(list(message.all("x-forwarded-for")) == [STRANGER] for message in upstream.requests)
    assert not any(message.has("forwarded") for message in upstream.requests)
    gateway.wait_log(f"X-Forwarded-For from {STRANGER} is not believed", count=1)
    assert len(gateway.log_lines("is not believed")) == 1
    assert gateway.metrics().total("client_ip_untrusted_forwarding_total") == 40


def test_short_chains_are_told_and_counted(t):
    gateway, upstream = t.pair({"allow": [], "client_ip": {"trusted_proxies": ["127.0.0.1"], "hops": 3}})
    for _ in range(3):
        gateway.get("/", [("X-Forwarded-For", "203.0.113.7")])
    gateway.wait_log("shorter than client_ip.hops (3)")
    assert len(gateway.log_lines("shorter than")) == 1
    assert gateway.metrics().total("client_ip_short_chains_total") == 3


def test_prefixes_share_a_bucket(t):
    gateway, upstream = t.pair({**PROXY, "client_ip": {"trusted_proxies": ["127.0.0.1"], "ipv4_prefix": 24}})
    remaining = []
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:3::1", "203.0.113.1", "203.0.113.99", "203.0.114.1"):
        remaining.append(gateway.get("/", [("X-Forwarded-For", address)]).one("x-ratelimit-remaining"))
    assert remaining == ["9", "8", "9", "9", "8", "9"]


# API keys.


def test_keys_of_the_file(t):
    path = keys_file(t, {"key-of-alice": ("alice", "pro"), "key-of-bob": ("b ob|1", None), "key-of-carol": ("carol", "no-such")})
    gateway, upstream = t.pair(config({"api_key": {"keys_file": path}}))
    assert who(gateway, ("X-API-Key", "key-of-alice"))[2:] == ("alice", "pro")
    assert who(gateway, bearer("key-of-alice"))[2:] == ("alice", "pro")
    assert who(gateway, ("X-API-Key", "key-of-bob"))[2:] == ("b%20ob%7C1", "free")
    assert who(gateway, ("X-API-Key", "key-of-carol"))[2:] == ("carol", "free")
    assert who(gateway, ("X-API-Key", "key-of-mallory"))[2:] == (None, "anonymous")
    assert who(gateway, ("X-API-Key", "nobody"), bearer("key-of-alice"))[2:] == ("alice", "pro"), "the first that verifies"
    assert who(gateway, ("Authorization", "Basic a2V5LW9mLWFsaWNl"))[2:] == (None, "anonymous")
    answer = gateway.get("/", [("X-API-Key", "key-of-alice")])
    assert (answer.one("x-ratelimit-tier"), answer.one("x-ratelimit-limit")) == ("pro", "3000")
    assert upstream.requests[-1].one("x-api-key") == "key-of-alice", "the upstream sees the key as it came"


def test_keys_file_is_read_again(t):
    path = keys_file(t, {"old-key": ("alice", "pro")})
    gateway, upstream = t.pair(config({"api_key": {"keys_file": path}}))
    assert who(gateway, ("X-API-Key", "old-key"))[2] == "alice"
    keys_file(t, {"new-key": ("alice", "team")})
    gateway.reload()
    assert who(gateway, ("X-API-Key", "new-key"))[2:] == ("alice", "team")
    assert who(gateway, ("X-API-Key", "old-key"))[2] is None


def test_no_key_source_is_told_once_and_no_failure(t):
    gateway, upstream = t.pair({"allow": [], "tiers": LARGE})
    for n in range(40):
        assert gateway.get("/", [("X-API-Key", f"key-{n}")]).status == 200
    assert len(gateway.wait_log("API keys are presented but no keys_file or redis_lookup is set: charged as anonymous")) == 1
    assert gateway.metrics().total("identity_failures_total") == 0


def test_keys_in_redis(t):
    redis = t.redis()
    identity = {"api_key": {"redis_lookup": True, "cache": "3s"}}
    gateway, upstream = t.pair(config(identity, redis={"url": redis.url, "timeout": UNHURRIED}))
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-alice')}", "user", "alice", "tier", "team")
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-bob')}", "user", "bob")
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-nobody')}", "tier", "team")
    redis.command("SET", f"kamiyo-apikey:{digest('key-of-string')}", "text")
    assert who(gateway, ("X-API-Key", "key-of-alice"))[2:] == ("alice", "team")
    for key in ("key-of-nobody", "key-of-string", "key-of-mallory"):
        assert who(gateway, ("X-API-Key", key))[2:] == (None, "anonymous"), key
    assert gateway.metrics().total("identity_failures_total") == 3
    assert who(gateway, bearer("key-of-bob"))[2:] == ("bob", "free")
    redis.command("DEL", f"kamiyo-apikey:{digest('key-of-bob')}")
    assert who(gateway, bearer("key-of-bob"))[2] == "bob", "remembered"
    eventually(lambda: who(gateway, bearer("key-of-bob"))[2] is None, "the key still counts")


def test_exempt_requests_look_nothing_up(t):
    redis = t.redis()
    settings = config({"api_key": {"redis_lookup": True}}, redis={"url": redis.url, "timeout": UNHURRIED})
    settings["routes"] = [{"path": "/free", "limit": "none"}]
    gateway, upstream = t.pair(settings)
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-alice')}", "user", "alice", "tier", "team")
    before = redis.command("INFO", "commandstats").count("cmdstat_hmget")
    assert gateway.get("/free", [("X-API-Key", "key-of-alice")]).status == 200
    assert gateway.last_access(decision="exempt")["user"] is None
    assert redis.command("INFO", "commandstats").count("cmdstat_hmget") == before
    assert who(gateway, ("X-API-Key", "key-of-alice"))[2] == "alice"
    gateway.get("/free", [("X-API-Key", "key-of-alice")])
    assert gateway.last_access(decision="exempt", user="alice"), "what is known still counts"


def test_known_keys_outlive_redis(t):
    redis = t.redis()
    identity = {"api_key": {"redis_lookup": True, "cache": "1s"}}
    gateway, upstream = t.pair(config(identity, redis={"url": redis.url, "timeout": UNHURRIED}))
    redis.command("HSET", f"kamiyo-apikey:{digest('key-of-alice')}", "user", "alice", "tier", "team")
    assert who(gateway, ("X-API-Key", "key-of-alice"))[2] == "alice"
    redis.kill()
    gateway.wait_log("falling back to in-memory")
    time.sleep(1.2)
    for _ in range(5):
        assert who(gateway, ("X-API-Key", "key-of-alice"))[2:] == ("alice", "team"), "served beyond its time"
        assert who(gateway, ("X-API-Key", "key-of-bob"))[2] is None
    assert gateway.metrics().total("identity_failures_total") == 0, "nothing is known about them"


def test_look_up_and_decision_share_one_timeout(t):
    looked_up = threading.Event()

    def reply(arguments):
        if arguments[0] == b"HMGET":
            looked_up.set()
            time.sleep(0.5)  # of the one second; the decision, which is never answered, has the other half
            return b"*2\r\n$5\r\nalice\r\n$4\r\nteam\r\n"
        return None if looked_up.is_set() else sound(arguments)

    store = ScriptedRedis(reply)
    t.defer(store.close)
    options = {"url": store.url, "timeout": "1s", "connect_timeout": "10s"}
    gateway, upstream = t.pair(config({"api_key": {"redis_lookup": True}}, redis=options))
    with Watch(gateway, 0.9) as watch:
        assert who(gateway, ("X-API-Key", "key-of-alice"))[2:] == ("alice", "team")
    record = gateway.last_access(user="alice")
    assert record["mode"] == "fallback" and record["duration_ms"] < 1090 + 1000 * watch.starved(), record


@timeout(60)
def test_ten_thousand_random_keys_mint_nothing(t):
    redis = t.redis()
    identity = {"api_key": {"redis_lookup": True}}
    gateway, upstream = t.pair(
        {"allow": [], "identity": identity, "redis": {"url": redis.url, "timeout": UNHURRIED}, "tiers": {"anonymous": {"hour": 20}}}
    )
    client = gateway.client()
    admitted = 0
    for n in range(10000):
        answer = client.exchange(request("GET", "/", [("X-API-Key", f"random-{n}-{os.urandom(8).hex()}")]))
        admitted += answer.status == 200
        if n == 9999:
            body = own_answer(answer, 429)
    assert admitted == 20
    assert body["window"] == "failures" and body["limit"] == 30 and body["retry_after_seconds"] >= 1
    assert not answer.has("x-ratelimit-limit") and not answer.has("ratelimit") and answer.has("retry-after")
    assert buckets(redis) == ["ratelimit:ip:127.0.0.1:hour"], redis.keys()
    assert len(redis.keys()) <= 2
    assert gateway.metrics().total("store_keys") <= 3


def test_spent_failures_spare_whom_they_know(t):
    path = keys_file(t, {"key-of-alice": ("alice", "pro"), "key-of-bob": ("bob", "pro")})
    gateway, upstream = t.pair(config({"api_key": {"keys_file": path}, "failures": {"hour": 5}}))
    assert gateway.get("/", [("X-API-Key", "key-of-alice")]).status == 200
    statuses = [gateway.get("/", [("X-API-Key", f"wrong-{n}")]).status for n in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    assert gateway.get("/", [("X-API-Key", "key-of-alice")]).status == 200, "remembered as valid"
    assert gateway.get("/", [("X-API-Key", "key-of-bob")]).status == 429, "not remembered, so not looked at"
    assert gateway.get("/").status == 200, "without a key there is nothing to refuse"
    assert gateway.get("/", [("X-API-Key", "key-of-bob")], source=STRANGER).status == 200, "another address"
    record = gateway.wait_access(4, where=lambda line: line["status"] == 429)[0]
    assert record["decision"] == "denied" and record["user"] is None


# Tokens.


def test_tokens_by_secrets(t):
    identity = {"jwt": {"secrets": [SECRET, "the-previous-secret-of-32-bytes-or-so"], "algorithms": ["HS256", "HS512"]}}
    gateway, upstream = t.pair(config(identity))
    assert who(gateway, bearer(hmac_token(SECRET, claims(tier="pro"))))[2:] == ("alice", "pro")
    assert who(gateway, bearer(hmac_token("the-previous-secret-of-32-bytes-or-so", claims())))[2:] == ("alice", "free")
    assert who(gateway, bearer(hmac_token(SECRET, claims("bob", "team"), "HS512")))[2:] == ("bob", "team")
    assert who(gateway, bearer(hmac_token(SECRET, claims(4711))))[2] == "4711"
    assert gateway.metrics().total("identity_failures_total") == 0


def unsigned(payload, algorithm="none"):
    return encode({"alg": algorithm}) + "." + encode(payload) + "."


@cases(
    {
        "expired": hmac_token(SECRET, claims(seconds=-31)),
        "not yet": hmac_token(SECRET, claims(nbf=4102444800)),
        "other secret": hmac_token("x" * 32, claims()),
        "unlisted algorithm": hmac_token(SECRET, claims(), "HS384"),
        "none": unsigned(claims()),
        "none with letters": unsigned(claims(), "nOnE"),
        "no signature": unsigned(claims(), "HS256"),
        "critical": hmac_token(SECRET, claims(), header={"alg": "HS256", "crit": ["exp"]}),
        "issuer": hmac_token(SECRET, claims(iss="somebody", aud="kamiyo")),
        "audience": hmac_token(SECRET, claims(iss="issuer", aud=["else"])),
        "no user": hmac_token(SECRET, {"iss": "issuer", "aud": "kamiyo"}),
        "twice": hmac_token(SECRET, '{"sub":"alice","sub":"root","iss":"issuer","aud":"kamiyo"}'),
        "deep": hmac_token(SECRET, '{"sub":"a","iss":"issuer","aud":"kamiyo","x":' + "[" * 2000 + "]" * 2000 + "}"),
    }
)
def test_bad_token_is_anonymous_and_a_failure(t, token):
    identity = {"jwt": {"secrets": [SECRET], "issuer": "issuer", "audience": "kamiyo"}}
    gateway, upstream = t.shared(config(identity))
    before = gateway.metrics().total("identity_failures_total")
    assert who(gateway, bearer(token))[::2] == (200, None)
    assert gateway.metrics().total("identity_failures_total") == before + 1
    good = hmac_token(SECRET, claims(iss="issuer", aud=["x", "kamiyo"]))
    assert who(gateway, bearer(good))[2] == "alice"


@cases({"RS256": "RS256", "ES256": "ES256", "EdDSA": "EdDSA"})
def test_tokens_by_public_keys(t, algorithm):
    signer, other = Signer(t.directory, algorithm), Signer(t.directory, algorithm, "other")
    identity = {"jwt": {"public_keys": [str(signer.public)], "algorithms": [algorithm, "HS256"], "secrets": [SECRET]}}
    gateway, upstream = t.pair(config(identity))
    for n in range(4):
        assert who(gateway, bearer(signer.token(claims(f"user{n}", "pro"))))[2:] == (f"user{n}", "pro")
    assert who(gateway, bearer(other.token(claims())))[2] is None
    public = signer.public.read_text()
    assert who(gateway, bearer(hmac_token(public, claims())))[2] is None, "a public key is no secret"
    assert who(gateway, bearer(hmac_token(SECRET, claims(), header={"alg": algorithm})))[2] is None
    assert gateway.metrics().total("identity_failures_total") == 3


def test_token_that_expires_while_it_is_remembered(t):
    identity = {"jwt": {"secrets": [SECRET], "leeway": "1ms"}}
    gateway, upstream = t.pair(config(identity))
    token = bearer(hmac_token(SECRET, claims(seconds=4)))
    assert who(gateway, token)[2] == "alice"
    eventually(lambda: who(gateway, token)[2] is None, "the token still counts")


def test_token_is_never_a_key(t):
    redis = t.redis()
    gateway, upstream = t.pair(config({"api_key": {"redis_lookup": True}}, redis={"url": redis.url, "timeout": UNHURRIED}))
    token = hmac_token(SECRET, claims())
    redis.command("HSET", f"kamiyo-apikey:{digest(token)}", "user", "mallory", "tier", "team")
    assert who(gateway, bearer(token))[2] is None
    assert gateway.metrics().total("identity_failures_total") == 0, "no secret is configured"


# A front-end that has authenticated.


def test_front_end_names_the_user(t):
    identity = {"header": {"user": "X-Auth-User", "tier": "X-Auth-Tier"}}
    gateway, upstream = t.pair({**config(identity), "client_ip": {"trusted_proxies": ["127.0.0.1"]}})
    fields = [("X-Auth-User", "da ve"), ("X-Auth-Tier", "team")]
    assert who(gateway, *fields)[2:] == ("da%20ve", "team")
    assert upstream.requests[-1].one("x-auth-user") == "da ve"
    assert who(gateway, *fields, source=STRANGER)[2:] == (None, "anonymous")
    assert not upstream.requests[-1].has("x-auth-user") and not upstream.requests[-1].has("x-auth-tier")
    assert who(gateway, ("X-Auth-User", "dave"), ("X-Auth-User", "root"))[2] is None, "two fields: nobody knows whose"


# Secrets.


def test_secrets_are_found_nowhere(t):
    secrets = {
        "file key": "kmy_file_5f1c0de5ec4e7",
        "redis key": "kmy_redis_77aa0de5ec4e7",
        "wrong key": "kmy_wrong_c0ffee0de5ec",
        "jwt secret": SECRET,
        "token": hmac_token(SECRET, claims("carol", "pro")),
        "forged token": hmac_token("y" * 32, claims("mallory")),
        "admin token": "admin_token_0de5ec4e7",
    }
    redis = t.redis()
    path = keys_file(t, {secrets["file key"]: ("alice", "pro")})
    identity = {
        "api_key": {"keys_file": path, "redis_lookup": True},
        "jwt": {"secrets": ["${JWT_SECRET}"]},
        "failures": {"hour": 4},
    }
    gateway = t.gateway(
        config(identity, redis={"url": redis.url, "timeout": UNHURRIED}, log={"level": "debug"}, admin={"token": "${ADMIN_TOKEN}"}),
        t.upstream(),
        env={"JWT_SECRET": SECRET, "ADMIN_TOKEN": secrets["admin token"]},
    )
    redis.command("HSET", f"kamiyo-apikey:{digest(secrets['redis key'])}", "user", "bob", "tier", "team")
    answers = []
    for name in ("file key", "redis key", "wrong key"):
        for fields in ([("X-API-Key", secrets[name])], [bearer(secrets[name])]):
            answers += [gateway.get(f"/?api_key={secrets[name]}&token={secrets['token']}", fields) for _ in range(3)]
    for name in ("token", "forged token"):
        answers += [gateway.get("/", [bearer(secrets[name])]) for _ in range(3)]
    assert {answer.status for answer in answers} == {200, 429}
    authorized = [("Authorization", f"Bearer {secrets['admin token']}")]
    pages = [gateway.admin(target, fields=authorized) for target in ("/metrics", "/api/status", "/api/top", "/api/buckets/user:alice")]
    gateway.wait_access(len(answers))
    stored = json.dumps([[key, str(redis.command("TYPE", key)), str(redis.command("DUMP", key))] for key in redis.keys()])
    texts = {
        "answers": b"".join(answer.raw_head for answer in answers).decode("latin-1"),
        "admin pages": "".join(page.raw_head.decode("latin-1") + page.body.decode("latin-1") for page in pages),
        "bodies": "".join(answer.body.decode("latin-1") for answer in answers),
        "log": gateway.stderr() + gateway.process.stdout(),
        "access log": gateway.access_path.read_text(),
        "redis": stored,
        "command line": open(f"/proc/{gateway.process.pid}/cmdline", encoding="latin-1").read(),
    }
    assert "DEBUG" in texts["log"], "the log was to be at debug level"
    for where, text in texts.items():
        for name, secret in secrets.items():
            for part in {secret, secret.split(".")[-1]}:
                assert part not in text, f"the {name} stands in the {where}"

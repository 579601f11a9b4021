# SPDX-License-Identifier: MIT
"""REDIS_URL in every form: what cannot be used is one warning and no shared buckets, and never shows its password."""

import json
import subprocess

from harness import cases
from harness.process import gateway_binary
from harness.redis_load import AWAY, BACKEND, UNHURRIED

SECRET = "S3CRET"
UNUSABLE = [
    "http://localhost", "localhost:6379", "redis", "://", "redis:/localhost", "redis:localhost", "memcached://x", "redis+sentinel://h",
    "redis://", "redis://:6379", "redis://localhost:notaport", "redis://localhost:0", "redis://localhost:65536", "redis://localhost:-1",
    "redis://localhost:6379:6380", "redis://localhost:6379/x", "redis://localhost:6379/-1", "redis://localhost:6379/99999999999",
    "redis://localhost:6379/1/2", "redis://localhost:6379?x=1", "redis://localhost:6379/0?timeout=5", "redis://localhost:6379/#frag",
    "redis://[::1", "redis://[::1]x:6379", "redis://[zz::1]:6379", "redis://host name:6379", "redis://" + "h" * 300, "redis://ho\tst",
    "redis://localhost:6379\n", "redis://localhost:6379 ", " redis://localhost:6379", "unix://", "unix:relative", "unix://relative/path",
    "unix:///" + "x" * 120, "rediss+unix:///x", f"redis://:{SECRET}%zz@localhost", f"redis://:{SECRET}%4@localhost", f"redis://u%00:{SECRET}@localhost",
    f"redis://u:{SECRET}%00@localhost", f"redis://user:{SECRET}@:99999", f"redis://:{SECRET}@localhost:port", f"redis://{SECRET}@localhost:70000",
    f"redis://u:{SECRET}@loc alhost", f"redis://u:{SECRET}/x@localhost", f"redis://u:{SECRET}#x@localhost", f"redis://u:{SECRET}\n@localhost",
]
STARTED = {"no scheme": UNUSABLE[1], "no host": "redis://", "no IPv6 address": "redis://[zz::1]:6379", "a line end": f"redis://:{SECRET}@localhost:6379\n",
           "a line end in the password": f"redis://u:{SECRET}\n@localhost", "a parameter": "redis://localhost:6379?x=1"}


def test_check_refuses_each(t):
    gateway = t.gateway({}, t.upstream(), start=False)
    for url in UNUSABLE:
        for form in ("text", "json"):
            done = subprocess.run([gateway_binary(), "check", "--format", form, "--config", gateway.config_path],
                                  env={"REDIS_URL": url}, capture_output=True, text=True, timeout=60)
            said = done.stdout + done.stderr
            assert done.returncode == 1, (url, done.returncode, said)
            assert SECRET not in said and "redis.url" in said, (url, said)
            if form == "json":
                json.loads(done.stdout)


@cases(STARTED)
def test_run_says_so_once_and_serves(t, url):
    gateway = t.gateway({"allow": []}, t.upstream(), env={"REDIS_URL": url})
    assert len(gateway.log_lines(AWAY)) == len(gateway.log_lines(AWAY + "invalid REDIS_URL: ")) == 1, gateway.stderr()
    assert gateway.log_lines("(Redis: False)") and not gateway.log_lines(BACKEND)
    answers = [gateway.get("/") for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [429]
    assert {record["mode"] for record in gateway.wait_access(11)} <= {"memory", "cached"}
    shown = gateway.stderr() + gateway.admin("/metrics").body.decode() + gateway.admin("/api/status").body.decode()
    assert SECRET not in shown


USABLE = {"plain": "redis://127.0.0.1:{port}", "a slash": "redis://127.0.0.1:{port}/", "a database": "redis://127.0.0.1:{port}/15",
          "valkey": "valkey://127.0.0.1:{port}", "an empty password": "redis://:@127.0.0.1:{port}",
          "encoded": "redis://l%69m:p%40s%3As%2Fw%23r%3Fd%25@127.0.0.1:{port}/2", "a name": "redis://localhost:{port}"}


@cases(USABLE)
def test_usable(t, url):
    redis = t.redis()
    redis.command("ACL", "SETUSER", "lim", "on", ">p@s:s/w#r?d%", "~*", "+@all")
    gateway = t.gateway({"allow": [], "redis": {"timeout": UNHURRIED}}, t.upstream(), env={"REDIS_URL": url.format(port=redis.port)})
    assert gateway.log_lines("(Redis: True)"), gateway.stderr()
    assert gateway.get("/").status == 200
    assert gateway.wait_access(1)[0]["mode"] == "redis"


REVOKED = {
    "another password": ("ACL SETUSER lim resetpass >other", "ACL SETUSER lim >S3CRET"),
    "switched off": ("ACL SETUSER lim off", "ACL SETUSER lim on"),
    "deleted": ("ACL DELUSER lim", "ACL SETUSER lim on >S3CRET ~* +@all"),
    "no scripts": ("ACL SETUSER lim -evalsha -eval", "ACL SETUSER lim +@all"),
    "no keys of ours": ("ACL SETUSER lim resetkeys ~other:*", "ACL SETUSER lim allkeys"),
}


@cases(REVOKED)
def test_a_user_that_is_taken_away_while_it_runs(t, revoke, restore):
    redis = t.redis()
    redis.command("ACL", "SETUSER", "lim", "on", ">" + SECRET, "~*", "+@all")
    gateway, upstream = t.pair({"allow": [], "redis": {"url": f"redis://lim:{SECRET}@127.0.0.1:{redis.port}", "timeout": UNHURRIED},
                                "tiers": {"anonymous": {"day": 1000}}})
    client = gateway.client()

    def ask(times):
        for _ in range(times):
            assert client.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n").status == 200

    ask(3)
    redis.command(*revoke.split())
    if "resetpass" in revoke or "off" in revoke:
        redis.command("CLIENT", "KILL", "USER", "lim")
    ask(20)
    assert gateway.wait_log(AWAY)[0].split(AWAY)[1].startswith(("authentication failed", "connection closed"))
    assert gateway.metrics().total("redis_up") == 0
    redis.command(*restore.split())
    gateway.wait_log(BACKEND, count=2)
    ask(1)
    assert gateway.wait_access(24)[-1]["mode"] == "redis"
    assert len(gateway.log_lines(AWAY)) == 1 and gateway.metrics().total("redis_up") == 1
    assert SECRET not in gateway.stderr() + gateway.admin("/metrics").body.decode() + gateway.admin("/api/status").body.decode()

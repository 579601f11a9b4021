# SPDX-License-Identifier: MIT
"""The commands beside `run`, as a person or a script calls them."""

import json
import subprocess

from harness import cases
from harness.process import free_port, gateway_binary
from harness.wait import PATIENCE


def run(*arguments, environment=None, cwd=None, stdin=None):
    return subprocess.run(
        [str(gateway_binary()), *map(str, arguments)], env={"PATH": "/usr/bin:/bin", **(environment or {})}, cwd=cwd, timeout=60,
        capture_output=True, text=True, check=False, input=stdin,
    )


def test_init_makes_what_check_likes(t):
    path = t.directory / "made.yaml"
    result = run("init", path)
    assert result.returncode == 0, result
    assert run("init").stdout == path.read_text(), "to a file and to stdout is the same"
    result = run("check", "--config", path)
    assert result.returncode == 0 and "0 warnings" in result.stdout, result
    result = run("init", path)
    assert result.returncode == 1 and "exists" in result.stderr, result


def test_check_as_json(t):
    path = t.directory / "bad.yaml"
    path.write_text("workers: many\n")
    result = run("check", "--config", path, "--format", "json")
    assert result.returncode == 1, result
    said = json.loads(result.stdout)
    assert said["ok"] is False and said["errors"] == 1, said
    item = said["items"][0]
    assert (item["file"], item["line"], item["column"], item["key"]) == (str(path), 1, 10, "workers"), item


def test_check_names_the_variable(t):
    result = run("check", environment={"PORT": "http", "WORKERS": "-3"}, cwd=t.directory)
    assert result.returncode == 1, result
    assert "environment variable PORT: listen: " in result.stdout, result
    assert "environment variable WORKERS: workers: " in result.stdout, result


def test_check_refuses_a_redis_url_that_run_forgives(t):
    result = run("check", environment={"REDIS_URL": "redis://:hunter2@host:port"}, cwd=t.directory)
    assert result.returncode == 1 and "redis.url" in result.stdout, result
    assert "hunter2" not in result.stdout + result.stderr, result


def test_check_online(t):
    upstream, redis = t.upstream(), t.redis()
    result = run("check", "--online", "--upstream", upstream.url, "--redis", redis.url, cwd=t.directory)
    assert result.returncode == 0, result
    assert "upstream http://" in result.stdout and "redis redis://" in result.stdout, result
    gone = free_port()
    result = run("check", "--online", "--upstream", f"127.0.0.1:{gone}", "--redis", f"redis://127.0.0.1:{gone}", cwd=t.directory)
    assert result.returncode == 1, result
    assert "redis.url: " in result.stdout and "connection refused" in result.stdout and "upstream.url: " in result.stdout, result


@cases({"a command": ("chek", 'did you mean "check"'), "an option": ("check --onlin", "did you mean --online"),
        "a key": ("help redis.timout", 'did you mean "redis.timeout"')})
def test_nearest_name(t, arguments, part):
    result = run(*arguments.split())
    assert result.returncode == 2 and part in result.stderr, result


@cases({"key": ("redis.timeout", "default 50ms"), "section": ("client", "client.max_body"), "command": ("check", "--format"),
        "all keys": ("keys", "routes[].cost_from")})
def test_help_explains(t, word, part):
    result = run("help", word)
    assert result.returncode == 0 and part in result.stdout, result


def test_explain(t):
    path = t.directory / "gateway.yaml"
    (t.directory / "secret").write_text("X-API-Key: hunter2\nHost: api\n")
    path.write_text("client_ip: {trusted_proxies: [10.0.0.0/8]}\ndeny: [192.0.2.0/24]\n"
                    "routes:\n- {path: /free, limit: none}\n- {name: w, path: /w/*, cost: 3, tiers: {anonymous: {minute: 30}}}\n")
    result = run("explain", "GET", "/x", "--ip", "10.1.1.1", "-H", "X-Forwarded-For: 203.0.113.7", "--config", path)
    assert result.returncode == 0 and "ratelimit:ip:203.0.113.7:minute" in result.stdout, result
    assert "X-RateLimit-Remaining: 9" in result.stdout, result
    result = run("explain", "POST /w/1", "--config", path)
    assert "ratelimit:ip:127.0.0.1:w:minute" in result.stdout and "27 left" in result.stdout, result
    assert "not limited" in run("explain", "/free", "--config", path).stdout
    assert "403" in run("explain", "/x", "--ip", "192.0.2.9", "--config", path).stdout
    assert "400" in run("explain", "GET", "/a b", "--config", path).stdout
    result = run("explain", "/x", "-H", f"@{t.directory / 'secret'}", "--config", path)
    assert "1 key" in result.stdout and "hunter2" not in result.stdout + result.stderr, result
    assert run("explain", "--config", path).returncode == 2
    assert run("explain", "/x", "--ip", "nobody", "--config", path).returncode == 2


def test_replay_tells_what_the_gateway_did(t):
    """The gateway's own log, replayed through its own policy, refuses as many as it did."""
    log = t.directory / "access.log"
    gateway, _ = t.pair({"allow": [], "tiers": {"anonymous": {"minute": 5}}, "log": {"access": {"file": str(log)}}})
    statuses = [gateway.get("/x").status for _ in range(12)]
    assert gateway.get("/_gateway/health").status == 200  # the gateway's own page meets no limit, nor in a replay
    gateway.terminate()
    gateway.process.wait(PATIENCE)
    result = run("replay", "--log", log, "--config", gateway.config_path)
    assert result.returncode == 0, result
    row = next(line.split() for line in result.stdout.splitlines() if line.startswith("all"))
    assert row[1:4] == [str(statuses.count(200)), str(statuses.count(429)), "0"], result
    wider = t.directory / "wider.yaml"
    wider.write_text("tiers: {anonymous: {minute: 50}}\n")
    result = run("replay", "--log", "-", "--config", wider, stdin=log.read_text())
    assert "refused:" not in result.stdout and " 0.00%" in result.stdout, result


@cases({"every address": "0.0.0.0", "a unix path": "unix"})
def test_healthcheck_finds_the_listener(t, kind):
    upstream = t.upstream()
    gateway = t.gateway({}, upstream, start=False)
    listen = f"unix:{t.directory / 'g.sock'}" if kind == "unix" else f"{kind}:{gateway.port}"
    gateway.write_config({"listen": [listen]})
    gateway.start()
    gateway.wait_listening(1)
    result = run("healthcheck", "--config", gateway.config_path)
    assert result.returncode == 0, result
    assert upstream.requests == []

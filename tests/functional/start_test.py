# SPDX-License-Identifier: MIT
"""The start: log lines, a port in use, wrong configurations, the environment, unix listeners, commands."""

import json
import re
import signal
import subprocess

from harness import cases, eventually
from harness.client import Client
from harness.message import request
from harness.process import free_port, gateway_binary
from harness.redis_proxy import listen
from harness.wait import PATIENCE

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) - \S.*\Z")


def run(*arguments, env=None, cwd=None, timeout=60):
    environment = {"PATH": "/usr/bin:/bin", **(env or {})}
    return subprocess.run(
        [str(gateway_binary()), *map(str, arguments)], env=environment, cwd=cwd, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def test_log_lines_at_the_start(t):
    gateway, upstream = t.pair()
    lines = gateway.stderr().splitlines()
    for line in lines:
        assert LINE.match(line), line
    text = [line.split(" ", 1)[1] for line in lines]
    assert "INFO - Rate limiting middleware enabled (Redis: False)" in text, text
    assert f"INFO - Listening on 127.0.0.1:{gateway.port}" in text, text
    assert not [line for line in text if line.startswith(("WARNING", "ERROR"))], text
    assert text.index("INFO - Rate limiting middleware enabled (Redis: False)") < text.index(f"INFO - Listening on 127.0.0.1:{gateway.port}")


def test_json_log_lines(t):
    upstream = t.upstream()
    gateway = t.gateway({"log": {"format": "json"}}, upstream, start=False)
    gateway.start(wait=False)
    eventually(lambda: "Listening on" in gateway.stderr(), lambda: gateway.stderr())
    for line in gateway.stderr().splitlines():
        record = json.loads(line)
        assert list(record) == ["time", "level", "message"], record


def test_port_in_use_is_one_clear_line(t):
    gateway, upstream = t.pair()
    second = t.gateway({"listen": f"127.0.0.1:{gateway.port}"}, upstream, start=False)
    second.expected_status = 1
    second.start(wait=False)
    assert second.process.wait(PATIENCE) == 1, second.stderr()
    errors = second.log_lines("ERROR") or [line for line in second.stderr().splitlines() if "in use" in line]
    assert len(errors) == 1 and str(gateway.port) in errors[0] and "in use" in errors[0], second.stderr()
    assert gateway.get("/").status == 200


def test_port_in_use_by_another_program(t):
    sock = listen()
    t.defer(sock.close)
    gateway = t.gateway({"listen": f"127.0.0.1:{sock.getsockname()[1]}"}, "http://127.0.0.1:1", start=False)
    gateway.expected_status = 1
    gateway.start(wait=False)
    assert gateway.process.wait(PATIENCE) == 1 and "in use" in gateway.stderr()


def test_wrong_configuration_starts_nothing(t):
    gateway = t.gateway({"lisen": "x", "client": {"max_body": "much", "idle_timeout": 5}}, "http://127.0.0.1:1", start=False)
    gateway.expected_status = 1
    gateway.start(wait=False)
    assert gateway.process.wait(PATIENCE) == 1, gateway.stderr()
    text = gateway.stderr()
    assert "lisen" in text and "max_body" in text and "idle_timeout" in text, "not all errors at once:\n" + text
    assert "listen" in text, "no nearest name"
    assert "Listening on" not in text


def test_check_finds_all_and_exits_1(t):
    path = t.directory / "bad.yaml"
    path.write_text("lisen: x\nclient:\n  max_body: much\n  max_headers: 5\n  max_headers: 6\nupstream: {url: 'ftp://x'}\n")
    result = run("check", "--config", path)
    assert result.returncode == 1, result
    text = result.stdout + result.stderr
    for place in ("bad.yaml:1:1", "bad.yaml:3:", "bad.yaml:5:", "bad.yaml:6:"):
        assert place in text, text
    assert "^" in text


def test_check_of_a_good_file_exits_0(t):
    path = t.directory / "good.yaml"
    path.write_text("listen: 127.0.0.1:10000\nupstream: {url: 'http://127.0.0.1:8000'}\n")
    result = run("check", "--config", path)
    assert result.returncode == 0, result


@cases({"unknown command": ["frobnicate"], "unknown option": ["run", "--frob"], "option without value": ["run", "--config"]})
def test_wrong_usage_exits_2(t, arguments):
    result = run(*arguments)
    assert result.returncode == 2 and result.stderr, result


@cases({"version": ["version"], "help": ["help"], "--help": ["--help"], "--version": ["--version"]})
def test_informative_commands(t, arguments):
    result = run(*arguments)
    assert result.returncode == 0 and "kamiyo-gateway" in result.stdout, result


def test_environment_alone_is_enough(t):
    upstream = t.upstream()
    port = free_port()
    environment = {"PORT": str(port), "UPSTREAM_URL": upstream.url, "PATH": "/usr/bin:/bin", "REDIS_URL": "", "WORKERS": "1"}
    process = t.process(["/usr/bin/env", "-i", "-C", t.directory, *(f"{k}={v}" for k, v in environment.items()), gateway_binary()], "alone")
    eventually(lambda: f"INFO - Listening on 0.0.0.0:{port}" in process.stderr(), lambda: process.stderr())
    answer = Client(("127.0.0.1", port)).exchange(request("GET", "/"))
    assert answer.status == 200 and answer.one("x-ratelimit-limit") == "10", answer
    process.signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_flags_override_the_file(t):
    wrong, right = t.upstream(), t.upstream()
    gateway = t.gateway({}, wrong, arguments=["--upstream", right.url, "--log-level", "debug"])
    assert gateway.get("/").status == 200
    assert len(right.requests) == 1 and wrong.requests == []


def test_unix_listener(t):
    path = str(t.directory / "gateway.sock")
    upstream = t.upstream()
    gateway = t.gateway({"listen": f"unix:{path}", "workers": 2, "allow": ["127.0.0.0/8"], "tiers": {"anonymous": {"day": 1000}}}, upstream)
    for _ in range(5):
        client = gateway.client(address=path)
        answer = client.exchange(request("GET", "/"))
        assert answer.status == 200 and answer.one("x-ratelimit-limit") == "1000", answer
        client.close()


def test_several_listeners(t):
    upstream = t.upstream()
    second = free_port()
    path = str(t.directory / "gateway.sock")
    gateway = t.gateway({}, upstream, start=False)
    gateway.write_config({"listen": [f"127.0.0.1:{gateway.port}", f"127.0.0.1:{second}", f"unix:{path}"]})
    gateway.start()
    gateway.wait_listening(3)
    for address in (gateway.address, ("127.0.0.1", second), path):
        assert gateway.client(address=address).exchange(request("GET", "/")).status == 200


def test_healthcheck_command(t):
    gateway, upstream = t.pair()
    result = run("healthcheck", "--config", gateway.config_path)
    assert result.returncode == 0, result
    gateway.terminate()
    gateway.process.wait(PATIENCE)
    result = run("healthcheck", "--config", gateway.config_path)
    assert result.returncode != 0, result
    assert upstream.requests == []


def test_gateway_health_on_the_main_listener(t):
    gateway, upstream = t.pair()
    assert gateway.get("/_gateway/health").status == 200
    assert upstream.requests == []
    assert gateway.get("/_gateway/other").status == 200, "only health is the gateway's own"
    assert upstream.requests[0].target == "/_gateway/other"


def test_admin_basics(t):
    gateway, upstream = t.pair()
    gateway.get("/")
    assert gateway.admin("/healthz").status == 200
    status = json.loads(gateway.admin("/api/status").body)
    for key in ("version", "upstream", "workers"):
        assert key in status, status
    metrics = gateway.metrics()
    assert metrics.has("build_info") and metrics.has("redis_up"), sorted({name for name, _ in metrics})
    assert metrics.total("requests_total", status="200") == 1
    assert gateway.admin("/no-such-page").status == 404


def test_workers_share_the_listener(t):
    gateway, upstream = t.pair({"workers": 4})
    for _ in range(40):
        assert gateway.get("/").status == 200
    assert gateway.metrics().total("requests_total") == 40


NAMES = ["requests_total", "decisions_total", "request_duration_seconds_bucket", "limit_duration_seconds_bucket",
         "upstream_duration_seconds_bucket", "connections", "upstream_errors_total", "upstream_retries_total", "redis_up",
         "redis_errors_total", "redis_commands_total", "redis_round_trip_seconds_bucket", "store_keys", "store_bytes",
         "config_reloads_total", "access_log_dropped_total", "build_info"]


def test_every_metric_of_the_contract_is_there(t):
    redis = t.redis()
    upstream = t.upstream()
    gateway = t.gateway({"redis": {"url": redis.url}, "allow": []}, upstream)
    gateway.get("/")
    upstream.reply = lambda message, connection: False
    gateway.get("/")
    redis.kill()
    gateway.get("/")
    gateway.reload()
    text = gateway.admin("/metrics").body.decode()
    metrics = gateway.metrics()
    missing = [name for name in NAMES if not metrics.has(name) and f"# TYPE kamiyo_gateway_{name.removesuffix('_bucket')}" not in text]
    assert not missing, missing
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert "127.0.0.1" not in line and "/exploits" not in line, line


def test_histograms_add_up(t):
    gateway, upstream = t.pair()
    for _ in range(7):
        gateway.get("/")
    metrics = gateway.metrics()
    for name in ("request_duration_seconds", "upstream_duration_seconds"):
        counts = [value for (key, labels), value in metrics.items() if key == name + "_bucket" and ("le", "+Inf") in labels]
        assert sum(counts) == metrics.total(name + "_count") == 7, (name, counts)
        bounds = sorted(value for (key, labels), value in metrics.items() if key == name + "_bucket")
        assert bounds[-1] == 7 and metrics.total(name + "_sum") > 0

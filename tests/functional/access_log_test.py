# SPDX-License-Identifier: MIT
"""The access log: one line a request, its members, masked secrets, whole lines whatever happens."""

import json
import os
import re
import threading
import time

from harness import cases, eventually
from harness.message import request, response
from harness.watch import Watch

MEMBERS = ["time", "request_id", "client_ip", "method", "path", "status", "bytes_in", "bytes_out", "duration_ms", "upstream_ms",
           "retries", "limit_ms", "tier", "user", "route", "decision", "mode", "remaining", "user_agent", "reason"]


def test_every_member_is_there(t):
    gateway, upstream = t.shared()
    answer = gateway.get("/log?a=b", ["User-Agent: test/1.0 (x)"])
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert set(MEMBERS) <= set(record), set(MEMBERS) - set(record)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z", record["time"]), record
    assert (record["client_ip"], record["method"], record["status"]) == ("127.0.0.1", "GET", 200)
    assert record["path"] == "/log?a=b" and record["user_agent"] == "test/1.0 (x)"
    assert record["retries"] == 0 and record["upstream_ms"] is not None and record["duration_ms"] >= record["upstream_ms"]
    assert not record["reason"], record


def test_it_is_written_within_100_ms(t):
    gateway, upstream = t.shared()
    with Watch(gateway, 0.0, 0.25):
        answer = gateway.get("/")
        gateway.last_access(request_id=answer.one("x-request-id"))


def test_durations_are_those_of_the_exchange(t):
    gateway, upstream = t.shared()
    upstream.reply = lambda message, connection: (time.sleep(0.3), response(200, [], b"ok"))[1]
    with Watch(gateway, 0.3) as watch:
        answer = gateway.get("/")
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    longest = 500 + 1000 * watch.starved()
    assert 280 <= record["upstream_ms"] <= longest and 280 <= record["duration_ms"] <= longest, record


def test_bytes_are_counted(t):
    gateway, upstream = t.shared()
    upstream.reply = response(200, [], b"y" * 5000)
    answer = gateway.exchange(request("POST", "/", body=b"x" * 3000))
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert 3000 <= record["bytes_in"] < 4000 and 5000 <= record["bytes_out"] < 6000, record


SECRETS = {
    "token": "/ws?token=S3CRET&chains=eth",
    "api_key": "/a?x=1&api_key=S3CRET",
    "key": "/a?key=S3CRET#".rstrip("#"),
    "secret": "/a?secret=S3CRET&y=2",
    "signature": "/a?signature=S3CRET",
    "twice": "/a?token=S3CRET&token=S3CRET",
    "in capitals": "/a?TOKEN=S3CRET",
    "percent-encoded name": "/a?%74oken=S3CRET",
}


@cases(SECRETS)
def test_secrets_in_the_query_are_masked(t, target):
    gateway, upstream = t.shared()
    answer = gateway.get(target, ["X-API-Key: S3CRET", "Authorization: Bearer S3CRET", "Cookie: a=S3CRET"])
    assert answer.status == 200 and upstream.requests[0].target == target
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert "S3CRET" not in json.dumps(record), record
    if "chains" in target:
        assert "chains=eth" in record["path"], record
    assert "S3CRET" not in gateway.stderr()


ODD = {
    "quote": 'a"b', "backslash": "a\\b", "tab": "a\tb", "high byte": "caf\xe9", "broken UTF-8": "\xff\xfe\xc3", "UTF-8": "caf\xc3\xa9",
    "script": "</script><script>", "braces": '{"status": 500}', "long": "x" * 20_000, "line separator": "\xe2\x80\xa8",
}


@cases(ODD)
def test_odd_values_stay_in_their_string(t, value):
    gateway, upstream = t.shared()
    answer = gateway.get("/odd", [("User-Agent", value)])
    record = gateway.last_access(request_id=answer.one("x-request-id"))
    assert record["status"] == 200 and isinstance(record["user_agent"], str)
    raw = gateway.access_path.read_bytes()
    raw.decode("utf-8")


def test_lines_of_several_workers_do_not_interleave(t):
    gateway, upstream = t.pair({"workers": 4})

    def load():
        client = gateway.client()
        for n in range(100):
            client.exchange(request("GET", "/" + "p" * 900, [("User-Agent", "u" * 900)]))

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = gateway.wait_access(600)
    assert len({record["request_id"] for record in records}) == 600


def test_full_pipe_drops_whole_lines_and_stops_nobody(t):
    upstream = t.upstream()
    read_end, write_end = os.pipe()
    t.defer(os.close, read_end)
    gateway = t.gateway({"log": {"access": {"file": f"/dev/fd/{write_end}"}}}, upstream, start=False)
    gateway.write_config({"log": {"access": {"enabled": True, "file": ""}}})
    gateway.preexec = lambda: os.dup2(write_end, 1)
    gateway.start()
    os.close(write_end)
    client = gateway.client()
    total = 3000
    for _ in range(total):
        assert client.exchange(request("GET", "/" + "p" * 1000)).status == 200
    eventually(lambda: gateway.metrics().total("access_log_dropped_total") > 0, "nothing was dropped")
    dropped = gateway.metrics().total("access_log_dropped_total")
    os.set_blocking(read_end, False)
    data = b""
    while True:
        try:
            piece = os.read(read_end, 65536)
        except BlockingIOError:
            break
        if not piece:
            break
        data += piece
    lines = data.split(b"\n")
    whole = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == b"", "a part of a line"
    assert len(whole) + dropped <= total and whole


def test_combined_format(t):
    gateway, upstream = t.pair({"log": {"access": {"format": "combined"}}})
    gateway.get("/c?token=S3CRET", ["User-Agent: ua", "Referer: http://r.test/"])
    eventually(lambda: gateway.access_path.exists() and gateway.access_path.read_text(), "no line")
    line = gateway.access_path.read_text().splitlines()[0]
    pattern = r'127\.0\.0\.1 - \S+ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /c\?token=\S* HTTP/1\.1" 200 \d+ "http://r\.test/" "ua"'
    assert re.match(pattern, line) and "S3CRET" not in line, line


def test_switched_off_means_no_line(t):
    gateway, upstream = t.pair({"log": {"access": {"enabled": False}}})
    gateway.get("/")
    time.sleep(0.3)
    assert gateway.access() == []


def test_denied_requests_are_logged_whatever_the_sample(t):
    gateway, upstream = t.pair({"log": {"access": {"sample": 0.0}}, "allow": [], "tiers": {"anonymous": {"day": 5}}})
    for _ in range(12):
        gateway.get("/")
    eventually(lambda: len(gateway.access()) >= 7, "denials are missing")
    time.sleep(0.2)
    records = gateway.access()
    assert [record["status"] for record in records] == [429] * 7, records
    assert all(record["decision"] == "denied" and record["upstream_ms"] is None for record in records)

# SPDX-License-Identifier: MIT
"""SIGHUP: a good file takes effect and loses nothing, a bad one changes nothing. SIGUSR1: log files."""

import os
import signal
import threading
import time

from harness import cases, eventually, slow, timeout
from harness.checks import own_answer
from harness.message import request, response


def test_reload_takes_effect(t):
    gateway, upstream = t.pair({"client": {"max_body": "1KiB"}})
    own_answer(gateway.exchange(request("POST", "/", body=b"x" * 2000)), 413)
    gateway.write_config({"client": {"max_body": "1MiB"}})
    gateway.reload()
    assert gateway.exchange(request("POST", "/", body=b"x" * 2000)).status == 200
    gateway.write_config({"deny": ["127.0.0.0/8"]})
    gateway.reload()
    own_answer(gateway.get("/"), 403)


def test_broken_file_changes_nothing(t):
    gateway, upstream = t.pair()
    gateway.write_config(text="listen: [unclosed\n")
    gateway.reload(expect="failure")
    assert gateway.get("/").status == 200
    gateway.wait_log("ERROR")
    gateway.write_config(text="no_such_key: 1\nclient: {max_body: much}\n")
    gateway.reload(expect="failure")
    assert gateway.get("/").status == 200
    assert "no_such_key" in gateway.stderr() and "max_body" in gateway.stderr()
    gateway.write_config({"deny": ["127.0.0.0/8"]})
    gateway.reload()
    own_answer(gateway.get("/"), 403)


def test_admin_token_is_changed_by_a_reload(t):
    """But the token of another address waits for the restart with it: it may be none."""
    gateway, upstream = t.pair({"admin": {"token": "before"}})

    def status(token):
        return gateway.admin("/api/status", fields=[("Authorization", f"Bearer {token}")]).status

    def reload(admin, count):
        gateway.write_config({"admin": admin})
        gateway.process.signal(signal.SIGHUP)
        gateway.wait_log("Configuration reloaded", count=count)

    here = gateway.config["admin"]["listen"]
    assert (status("before"), status("after")) == (200, 401)
    reload({"listen": here, "token": "after"}, 1)
    assert (status("before"), status("after")) == (401, 200)
    for count in (2, 3):  # the second time nothing changes any more, and still it listens elsewhere
        reload({"listen": "127.0.0.1:1", "token": ""}, count)
        assert (status(""), status("after")) == (401, 200)
    gateway.wait_log("admin.listen is changed in the configuration: takes effect after a restart", count=1)
    reload({"listen": here, "token": ""}, 4)
    assert status("") == 200


def test_request_in_flight_keeps_what_it_began_with(t):
    gateway, upstream = t.pair()
    gate = threading.Event()
    upstream.reply = lambda message, connection: (gate.wait(), response(200, [], b"ok"))[1]
    client = gateway.client()
    client.send(request("GET", "/in-flight"))
    upstream.wait_requests(1)
    gateway.write_config({"deny": ["127.0.0.0/8"]})
    gateway.reload()
    gate.set()
    assert client.response().status == 200
    own_answer(client.exchange(request("GET", "/after")), 403)


@cases({"more allowed": (5, 200, 2, 60, 200), "fewer allowed": (1000, 5, 600, 20, 431)})
def test_head_that_arrives_across_a_reload(t, before, after, early, late, status):
    """Its fields are counted by the new limit; what was read of them was kept for the old one."""
    gateway, upstream = t.pair({"client": {"max_headers": before}})
    client = gateway.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    client.wait_read()
    client.send(b"X-A: b\r\n" * early)
    client.wait_read()
    gateway.write_config({"client": {"max_headers": after}})
    gateway.reload()
    eventually(lambda: gateway.get("/", [("X-A", "b")] * 6).status == status, "the limit has not changed")
    client.send(b"X-A: b\r\n" * late + b"\r\n")
    assert client.response().status == status


def test_connections_outlive_a_reload(t):
    gateway, upstream = t.pair()
    client = gateway.client()
    for _ in range(3):
        assert client.exchange(request("GET", "/")).status == 200
        gateway.reload()
    assert client.exchange(request("GET", "/")).status == 200


def test_buckets_outlive_a_reload(t):
    gateway, upstream = t.pair({"allow": [], "tiers": {"anonymous": {"day": 5}}})
    for _ in range(3):
        assert gateway.get("/").status == 200
    gateway.reload()
    assert gateway.get("/").one("x-ratelimit-remaining") == "1"
    gateway.write_config({"tiers": {"anonymous": {"day": 7}}})
    gateway.reload()
    answer = gateway.get("/")
    assert (answer.one("x-ratelimit-limit"), answer.one("x-ratelimit-remaining")) == ("7", "2"), answer


def under_reloads(t, total, reloads):
    gateway, upstream = t.pair({"workers": 2})
    upstream.record = False
    done, bad = [], []
    lock = threading.Lock()

    def load(count):
        client = gateway.client(record=False)
        for n in range(count):
            try:
                if n % 50 == 49:
                    client.close()
                    client = gateway.client(record=False)
                method = "POST" if n % 3 == 0 else "GET"
                answer = client.exchange(request(method, "/", body=b"x" * 100 if method == "POST" else None))
                if answer.status != 200:
                    bad.append(answer)
            except Exception as error:
                bad.append(error)
                client = gateway.client(record=False)
            with lock:
                done.append(1)

    threads = [threading.Thread(target=load, args=(total // 8,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for n in range(1, reloads + 1):
        eventually(lambda: len(done) > total * n // (reloads + 1), "the load stalled", 120)
        gateway.write_config({"client": {"max_body": f"{n}MiB"}})
        gateway.reload()
    for thread in threads:
        thread.join()
    assert not bad, (len(bad), bad[:3])
    assert len(done) == len(upstream.requests) == total // 8 * 8
    gateway.wait_access(total // 8 * 8)


@timeout(40)
def test_reloads_under_load_lose_nothing(t):
    under_reloads(t, 1600, 3)


@slow
@timeout(180)
def test_10000_requests_under_three_reloads(t):
    under_reloads(t, 10_000, 3)


def test_usr1_reopens_the_access_log(t):
    gateway, upstream = t.pair()
    gateway.get("/one")
    gateway.wait_access(1)
    moved = str(gateway.access_path) + ".1"
    os.rename(gateway.access_path, moved)
    gateway.process.signal(signal.SIGUSR1)
    eventually(lambda: gateway.log_lines("INFO - Log files reopened"), "the log was not opened anew")
    gateway.get("/two")
    assert [record["path"] for record in gateway.wait_access(1)] == ["/two"]
    assert "/two" not in open(moved).read()


def test_usr1_says_what_cannot_be_reopened_and_keeps_it(t):
    gateway, upstream = t.pair()
    gateway.get("/one")
    gateway.wait_access(1)
    moved = f"{gateway.access_path}.1"
    os.rename(gateway.access_path, moved)
    os.mkdir(gateway.access_path)  # nobody can write to it, not even root
    gateway.process.signal(signal.SIGUSR1)
    eventually(lambda: gateway.log_lines(f"ERROR - Not reopened: access log {gateway.access_path}: Is a directory"), "no word of it")
    os.rmdir(gateway.access_path)
    gateway.get("/two")
    eventually(lambda: "/two" in open(moved).read(), "the old file was not kept")
    assert not gateway.log_lines("Log files reopened")


def test_many_reloads_leak_nothing(t):
    gateway, upstream = t.pair()
    for _ in range(10):
        gateway.reload()
    fds = gateway.process.fd_count()
    for _ in range(30):
        gateway.reload()
    eventually(lambda: gateway.process.fd_count() <= fds + 1, lambda: f"{gateway.process.fd_count()} of {fds} descriptors")
    assert gateway.get("/").status == 200

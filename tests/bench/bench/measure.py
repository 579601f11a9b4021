# SPDX-License-Identifier: MIT
"""Taking the figures: CPU a request in interleaved rounds, system calls, memory."""
import re
import resource
import signal
import socket
import statistics
import subprocess
import time

from .machine import LOAD_CPU, cpu_share_of_others


def wrk(port, path, seconds, connections, script=None, cpu=LOAD_CPU):
    """Requests done and how many were neither 2xx nor 3xx."""
    command = ["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if script:
        command += ["-s", script]
    output = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True,
                            timeout=seconds + 30, check=True).stdout
    done = int(re.search(r"(\d+) requests in", output).group(1))
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: (.*)", output)
    return done, int(other.group(1)) if other else 0, broken.group(1) if broken else ""


def load_seconds(bench):
    """CPU time of the load's CPU: of what runs there, and of the wrk that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + sum(p.cpu_seconds() for p in bench.started if p.cpu == LOAD_CPU)


class TimedOut(RuntimeError):
    pass


def round_of(bench, name, process, case, script, seconds):
    """CPU microseconds of the proxy for each request in one go, how busy both CPUs were, and what others took."""
    with cpu_share_of_others(bench.started) as others:
        cpu, load = process.cpu_seconds(), load_seconds(bench)
        done, other, broken = wrk(process.port, case.path, seconds, case.connections, script)
        cpu, load = process.cpu_seconds() - cpu, load_seconds(bench) - load
    wrong = done - other if case.status >= 400 else other
    if re.fullmatch(r"connect 0, read 0, write 0, timeout \d+", broken) and wrong <= 2:
        raise TimedOut(f"{case.name}, {name}: {broken}")
    if broken or done == 0 or wrong > 2:
        raise RuntimeError(f"{case.name}, {name}: {done} requests, {wrong} with another status than {case.status}; {broken}")
    return {"us": cpu / done * 1e6, "per_second": done / seconds, "busy": cpu / seconds, "load_busy": load / seconds,
            "others": others.share}


def patient_round_of(bench, name, process, case, script, seconds, say):
    """A round in which wrk reports time-outs is run once more: it counts answers that came, by a clock that may be set."""
    try:
        return round_of(bench, name, process, case, script, seconds)
    except TimedOut as error:
        say(f"  once more: {error}")
        return round_of(bench, name, process, case, script, seconds)


def measure(bench, case, running, script, rounds, seconds, say):
    """{name: [rounds]}; the order alternates, so that a drift of the machine meets everyone alike."""
    results = {name: [] for name in running}
    for process in running.values():  # connections, caches, tables
        wrk(process.port, case.path, 1, case.connections, script)
    for index in range(rounds):
        names = list(running) if index % 2 == 0 else list(reversed(running))
        for name in names:
            results[name].append(patient_round_of(bench, name, running[name], case, script, seconds, say))
        say(f"  round {index + 1}: " + "  ".join(f"{n} {results[n][-1]['us']:.2f}" for n in running))
    return results


def summary(results):
    """Medians, and for each other proxy the median of the ratios within a round."""
    table = {}
    for name, rounds in results.items():
        table[name] = {key: statistics.median(r[key] for r in rounds)
                       for key in ("us", "per_second", "busy", "load_busy", "others")}
        if name != "gateway":
            table[name]["ratio"] = statistics.median(g["us"] / r["us"] for g, r in zip(results["gateway"], rounds))
    return table


def system_calls(process, path, requests=2000, fields=""):
    """System calls of all threads for each request, one in flight on a warm connection."""
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{fields}\r\n".encode()
    with socket.create_connection(("127.0.0.1", process.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask(times):
            for _ in range(times):
                s.sendall(request)
                data = s.recv(65536)
                while b"\r\n\r\n" not in data:
                    data += s.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1))
                while len(body) < length:
                    body += s.recv(65536)
        ask(50)
        pids = [argument for pid in process.pids() for argument in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", *pids], stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        ask(requests)
        tracer.send_signal(signal.SIGINT)
        report = tracer.communicate(timeout=20)[1]
    calls = {}
    for line in report.splitlines():
        found = re.match(r"\s*(\d+)\s+(\w+)\s*$", line)
        if found and found.group(2) != "total":
            calls[found.group(2)] = int(found.group(1))
    return sum(calls.values()) / requests, calls


def idle_bytes(process, count=5000):
    """User memory of the proxy for each idle keep-alive connection."""
    request = b"GET /_gateway/health HTTP/1.1\r\nHost: bench\r\n\r\n"
    held = []

    def hold(number):
        for _ in range(number):
            s = socket.create_connection(("127.0.0.1", process.port))
            s.sendall(request)
            s.recv(4096)
            held.append(s)
    hold(200)
    before = process.anonymous_bytes()
    hold(count)
    time.sleep(0.3)
    after = process.anonymous_bytes()
    for s in held:
        s.close()
    return (after - before) / count


def bucket_bytes(process, users=100_000, batch=100):
    """User memory of the proxy for each user who has been charged, with all windows of the tier."""
    def charge(first, count):
        s.sendall(b"".join(b"GET / HTTP/1.1\r\nHost: bench\r\nX-User: user-%06d\r\n\r\n" % n for n in range(first, first + count)))
        answered, end = 0, b""
        while answered < count:
            data = end + s.recv(262144)
            answered += data.count(b"HTTP/1.1 200")
            end = data[-11:]  # a status line may be cut; a whole one is a byte longer
    with socket.create_connection(("127.0.0.1", process.port)) as s:
        for _ in range(20):
            charge(0, batch)
        before = process.anonymous_bytes()
        for first in range(batch, users + batch, batch):
            charge(first, batch)
        return (process.anonymous_bytes() - before) / users

# SPDX-License-Identifier: MIT
"""What workers share: CPU a request of two workers in one process, of two processes with one worker each.

Both stand on the same two CPUs, a worker pinned to each, under the same load: on each CPU an upstream worker and two wrk,
one for either process (or both for the one port that two workers share). So a worker has the same company, the same
number of connections and the same traffic between the CPUs in both; what differs is what the workers of one process
have in common. The load shares these CPUs: there is no third.
"""
import os
import re
import subprocess
import time

from . import cases, measure, proxies
from .machine import CPUS, cpu_share_of_others

CONNECTIONS = 32  # of each wrk, of which there are four
PAIR = CPUS[:2]


def pin_workers(process):
    """The n-th worker's thread to the n-th CPU; the others, which are idle, stay where they are."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/comm") as name:
            found = re.match(r"worker-(\d+)$", name.read().strip())
        if found:
            os.sched_setaffinity(int(task), {PAIR[int(found.group(1)) % 2]})


def pin_upstream(process):
    """nginx's two workers, which it starts after it listens."""
    end = time.monotonic() + 5
    while len(process.pids()) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    for cpu, pid in zip(PAIR, process.pids()[1:]):
        os.sched_setaffinity(pid, {cpu})


def load(ports, script, seconds):
    """Requests done by four wrk: from each CPU one to each port."""
    running = [subprocess.Popen(["taskset", "-c", str(cpu), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
                                 f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True)
               for cpu in PAIR for port in ports]
    outputs = [process.communicate(timeout=seconds + 30)[0] for process in running]
    done = 0
    for output in outputs:
        if "Non-2xx" in output or not re.search(r"\d+ requests in", output):
            raise RuntimeError(f"workers: {output}")
        done += int(re.search(r"(\d+) requests in", output).group(1))
    return done


def round_of(bench, processes, ports, script, seconds):
    with cpu_share_of_others(bench.started) as others:
        cpu = sum(process.cpu_seconds() for process in processes)
        done = load(ports, script, seconds)
        cpu = sum(process.cpu_seconds() for process in processes) - cpu
    return {"us": cpu / done * 1e6, "per_second": done / seconds, "busy": cpu / seconds / 2, "load_busy": 0,
            "others": others.share}


def run(bench, rounds, seconds, say):
    both = ",".join(map(str, PAIR))
    upstream = proxies.upstream(bench, cpu=both, workers=2)
    pin_upstream(bench.started[0])
    script = bench.file("load.lua", cases.LUA_USERS % cases.USERS)
    two = proxies.gateway(bench, upstream, cases.TWO_WINDOWS, workers=2, cpu=both)
    single = [proxies.gateway(bench, upstream, cases.TWO_WINDOWS, workers=1, cpu=cpu) for cpu in PAIR]
    pin_workers(two)
    sides = {"gateway": ([two], [two.port] * 2), "one worker": (single, [process.port for process in single])}
    for _, ports in sides.values():
        load(ports, script, 1)
    results = {name: [] for name in sides}
    for index in range(rounds):
        for name in (list(sides) if index % 2 == 0 else reversed(sides)):
            results[name].append(round_of(bench, *sides[name], script, seconds))
        say(f"  round {index + 1}: " + "  ".join(f"{name} {rows[-1]['us']:.2f}" for name, rows in results.items()))
    return measure.summary(results)

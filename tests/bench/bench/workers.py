# SPDX-License-Identifier: MIT
"""What workers share: CPU a request of two workers in one process, of two processes with one worker each.

Both stand on the same two CPUs, a worker pinned to each, under the same load: on each CPU an upstream worker and one
closed_loop.c, whose one loop holds as many connections to the worker on its own CPU as to the other. So a worker has
the same company, the same connections and the same traffic between the CPUs in both; what differs is what the workers
of one process have in common. The load shares these CPUs: there is no third.

Two things would make the sides unequal though the workers shared nothing:

- The scheduler gives sessions equal shares (sched_autogroup). A session with a worker on each CPU has half the weight
  on either of what a session with a single worker has there, so its workers were preempted several times as often
  (0.5 a request beside 0.1). Hence everything here is of one session.
- A wrk for each process would keep its connections at one worker, where they travel in one batch; at a shared port the
  kernel spreads them over both, and not evenly. Hence a load that does not know which side it asks.

nginx is measured in the same way as a control: its workers are processes, which share nothing to speak of, so what its
ratio differs from 1 by is the error of this measure.
"""
import contextlib
import os
import re
import statistics
import subprocess
import time

from . import cases, measure, proxies
from .machine import CPUS, build_load, cpu_seconds_of, cpu_share_of_others

EACH = 32  # connections of each load to each worker
PAIR = CPUS[:2]


def pin_threads(process):
    """The gateway's n-th worker to the n-th CPU; the other threads, which are idle, stay where they are."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{task}/comm") as name:
            found = re.match(r"worker-(\d+)$", name.read().strip())
        if found:
            os.sched_setaffinity(int(task), {PAIR[int(found.group(1)) % 2]})


def pin_children(process):
    """nginx's two workers, which it starts after it listens."""
    end = time.monotonic() + 5
    while len(process.pids()) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    for cpu, pid in zip(PAIR, process.pids()[1:]):
        os.sched_setaffinity(pid, {cpu})


class Load:
    """A closed_loop on each CPU with its connections to one side, idle between the rounds."""

    def __init__(self, program, processes, milliseconds):
        self.processes = processes
        numbers = [str(number) for number in (EACH, milliseconds, *PAIR, *(process.port for process in processes))]
        self.running = [subprocess.Popen(["taskset", "-c", str(cpu), program, *numbers], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True) for cpu in PAIR]
        if not all(running.stdout.readline() == "ready\n" for running in self.running):
            raise RuntimeError("workers: closed_loop has not reached both workers")

    def ask(self):
        """Answers of one round."""
        for running in self.running:
            running.stdin.write("\n")
            running.stdin.flush()
        lines = [running.stdout.readline() for running in self.running]
        if not all(lines):
            raise RuntimeError("workers: closed_loop ended")
        return sum(map(int, lines))

    def cpu_seconds(self):
        return cpu_seconds_of([running.pid for running in self.running])

    def stop(self):
        for running in self.running:
            running.stdin.close()
            running.wait(10)


def round_of(bench, load, seconds):
    with cpu_share_of_others([*bench.started, load]) as others:
        cpu = sum(process.cpu_seconds() for process in load.processes)
        done = load.ask()
        cpu = sum(process.cpu_seconds() for process in load.processes) - cpu
    return {"us": cpu / done * 1e6, "per_second": done / seconds, "busy": cpu / seconds / 2, "load_busy": 0,
            "others": others.share}


def start(bench):
    """{side: its processes}, pinned."""
    bench.is_one_session = True
    both = ",".join(map(str, PAIR))
    upstream = proxies.upstream(bench, cpu=both, workers=2)
    pin_children(bench.started[0])
    two = proxies.gateway(bench, upstream, cases.TWO_WINDOWS, workers=2, cpu=both)
    control = proxies.nginx_proxy(bench, upstream, workers=2, cpu=both)
    sides = {"gateway": [two],
             "one worker": [proxies.gateway(bench, upstream, cases.TWO_WINDOWS, cpu=cpu) for cpu in PAIR],
             "control": [control],
             "one of control": [proxies.nginx_proxy(bench, upstream, cpu=cpu) for cpu in PAIR]}
    pin_threads(two)
    pin_children(control)
    return sides


def run(bench, rounds, seconds, say):
    """Of the gateway's two workers and of one, with the ratio of nginx's as `control`. Rounds of half the time: four sides."""
    program = build_load(bench.folder, "closed_loop")
    with contextlib.ExitStack() as ending:
        loads = {}
        for name, processes in start(bench).items():
            loads[name] = Load(program, processes, seconds * 500)
            ending.callback(loads[name].stop)
            loads[name].ask()
        results = {name: [] for name in loads}
        for index in range(rounds):
            for name in (list(loads) if index % 2 == 0 else reversed(loads)):
                results[name].append(round_of(bench, loads[name], seconds / 2))
            say(f"  round {index + 1}: " + "  ".join(f"{name} {rows[-1]['us']:.2f}" for name, rows in results.items()))
    control = statistics.median(two["us"] / one["us"] for two, one in zip(results.pop("control"), results.pop("one of control")))
    table = measure.summary(results)
    table["one worker"]["control"] = control
    return table

# SPDX-License-Identifier: MIT
"""Latency at a fixed rate, of the gateway, HAProxy and nginx, and of no proxy at all: the floor of the load side.

open_loop.c is both the clients and the upstream, in one thread on the load's CPU; the proxy has the other CPU. All of
them run under SCHED_FIFO where that is permitted, so that whatever else wants a CPU of the machine is no part of a
latency. Each round asks everyone the same plan of arrivals; the order alternates.
"""
import json
import statistics
import subprocess

from . import cases, proxies
from .machine import LOAD_CPU, build_load, set_realtime

CONNECTIONS = 128
FLOOR = "none"
KEYS = ("p50", "p99", "p999", "load_busy", "proxy_busy")
LOAD_LIMIT = 0.85  # of its CPU


class OpenLoop:
    """The running open_loop; ask() is one round."""

    def __init__(self, program, rate, seconds):
        self.process = subprocess.Popen(
            ["taskset", "-c", str(LOAD_CPU), program, str(CONNECTIONS), str(rate), str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def ask(self, port):
        self.process.stdin.write(f"{port}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"open_loop ended with {self.process.wait(5)}")
        return json.loads(line)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


def round_of(load, name, process):
    before = process.cpu_seconds() if process else 0
    result = load.ask(process.port if process else load.port)
    if result["errors"]:
        raise RuntimeError(f"rate, {name}: {result['errors']} of {result['sent']} requests without their answer")
    result["load_busy"] = result["cpu"] / result["seconds"]
    result["proxy_busy"] = (process.cpu_seconds() - before) / result["seconds"] if process else 0
    return result


def measure(bench, rate, rounds, seconds, say):
    """{name: medians}, the gateway's p99 of the better other's in `of_best`, and what limits the meaning of that."""
    program = build_load(bench.folder, "open_loop")
    load = OpenLoop(program, rate, seconds)
    try:
        running = {name: process for name, process in cases.plain(bench, load.port).items() if name != "relay"}
        is_realtime = all([set_realtime(pid) for process in running.values() for pid in process.pids()]
                          + [set_realtime(load.process.pid)])
        running = {FLOOR: None, **running}
        results = {name: [] for name in running}
        for index in range(rounds):
            for name in (list(running) if index % 2 == 0 else reversed(running)):
                results[name].append(round_of(load, name, running[name]))
            say(f"  round {index + 1}: p99 " + "  ".join(f"{name} {rows[-1]['p99']}" for name, rows in results.items()))
    finally:
        load.stop()
    return summary(results, rate, is_realtime)


def summary(results, rate, is_realtime):
    table = {name: {key: statistics.median(row[key] for row in rows) for key in KEYS} for name, rows in results.items()}
    best = min((name for name in table if name not in ("gateway", FLOOR)), key=lambda name: table[name]["p99"])
    busiest = max(row["load_busy"] for row in table.values())
    limits = []
    if busiest > LOAD_LIMIT:
        limits.append(f"the load's CPU was busy for {busiest:.0%}")
    if table[FLOOR]["p99"] > min(table["gateway"]["p99"], table[best]["p99"]) / 2:
        limits.append(f"without a proxy it is {table[FLOOR]['p99']:.0f} us already")
    if not is_realtime:
        limits.append("no right to SCHED_FIFO: other processes are part of the latencies")
    return {"rate": rate, "proxies": table, "best": best, "of_best": table["gateway"]["p99"] / table[best]["p99"],
            "limits": limits}

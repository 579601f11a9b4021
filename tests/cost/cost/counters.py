# SPDX-License-Identifier: MIT
"""Instructions of the worker's thread by callgrind, system calls of all threads by strace; both for requests only."""
import collections
import os
import pathlib
import re
import signal
import subprocess
import time

from . import peers

# glibc chooses its string functions by the CPU; these are what every x86-64 has, so that counts agree between machines.
BASELINE = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-SSE4_1,-SSE4_2,-SSSE3,-RTM,-LZCNT,-MOVBE"
SETTLE = 0.3  # what follows an answer: log lines leave 100 ms later at most
WARM_UP = 150


class Failed(Exception):
    pass


def wait_for_listening(process, port, seconds):
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        with open("/proc/net/tcp") as table:
            if f"0100007F:{port:04X} 00000000:0000 0A" in table.read():
                return
        time.sleep(0.05)
    raise Failed(f"{process.args[0]} does not listen on port {port}")


def start(command, port, log, environment=None, seconds=30):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env={**os.environ, **(environment or {})})
    try:
        wait_for_listening(process, port, seconds)
    except Failed:
        stop(process)
        raise
    return process


def stop(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ask(client, case, first, count):
    client.ask((case.request(number) for number in range(first, first + count)), case.status)


def warm_up(client, case):
    if case.status == 429:
        client.ask([case.request(0)], 200)
    ask(client, case, 0, WARM_UP)
    time.sleep(SETTLE)


def vgdb(process, *command):
    done = subprocess.run(["vgdb", "--wait=5", f"--pid={process.pid}", *command], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Failed(f"vgdb {' '.join(command)}: {done.stderr.strip()}")


def self_costs(path):
    """{function: instructions in it alone} of one thread's dump. The line after calls= is the callee's cost."""
    costs, function, is_call = collections.Counter(), None, False
    with open(path, encoding="utf-8", errors="replace") as dump:
        for line in dump:
            if line.startswith("fn="):
                function = line[3:].strip().split("'")[0]
            elif line.startswith("calls="):
                is_call = True
            elif function is not None and line[:1] in "0123456789+-*":
                if not is_call:
                    costs[re.sub(r"\.(constprop|isra|part|lto_priv|cold)\.?\d*", "", function)] += int(line.split()[1])
                is_call = False
    return costs


def instructions(binary, config, port, case, folder, log):
    """{function: instructions a request}, of the thread that has most: the one worker."""
    prefix = pathlib.Path(folder) / f"callgrind-{case.name}"
    process = start(["valgrind", "--tool=callgrind", "--separate-threads=yes", "--compress-strings=no", "--compress-pos=no",
                     f"--callgrind-out-file={prefix}", binary, "run", "--config", config], port, log,
                    {"GLIBC_TUNABLES": BASELINE}, 60)
    try:
        client = peers.Client(port)
        warm_up(client, case)
        vgdb(process, "zero")
        ask(client, case, WARM_UP, case.requests)
        time.sleep(SETTLE)
        vgdb(process, "dump")
        client.close()
    finally:
        stop(process)
    threads = [self_costs(path) for path in sorted(prefix.parent.glob(f"{prefix.name}.1-*"))]
    if not threads:
        raise Failed("callgrind has written nothing")
    worker = max(threads, key=lambda costs: sum(costs.values()))
    return {function: cost / case.requests for function, cost in worker.items()}


def system_calls(binary, config, port, case, log):
    """{system call: times a request}."""
    process = start([binary, "run", "--config", config], port, log)
    tracer = None
    try:
        client = peers.Client(port)
        warm_up(client, case)
        tracer = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-p", str(process.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        ask(client, case, WARM_UP, 2 * case.requests)
        tracer.send_signal(signal.SIGINT)
        report = tracer.communicate(timeout=20)[1]
        client.close()
    finally:
        if tracer is not None and tracer.poll() is None:
            tracer.kill()
            tracer.wait()
        stop(process)
    calls = {name: int(count) for count, name in re.findall(r"^\s*(\d+)\s+(\w+)\s*$", report, re.M) if name != "total"}
    if not calls:
        raise Failed(f"strace: {report.strip()}")
    return {name: count / (2 * case.requests) for name, count in calls.items()}

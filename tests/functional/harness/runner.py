# SPDX-License-Identifier: MIT
"""Finds the tests, runs several files at once, bounds each test, reports, leaves nothing behind."""

import argparse
import importlib
import json
import os
import queue
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness.cases import find_tests
from harness.process import gateway_binary

FOLDER = Path(__file__).resolve().parents[1]


class Suite:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.files = queue.Queue()
        self.results = []
        self.groups = set()
        self.stopping = False

    def find(self):
        """Queues {module: tests}, the files that take longest first."""
        found = []
        for path in sorted(FOLDER.glob("*_test.py")):
            tests = find_tests(path.stem, importlib.import_module(path.stem))
            chosen = [test for test in tests if self.wanted(test)]
            if chosen:
                found.append((path.stem, chosen))
        found.sort(key=lambda item: not getattr(sys.modules[item[0]], "RUNS_LONG", False))
        if self.options.shuffle is not None:
            order = random.Random(self.options.shuffle)
            order.shuffle(found)
            for _, tests in found:
                order.shuffle(tests)
        for item in found:
            self.files.put(item)
        return sum(len(tests) for _, tests in found)

    def wanted(self, test):
        if self.options.filter and not any(word in test.name for word in self.options.filter):
            return False
        return self.options.slow or not test.slow

    def run_slot(self):
        while not self.stopping:
            try:
                module, tests = self.files.get_nowait()
            except queue.Empty:
                return
            left = list(tests)
            while left and not self.stopping:
                left = self.run_file(module, left)

    def run_file(self, module, tests):
        """Runs them in one worker; returns what is left when a test had to be killed."""
        read_end, write_end = os.pipe()
        scratch = tempfile.mkdtemp(prefix="kamiyo-functional-")  # also of a worker that is killed
        environment = dict(os.environ, PYTHONPATH=str(FOLDER), TMPDIR=scratch)
        names = [test.name for test in tests]
        worker = subprocess.Popen(
            [sys.executable, "-m", "harness.worker", str(write_end), module, json.dumps(names)],
            pass_fds=(write_end,),
            env=environment,
            cwd=FOLDER,
        )
        os.close(write_end)
        with self.lock:
            self.groups.add(worker.pid)
        limits = {test.name: test.timeout * self.options.patience for test in tests}
        current, buffer, deadline = None, b"", time.monotonic() + 30
        done = set()
        while True:
            ready, _, _ = select.select([read_end], [], [], max(0.05, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                self.report(current or module, "failed", f"no end within {deadline - began:.0f} s\n" if current else "worker stuck\n", 0)
                done.add(current)
                current = None
                break
            data = os.read(read_end, 65536) if ready else None
            if data == b"":
                break
            buffer += data or b""
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                message = json.loads(line)
                if "start" in message:
                    current, began = message["start"], time.monotonic()
                    deadline = began + limits.get(current, 20)
                else:
                    done.add(message["done"])
                    current = None
                    deadline = time.monotonic() + 30
                    self.report(message["done"], message["outcome"], message["text"], message["seconds"])
        os.close(read_end)
        self.kill_group(worker)
        shutil.rmtree(scratch, ignore_errors=True)
        if current:
            self.report(current, "failed", f"the test's process died (exit {worker.returncode})\n", 0)
            done.add(current)
        left = [test for test in tests if test.name not in done]
        return left if done else []

    def kill_group(self, worker):
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            pass
        with self.lock:
            self.groups.discard(worker.pid)

    def report(self, name, outcome, text, seconds):
        with self.lock:
            self.results.append((name, outcome, text, seconds))
            if outcome == "failed":
                print(f"FAILED {name} ({seconds} s)\n{text}", flush=True)
            elif self.options.verbose:
                print(f"passed {name} ({seconds} s)", flush=True)

    def stop(self):
        self.stopping = True
        with self.lock:
            for group in self.groups:
                try:
                    os.killpg(group, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run", description="Runs the functional tests against the real binary.")
    parser.add_argument("-k", dest="filter", action="append", help="only tests whose name contains this (repeatable)")
    parser.add_argument("-j", dest="jobs", type=int, default=4, help="files at once (default 4)")
    parser.add_argument("--preset", default=os.environ.get("KAMIYO_PRESET", "debug"), help="which build (default debug)")
    parser.add_argument("--slow", action="store_true", help="also the long ones")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="in another order, to find tests that lean on one another")
    parser.add_argument("--list", action="store_true", help="only names them")
    parser.add_argument("-v", dest="verbose", action="store_true", help="names each test as it ends")
    parser.add_argument("--patience", type=float, help="factor on every test's time limit")
    options = parser.parse_args()
    if options.patience is None:
        options.patience = 1.0 if options.preset in ("debug", "release") else 4.0
    return options


def main():
    options = parse_arguments()
    os.environ["KAMIYO_PRESET"] = options.preset
    suite = Suite(options)
    count = suite.find()
    if options.list:
        while not suite.files.empty():
            for test in suite.files.get()[1]:
                print(test.name)
        return 0
    if not gateway_binary().exists():
        print(f"functional: {gateway_binary()} is not built (./dev build)", file=sys.stderr)
        return 2
    began = time.monotonic()
    threads = [threading.Thread(target=suite.run_slot) for _ in range(options.jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        suite.stop()
        print("interrupted", file=sys.stderr)
    outcomes = [outcome for _, outcome, _, _ in suite.results]
    failed, passed = (outcomes.count(word) for word in ("failed", "passed"))
    if failed:
        print("failed:")
        for name, outcome, _, _ in suite.results:
            if outcome == "failed":
                print("  " + name)
    slowest = sorted(suite.results, key=lambda result: -result[3])[:5]
    if options.verbose:
        print("slowest:", ", ".join(f"{name} {seconds:.1f} s" for name, _, _, seconds in slowest))
    print(f"functional ({options.preset}, {time.monotonic() - began:.0f} s of wall clock, {count} chosen)")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if not failed and passed and not suite.stopping else 1

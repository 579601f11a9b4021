# SPDX-License-Identifier: MIT
"""How long the gateway's threads waited for a CPU: what the machine, and not the gateway, made somebody wait."""

import os
import threading
import time
from pathlib import Path


def stolen():
    """Seconds that the host took from each CPU of a virtual machine: nothing ran there, and no thread is told of it."""
    with open("/proc/stat") as file:
        rows = [line.split() for line in file if line.startswith("cpu") and line[3].isdigit()]
    return {row[0]: int(row[8]) / os.sysconf("SC_CLK_TCK") for row in rows}


class Starvation:
    """Samples /proc/PID/task/*/schedstat, whose second number is the time that a thread was ready and did not run, and
    what the host took meanwhile, of which the most that it took from one CPU is added. How late the sampling itself is
    tells of the others: Redis, the upstream, the clients."""

    def __init__(self, pid):
        self.files = [task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir()]
        self.samples = []  # (Unix time, {file: seconds}, {CPU: seconds}, seconds that the samples came late until now)
        self.late = 0.0
        self.stopping = False
        self.thread = threading.Thread(target=self._run)
        self._sample()
        self.thread.start()

    def _sample(self):
        waited = {}
        now = time.time()
        for file in self.files:
            try:
                waited[file] = int(file.read_text().split()[1]) / 1e9
            except (OSError, IndexError):
                pass  # the thread has ended, or the kernel does not count
        self.samples.append((now, waited, stolen(), self.late))

    def _run(self):
        before = time.monotonic()
        while not self.stopping:
            time.sleep(0.004)
            now = time.monotonic()
            self.late += max(0.0, now - before - 0.015)
            before = now
            self._sample()

    def stop(self):
        self.stopping = True
        self.thread.join()
        self._sample()

    def between(self, first, last):
        """Seconds that one of the threads waited at most between these two moments."""
        before, after = self._around(first, last)

        def most(before, after):
            return max((seconds - before.get(name, seconds) for name, seconds in after.items()), default=0.0)

        return most(before[1], after[1]) + most(before[2], after[2])

    def of_all_between(self, first, last):
        """As between(), or what a thread of the test waited, if that is more."""
        before, after = self._around(first, last)
        return max(self.between(first, last), after[3] - before[3])

    def _around(self, first, last):
        before, after = self.samples[0], self.samples[-1]
        for sample in self.samples:
            if sample[0] <= first:
                before = sample
            if sample[0] >= last:
                after = sample
                break
        return before, after

# SPDX-License-Identifier: MIT
"""How long something took, less what the machine made it wait: for what has to happen within a time, or not before.

    with Watch(gateway, 0.45, 1.2):
        answer = client.response()
"""

import os
import threading
import time
from pathlib import Path

from harness.starvation import stolen

BEAT = 0.005


class Watch:
    """Asserts that what stands inside takes from `low` to `high` seconds; `took` tells afterwards what it took.

    From the upper bound's side is taken off what nobody can help who is tested: the time that threads of the gateway or
    of the test were ready and did not run, what the host took from the CPUs, and by how much a thread that only sleeps
    was woken too late, where that is more. On a machine that is the test's alone all of it is next to nothing.
    """

    def __init__(self, gateway, low, high=None):
        self.pids = [os.getpid(), gateway.process.pid]
        self.low, self.high = low, high
        self.first, self.latest, self.late = {}, {}, 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _sample(self):
        for pid in self.pids:
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    self.latest[path] = int(path.read_text().split()[1]) / 1e9
                except (OSError, IndexError):
                    pass  # the thread has ended, or the kernel does not count

    def _run(self):
        before = time.monotonic()
        while not self.stopping.wait(BEAT):
            self._sample()
            now = time.monotonic()
            self.late += max(0.0, now - before - 2 * BEAT)
            before = now

    def starved(self):
        """Seconds, up to the newest sample."""
        waited = sum(seconds - self.first.get(path, 0.0) for path, seconds in self.latest.items())
        after = stolen()
        return max(waited, self.late) + sum(after[cpu] - seconds for cpu, seconds in self.stolen.items())

    def __enter__(self):
        self.stolen = stolen()
        self._sample()
        self.first = dict(self.latest)
        self.thread.start()
        self.began = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        passed = time.monotonic() - self.began
        self.stopping.set()
        self.thread.join()
        self._sample()
        self.took = passed - self.starved()
        if kind is None:
            told = f"took {passed:.3f} s, {passed - self.took:.3f} s of them waiting for a CPU"
            assert passed >= self.low, f"{told}; not before {self.low} s"
            assert self.high is None or self.took <= self.high, f"{told}; at most {self.high} s"

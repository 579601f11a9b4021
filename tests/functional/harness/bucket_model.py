# SPDX-License-Identifier: MIT
"""Buckets as the contract describes them, in fractions: slow, plain, and written without a look at the gateway's source."""

import math
from fractions import Fraction

NAMES = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}
MOST_UNITS = 2**50


def text_of(ms):
    return f"{ms // 1000}.{ms % 1000:03d}"


class Window:
    """One window of a tier; levels are in units of 1/`units` token."""

    def __init__(self, seconds, limit, burst=None):
        self.seconds, self.limit, self.burst = seconds, limit, burst or limit
        self.period_ms = seconds * 1000
        divisor = math.gcd(limit, self.period_ms)
        self.units, self.speed = self.period_ms // divisor, limit // divisor
        self.capacity = self.burst * self.units
        self.name = NAMES.get(seconds, f"{seconds}s")
        self.life = max(2 * seconds, -(-2 * self.burst * seconds // limit))

    @property
    def setting(self):
        return {f"{self.seconds}s": {"limit": self.limit, "burst": self.burst}}

    def read(self, stored, now):
        """(level, by how many ms its time is ahead) of the fields of a hash at `now`."""
        if not stored:
            return self.capacity, 0
        level = math.floor(Fraction(stored["tokens"]) * self.units + Fraction(1, 2))
        level = max(-MOST_UNITS, min(MOST_UNITS, level))
        if "capacity" in stored:
            level += (self.burst - int(stored["capacity"])) * self.units
        level = min(level, self.capacity)
        last = math.ceil(Fraction(stored["last_refill"]) * 1000)
        if last <= now:
            return min(self.capacity, level + (now - last) * self.speed), 0
        return level, last - now if last - now <= self.period_ms else 0

    def left(self, stored, now):
        """The fields after a denial: as they were, but for a time so far ahead that it counts as now."""
        if not stored or math.ceil(Fraction(stored["last_refill"]) * 1000) <= now + self.period_ms:
            return stored
        return {**stored, "last_refill": text_of(now)}

    def wait(self, level, ahead, cost):
        missing = cost * self.units - level
        return -(-missing // self.speed) + ahead if missing > 0 else 0

    def until_full(self, level, ahead):
        return -(-(self.capacity - level) // self.speed) + ahead if level < self.capacity else 0

    def remaining(self, level):
        return max(0, level // self.units)


class Outcome:
    """What becomes of a request for `cost` at `now`, and every field that says so."""

    def __init__(self, windows, stored, now, cost):
        before = [window.read(fields, now) for window, fields in zip(windows, stored)]
        waits = [window.wait(*state, cost) for window, state in zip(windows, before)]
        self.allowed = not any(waits)
        self.wait_ms = max(waits)
        levels = [level - cost * window.units if self.allowed else level for window, (level, _) in zip(windows, before)]
        times = [now + ahead for _, ahead in before]
        self.written = [
            {"tokens": "%.17g" % (level / window.units), "last_refill": text_of(time), "capacity": str(window.burst)}
            for window, level, time in zip(windows, levels, times)
        ]
        if not self.allowed:
            self.written = [window.left(fields, now) for window, fields in zip(windows, stored)]
        full = [window.until_full(level, time - now) for window, level, time in zip(windows, levels, times)]
        numbers = range(len(windows))
        if self.allowed:
            binding = min(numbers, key=lambda n: (Fraction(levels[n], windows[n].capacity), windows[n].seconds))
        else:
            binding = max(numbers, key=lambda n: (waits[n], windows[n].seconds))
        self.window = windows[binding]
        told = full if self.allowed else waits
        self.reset_ms = now + told[binding]
        self.fields = {
            "x-ratelimit-limit": str(self.window.burst),
            "x-ratelimit-remaining": str(self.window.remaining(levels[binding])),
            "ratelimit-policy": ", ".join(
                f'"{window.name}";q={window.burst};w={-(-window.burst * window.seconds // window.limit)}' for window in windows
            ),
            "ratelimit": ", ".join(
                f'"{window.name}";r={window.remaining(level)};t={-(-ms // 1000)}'
                for window, level, ms in zip(windows, levels, told)
            ),
        }
        if not self.allowed:
            self.fields["retry-after"] = str(max(1, -(-self.wait_ms // 1000)))

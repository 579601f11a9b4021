# SPDX-License-Identifier: MIT
"""Waiting for something to become true, with a bound."""

import time

# For what must come, however busy the machine is: it ends a test that hangs, and measures no promise. Those that are
# promised a time are timed by a Watch (harness/watch.py).
PATIENCE = 15.0


def until(condition, seconds=PATIENCE, interval=0.01):
    """The first true value of condition(), or its last value once the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        time.sleep(interval)


def eventually(condition, message, seconds=PATIENCE, interval=0.01):
    """Fails with the message (text, or a function that makes it) unless condition() comes true."""
    value = until(condition, seconds, interval)
    if not value:
        raise AssertionError(message() if callable(message) else message)
    return value


def stands_still(number, seconds=0.5):
    """The number that number() gives for so long; fails if it goes on changing."""
    last, since = number(), time.monotonic()
    end = since + 4 * PATIENCE
    while time.monotonic() - since < seconds:
        time.sleep(0.02)
        now = number()
        if now != last:
            last, since = now, time.monotonic()
            assert since < end, f"still changing: {last}"
    return last

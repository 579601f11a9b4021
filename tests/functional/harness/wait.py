# SPDX-License-Identifier: MIT
"""Waiting for something to become true, with a bound."""

import time


def until(condition, seconds=3.0, interval=0.01):
    """The first true value of condition(), or its last value once the time is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() >= end:
            return value
        time.sleep(interval)


def eventually(condition, message, seconds=3.0):
    """Fails with the message (text, or a function that makes it) unless condition() comes true."""
    value = until(condition, seconds)
    if not value:
        raise AssertionError(message() if callable(message) else message)
    return value

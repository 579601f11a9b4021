# SPDX-License-Identifier: MIT
"""The functional tests' tools: the gateway and Redis as fixtures, a raw client, a scripted upstream.

A test is a function of `tests/functional/*_test.py` whose name begins with `test_`; it takes one
argument, a `Context` (context.py), from which it gets everything that has to be cleaned up again.
`cases` makes one function into several tests, `slow` keeps it for `--slow`, `timeout` bounds it.
"""

from harness.cases import cases, slow, timeout  # noqa: F401
from harness.wait import eventually, stands_still, until  # noqa: F401

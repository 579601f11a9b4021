# SPDX-License-Identifier: MIT
"""Runs one file's tests in a process of its own, which leads the process group of all it starts.

Talks to the runner in JSON lines on the descriptor it is given: {"start": name}, then
{"done": name, "outcome": "passed" | "failed", "text": ..., "seconds": ...}.
"""

import faulthandler
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback

from harness.cases import find_tests
from harness.context import Context, drop_all_shared


def run_test(test):
    context = Context(test.name)
    outcome, text = "passed", ""
    try:
        test.function(context, *test.arguments)
    except BaseException:
        outcome, text = "failed", traceback.format_exc(limit=-6)
    description = ""
    if outcome == "failed":
        time.sleep(0.15)  # the access log is written up to 100 ms late
        description = context.describe()
    problems = context.finish()
    if problems:
        outcome = "failed"
        text += "\n".join(problems) + "\n"
        description = description or context.describe()
    if outcome == "failed":
        text += description
    context.remove()
    return outcome, text


def main():
    descriptor, module_name, names = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    os.setsid()
    faulthandler.register(signal.SIGUSR2)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    out = os.fdopen(descriptor, "w")

    def tell(**message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    tests = {test.name: test for test in find_tests(module_name, importlib.import_module(module_name))}
    for name in names:
        tell(start=name)
        began = time.monotonic()
        outcome, text = run_test(tests[name])
        tell(done=name, outcome=outcome, text=text, seconds=round(time.monotonic() - began, 3))
    name = module_name + " (its shared gateways)"
    problems = drop_all_shared()
    if problems:
        tell(start=name)
        tell(done=name, outcome="failed", text="\n".join(problems), seconds=0)


if __name__ == "__main__":
    main()

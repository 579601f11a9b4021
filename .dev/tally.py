#!/usr/bin/env python3
"""Adds up test results for `./dev test`.

    tally.py ctest LOG        of `ctest -V`: show what failed, and close with "N passed, N failed"
    tally.py add FILE LOG     append the closing count of a log to FILE
    tally.py sum FILE         print the sum as the closing line, exit 1 if anything failed or nothing passed

The unit of counting is a test function. A ctest entry that printed no cmocka summary counts as one test by its own
result, and one that failed counts as one failure at least: a crash is never nothing. So is a log without a count.
"""

import re
import sys

CTEST_RESULT = re.compile(r"^\s*\d+/\d+ Test\s+#(\d+): (\S+) \.*\s*(?:\*\*\*)?(.*?)\s+[\d.]+ sec", re.M)
CMOCKA_PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
CMOCKA_FAILED = re.compile(r"\[  FAILED  \] (?:.*: )?(\d+) test")
COUNT_LINE = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.M)
SHOWN_LINES = 80


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def ctest(log):
    """ctest -V puts the test's number before each line of its output: `3: [  PASSED  ] 7 test(s).`"""
    text = read(log)
    passed = failed = 0
    for number, name, result in CTEST_RESULT.findall(text):
        lines = re.findall(rf"^{number}: ?(.*)$", text, re.M)
        output = "\n".join(lines)
        good = sum(map(int, CMOCKA_PASSED.findall(output)))
        bad = sum(map(int, CMOCKA_FAILED.findall(output)))
        if result.strip() != "Passed":
            bad = max(bad, 1)
            print(f"-- {name}: {result.strip()}", *lines[-SHOWN_LINES:], sep="\n")
        elif good + bad == 0:
            good = 1
        passed += good
        failed += bad
    print(f"{passed} passed, {failed} failed")


def add(tally, log):
    counts = COUNT_LINE.findall(read(log))
    passed, failed = counts[-1] if counts else (0, 1)
    if not counts:
        print("no closing count: this run counts as one failure")
    with open(tally, "a", encoding="utf-8") as file:
        file.write(f"{passed} {failed}\n")


def total(tally):
    rows = [tuple(map(int, line.split())) for line in read(tally).splitlines()]
    passed, failed = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "ctest":
        return ctest(arguments[1])
    if len(arguments) == 3 and arguments[0] == "add":
        return add(arguments[1], arguments[2])
    if len(arguments) == 2 and arguments[0] == "sum":
        return total(arguments[1])
    return __doc__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

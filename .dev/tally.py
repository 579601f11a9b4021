#!/usr/bin/env python3
"""Adds up test results for `./dev test`.

    tally.py add FILE LOG     read a runner's log, append "passed failed" to FILE, and list what failed
    tally.py sum FILE         print the closing line, exit 1 if anything failed

A log may hold cmocka's summaries, ctest's own lines and "N passed, N failed" lines. A ctest entry that printed no
cmocka summary counts as one test by its own result, so a crash is a failure and never nothing.
"""

import re
import sys

CTEST_RESULT = re.compile(r"^\s*\d+/\d+ Test\s+#\d+: (\S+) \.*\s*(\**)(.*?)\s+[\d.]+ sec", re.M)
CMOCKA_PASSED = re.compile(r"\[  PASSED  \] (\d+) test")
CMOCKA_FAILED = re.compile(r"\[  FAILED  \] (?:.*: )?(\d+) test")
COUNT_LINE = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.M)


def count_ctest(text):
    """ctest -V: each test's output lines start with its number, `3: [  PASSED  ] 7 test(s).`"""
    passed = failed = 0
    numbers = {name: number for number, name in re.findall(r"^test (\d+)\n\s+Start\s+\d+: (\S+)", text, re.M)}
    for name, _, result in CTEST_RESULT.findall(text):
        output = "\n".join(re.findall(rf"^{numbers.get(name, 'none')}: (.*)$", text, re.M))
        good = sum(map(int, CMOCKA_PASSED.findall(output)))
        bad = sum(map(int, CMOCKA_FAILED.findall(output)))
        if result.strip() != "Passed":
            bad = max(bad, 1)
            print(f"FAILED {name} ({result.strip()})")
        elif good + bad == 0:
            good = 1
        passed += good
        failed += bad
    return passed, failed


def add(tally, log):
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if "No tests were found" in text:
        passed = failed = 0
    elif CTEST_RESULT.search(text):
        passed, failed = count_ctest(text)
    else:
        counts = COUNT_LINE.findall(text)
        passed, failed = (int(counts[-1][0]), int(counts[-1][1])) if counts else (0, 1)
        if not counts:
            print("no closing count line: the run counts as one failure")
    with open(tally, "a", encoding="utf-8") as file:
        file.write(f"{passed} {failed}\n")


def total(tally):
    with open(tally, encoding="utf-8") as file:
        rows = [tuple(map(int, line.split())) for line in file]
    passed, failed = sum(row[0] for row in rows), sum(row[1] for row in rows)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "add":
        add(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3 and sys.argv[1] == "sum":
        sys.exit(total(sys.argv[2]))
    else:
        sys.exit(__doc__)

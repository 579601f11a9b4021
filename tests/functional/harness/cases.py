# SPDX-License-Identifier: MIT
"""Marks on test functions, and how a module's tests are found."""


class Mismatch(AssertionError):
    """A test's own finding, as opposed to an error of the test."""


def cases(table):
    """Runs the function once for each entry of {name: arguments}; counted one by one."""

    def mark(function):
        function.cases = table
        return function

    return mark


def slow(function):
    """Only with --slow."""
    function.slow = True
    return function


def timeout(seconds):
    def mark(function):
        function.timeout = seconds
        return function

    return mark


class Test:
    def __init__(self, module, function, case, arguments):
        self.function = function
        self.arguments = arguments
        self.name = module + "." + function.__name__ + (f"[{case}]" if case is not None else "")
        self.slow = getattr(function, "slow", False)
        self.timeout = getattr(function, "timeout", 20)


def find_tests(module_name, module):
    """The module's tests in the order of their definition."""
    tests = []
    for name, function in vars(module).items():
        if not name.startswith("test_") or not callable(function):
            continue
        table = getattr(function, "cases", None)
        if table is None:
            tests.append(Test(module_name, function, None, ()))
            continue
        for case, arguments in table.items():
            if not isinstance(arguments, tuple):
                arguments = (arguments,)
            tests.append(Test(module_name, function, case, arguments))
    return tests

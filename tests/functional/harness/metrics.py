# SPDX-License-Identifier: MIT
"""Prometheus text, read strictly, and the difference of two readings."""

import re

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|\Z)')
PREFIX = "kamiyo_gateway_"


class Metrics(dict):
    """{(name without the prefix, ((label, value), ...)): number}"""

    def total(self, name, **labels):
        """The sum over all samples of that name which carry these labels."""
        wanted = set(labels.items())
        return sum(value for (key, pairs), value in self.items() if key == name and wanted <= set(pairs))

    def has(self, name):
        return any(key == name for key, _ in self)

    def minus(self, earlier):
        result = Metrics()
        for key, value in self.items():
            change = value - earlier.get(key, 0.0)
            if change:
                result[key] = change
        return result


def parse(text):
    metrics = Metrics()
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        if not match:
            raise AssertionError(f"not a Prometheus sample: {line!r}")
        labels = match[2] or ""
        pairs = LABEL.findall(labels)
        name = match[1]
        if name.startswith(PREFIX):
            name = name[len(PREFIX) :]
        metrics[(name, tuple(sorted(pairs)))] = float(match[3])
    return metrics

# SPDX-License-Identifier: MIT
"""Plain data to YAML, as an operator would write it: block maps and lists, quotes where needed."""

import json
import re

PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/_.*-]*\Z")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "~"}


class Raw(str):
    """Text that goes into the YAML untouched."""


def scalar(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if PLAIN.match(value) and (value.lower() not in WORDS or value == "none"):
        return value
    return json.dumps(value)


def key_text(key):
    text = str(key)
    return text if PLAIN.match(text) else json.dumps(text)


def dump(value, indent=0):
    """The YAML of nested dicts, lists and scalars."""
    pad = " " * indent
    lines = []
    if isinstance(value, dict):
        items = [(pad + key_text(key) + ":", item) for key, item in value.items()]
    else:
        items = [(pad + "-", item) for item in value]
    for lead, item in items:
        if isinstance(item, (dict, list)):
            if not item:
                lines.append(lead + (" {}" if isinstance(item, dict) else " []"))
            elif lead.endswith("-"):
                inner = dump(item, indent + 2)
                lines.append(lead + " " + inner[indent + 2 :].rstrip("\n"))
            else:
                lines.append(lead)
                lines.append(dump(item, indent + 2).rstrip("\n"))
        else:
            lines.append(lead + " " + scalar(item))
    return "\n".join(lines) + "\n"


def merge(base, changes):
    """base with changes laid over it; maps are merged, anything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result

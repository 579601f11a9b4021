# SPDX-License-Identifier: MIT
"""A strict reader of structured field lists (RFC 9651 4.2.1), as far as RateLimit and RateLimit-Policy use them: items that are
strings, parameters that are integers, strings, byte sequences or booleans."""

import re

KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
INTEGER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
BYTES = re.compile(r":[A-Za-z0-9+/=]*:")


class Malformed(AssertionError):
    pass


class _Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern, what):
        found = pattern.match(self.text, self.at)
        if not found:
            raise Malformed(f"{what} expected at {self.at} of {self.text!r}")
        self.at = found.end()
        return found

    def skip(self, characters):
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def has(self, character):
        if self.text[self.at : self.at + 1] != character:
            return False
        self.at += 1
        return True

    def bare_item(self):
        first = self.text[self.at : self.at + 1]
        if first == '"':
            return re.sub(r"\\(.)", r"\1", self.take(STRING, "string").group(1))
        if first == ":":
            return self.take(BYTES, "byte sequence").group()
        return int(self.take(INTEGER, "integer").group())

    def parameters(self):
        found = {}
        while self.has(";"):
            self.skip(" ")
            key = self.take(KEY, "key").group()
            found[key] = self.bare_item() if self.has("=") else True
        return found


def parse_list(text):
    """[(item, {parameter: value})]; anything else raises."""
    reader, members = _Reader(text), []
    reader.skip(" ")
    while reader.at < len(text):
        members.append((reader.bare_item(), reader.parameters()))
        reader.skip(" \t")
        if reader.at == len(text):
            return members
        if not reader.has(","):
            raise Malformed(f"comma expected at {reader.at} of {text!r}")
        reader.skip(" \t")
        if reader.at == len(text):
            raise Malformed(f"{text!r} ends with a comma")
    return members

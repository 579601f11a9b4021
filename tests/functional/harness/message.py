# SPDX-License-Identifier: MIT
"""HTTP/1.1 messages, read so strictly that no second parser could frame them otherwise."""

import re

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) HTTP/1\.1\Z")
STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)\Z")
FIELD = re.compile(rf"({TOKEN}):(?: ([\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)| ?)\Z")
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}\Z")
LENGTH = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
MAX_LENGTH = 2**63 - 1


class Loose(Exception):
    """Bytes that two parsers could read in two ways, or that no parser should see."""


class Fields(list):
    """Fields in order, as (name, value); names compare without case."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def one(self, name):
        """The value of a field that must be there exactly once."""
        values = self.all(name)
        if len(values) != 1:
            raise AssertionError(f"{name}: {values!r}, expected exactly one, in {self!r}")
        return values[0]

    def has(self, name):
        return bool(self.all(name))

    def names(self):
        return [key.lower() for key, _ in self]


class Message:
    """A head, and what came after it."""

    def __init__(self, raw_head, start, fields):
        self.raw_head = raw_head
        self.start = start
        self.fields = fields
        self.framing = "none"
        self.body = b""
        self.body_bytes = 0
        self.pieces = []
        self.trailers = Fields()
        self.complete = True
        self.interim = []

    def get(self, name, default=None):
        return self.fields.get(name, default)

    def all(self, name):
        return self.fields.all(name)

    def one(self, name):
        return self.fields.one(name)

    def has(self, name):
        return self.fields.has(name)

    def __repr__(self):
        return f"<{self.start!r} {list(self.fields)!r} {self.framing} {self.body[:300]!r} complete={self.complete}>"


def parse_fields(lines):
    fields = Fields()
    for line in lines:
        match = FIELD.match(line)
        if not match:
            raise Loose(f"field line {line!r}")
        fields.append((match[1], match[2] or ""))
    return fields


def split_head(raw):
    """The lines of a head that ends in an empty line; every line ends in CRLF and nothing else."""
    text = raw.decode("latin-1")
    if not text.endswith("\r\n\r\n"):
        raise Loose("head without its empty line")
    lines = text[:-4].split("\r\n")
    for line in lines:
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line):
            raise Loose(f"control byte in {line!r}")
    return lines


def length_of(fields):
    values = fields.all("content-length")
    if len(values) > 1 or (values and not (LENGTH.match(values[0]) and int(values[0]) <= MAX_LENGTH)):
        raise Loose(f"Content-Length {values!r}")
    return int(values[0]) if values else None


def is_chunked(fields):
    values = fields.all("transfer-encoding")
    if not values:
        return False
    if values != ["chunked"]:
        raise Loose(f"Transfer-Encoding {values!r}")
    if fields.has("content-length"):
        raise Loose("both framings at once")
    return True


def parse_request_head(raw):
    lines = split_head(raw)
    match = REQUEST_LINE.match(lines[0])
    if not match:
        raise Loose(f"request line {lines[0]!r}")
    message = Message(raw, lines[0], parse_fields(lines[1:]))
    message.method, message.target = match[1], match[2]
    if len(message.all("host")) != 1:
        raise Loose(f"Host {message.all('host')!r}")
    if is_chunked(message.fields):
        message.framing, message.length = "chunked", None
    else:
        message.length = length_of(message.fields)
        message.framing = "none" if message.length is None else "length"
    return message


def parse_response_head(raw, method):
    lines = split_head(raw)
    match = STATUS_LINE.match(lines[0])
    if not match:
        raise Loose(f"status line {lines[0]!r}")
    message = Message(raw, lines[0], parse_fields(lines[1:]))
    message.status, message.reason = int(match[1]), match[2]
    message.method = method
    chunked, message.length = is_chunked(message.fields), length_of(message.fields)
    bodyless = method == "HEAD" or message.status < 200 or message.status in (204, 304)
    if message.status < 200 or message.status == 204:
        if message.has("content-length") or message.has("transfer-encoding"):
            raise Loose(f"framing on a {message.status}")
    if bodyless or (method == "CONNECT" and message.status < 300):
        message.framing = "none"
    elif chunked:
        message.framing = "chunked"
    elif message.length is not None:
        message.framing = "length"
    else:
        message.framing = "close"
    return message


def read_chunked(wire, message, keep=True, on_piece=None, timeout=None):
    """The chunks and trailers of a chunked body; strict, so no extensions, no bare LF."""
    body = bytearray()
    while True:
        line = wire.read_until(b"\r\n", 4096, timeout)[:-2]
        if not CHUNK_SIZE.match(line):
            raise Loose(f"chunk size line {line!r}")
        size = int(line, 16)
        if size == 0:
            break
        piece = wire.read_exact(size, timeout)
        if wire.read_exact(2, timeout) != b"\r\n":
            raise Loose("chunk without its CRLF")
        message.body_bytes += size
        message.pieces.append(size)
        if keep:
            body += piece
            message.body = bytes(body) if on_piece else message.body
        if on_piece:
            on_piece(piece)
    message.body = bytes(body)
    raw = b""
    while True:
        line = wire.read_until(b"\r\n", 65536, timeout)
        raw += line
        if line == b"\r\n":
            break
    if raw != b"\r\n":
        message.trailers = parse_fields(split_head(raw))


def read_request(wire, timeout=None, keep=True):
    """The next request of a connection, head and body; None when it ended in between."""
    try:
        raw = wire.read_until(b"\r\n\r\n", timeout=timeout)
    except Exception as error:
        if getattr(error, "partial", None) == b"" and wire.ended:
            return None
        raise
    message = parse_request_head(raw)
    read_request_body(wire, message, timeout, keep)
    return message


def read_request_body(wire, message, timeout=None, keep=True):
    if message.framing == "chunked":
        read_chunked(wire, message, keep, timeout=timeout)
    elif message.framing == "length":
        if keep:
            message.body = wire.read_exact(message.length, timeout)
        else:
            wire.skip(message.length, timeout)
        message.body_bytes = message.length


def build(start, fields, body=b""):
    """The bytes of a message; fields are (name, value) pairs or whole lines."""
    out = start.encode("latin-1") + b"\r\n"
    for field in fields:
        line = field if isinstance(field, str) else f"{field[0]}: {field[1]}"
        out += line.encode("latin-1") + b"\r\n"
    return out + b"\r\n" + (body.encode("latin-1") if isinstance(body, str) else body)


def request(method="GET", target="/", fields=(), body=None, host="example.test", version="HTTP/1.1"):
    """A plain request; Host and Content-Length are added unless they are there or host is None."""
    fields = list(fields)
    names = [(field if isinstance(field, str) else field[0]).split(":")[0].lower() for field in fields]
    if host is not None and "host" not in names:
        fields.insert(0, ("Host", host))
    if body is not None and "content-length" not in names and "transfer-encoding" not in names:
        fields.append(("Content-Length", len(body)))
    return build(f"{method} {target} {version}", fields, body or b"")


def response(status=200, fields=(), body=b"", reason="OK"):
    """A plain answer; Content-Length is added unless a framing is there."""
    fields = list(fields)
    names = [(field if isinstance(field, str) else field[0]).split(":")[0].lower() for field in fields]
    if "content-length" not in names and "transfer-encoding" not in names and status not in (204, 304):
        fields.append(("Content-Length", len(body)))
    return build(f"HTTP/1.1 {status} {reason}", fields, body)


def chunked(*pieces, trailers=""):
    """A chunked body."""
    out = b""
    for piece in pieces:
        piece = piece.encode("latin-1") if isinstance(piece, str) else piece
        out += b"%x\r\n%b\r\n" % (len(piece), piece)
    return out + b"0\r\n" + trailers.encode("latin-1") + b"\r\n"

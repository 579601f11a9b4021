# SPDX-License-Identifier: MIT
"""Seeded mutations of valid requests, through the gateway to a reader that forgives nothing.

Found to be wrong: bytes at the upstream that two parsers could frame differently, a request at the
upstream that no access-log line accounts for (or two for one), a line that claims an answer which
never came, an answer that the strict client cannot read, a gateway that died.

KAMIYO_MUTATIONS and KAMIYO_MUTATION_SEED choose how many and which; a finding names its seed.
"""

import os
import random
import threading

from harness import eventually, slow, timeout
from harness.message import Loose, chunked, parse_request_head, parse_response_head, read_request, request, response
from harness.wire import Closed, Silent

RUNS_LONG = True  # started first

SEEDS = [
    request("GET", "/exploits?page=1&page_size=10"),
    request("GET", "/", [("Accept", "*/*"), ("User-Agent", "mutant/1.0"), ("Connection", "keep-alive")]),
    request("HEAD", "/health", [("X-Long", "v" * 300)]),
    request("POST", "/upload", [("Content-Type", "text/plain")], b"hello world"),
    request("POST", "/upload", ["Transfer-Encoding: chunked"], chunked("hello", " world")),
    request("PUT", "/x", ["Transfer-Encoding: chunked", "Trailer: X-T"], chunked("a", "bb", trailers="X-T: v\r\n")),
    request("POST", "/x", ["Transfer-Encoding: chunked"], b"5;ext=val\r\nhello\r\n0;last\r\n\r\n"),
    request("OPTIONS", "*"),
    request("GET", "http://example.test:8080/absolute?q=1"),
    request("DELETE", "/x/y", [("Connection", "close, X-Drop"), ("X-Drop", "1"), ("TE", "trailers")]),
    request("GET", "/ws", ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
    request("POST", "/e", ["Expect: 100-continue"], b"body"),
    b"GET /old HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    request("GET", "/1") + request("GET", "/2"),
    request("POST", "/1", body=b"abc") + request("GET", "/2"),
    request("POST", "/1", ["Transfer-Encoding: chunked"], chunked("abc")) + request("POST", "/2", body=b"x"),
    b"\r\n" + request("GET", "/crlf"),
]
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b":", b";", b",", b'"', b"\\", b"#", b"?", b"%00",
    b"\r\n\r\n", b"\n\n", b"\r\n ", b"\r\n\t", b"\r\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length: +5\r\n", b"Content-Length : 5\r\n",
    b"content-length:5\r\n", b"Content-Length: 0x5\r\n", b"Content-Length: 18446744073709551617\r\n", b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\tchunked\r\n", b"transfer-encoding:chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n", b"X: y\nTransfer-Encoding: chunked\r\n",
    b"Transfer_Encoding: chunked\r\n", b"Transfer-Encoding: chunked\x00\r\n", b"Transfer-Encoding: CHUNKED\r\n",
    b"Host: other.test\r\n", b"Host: \r\n", b"Connection: Host\r\n", b"Connection: Content-Length\r\n", b"Connection: Transfer-Encoding\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"Expect: x\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"0x5\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFF\r\n", b"00000000000000005\r\n", b"5;\r\n", b"5 \r\n", b"5;a\n",
    b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"POST /smuggled HTTP/1.1\r\n", b" HTTP/1.1", b" HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"http://", b"//", b"/../", b"@", b"[::1]", b"*", b"Via: 1.1 x\r\n", b"X-Forwarded-For: 1.2.3.4\r\n",
]


def mutate_with(random_, data, tokens):
    """One to four changes: bytes flipped, cut, doubled, swapped; tokens put in or over."""
    out = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 2, 3, 4))):
        if not out:
            break
        at, kind = random_.randrange(len(out)), random_.randrange(10)
        if kind == 0:
            out[at] = random_.randrange(256)
        elif kind == 1:
            del out[at]
        elif kind == 2:
            out[at:at] = bytes([out[at]])
        elif kind in (3, 4, 5):
            out[at:at] = random_.choice(tokens)
        elif kind == 6:
            token = random_.choice(tokens)
            out[at : at + len(token)] = token
        elif kind == 7:
            end = min(len(out), at + random_.randrange(1, 20))
            out[at:at] = out[at:end]
        elif kind == 8:
            lines = bytes(out).split(b"\r\n")
            one, two = random_.randrange(len(lines)), random_.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            out = bytearray(b"\r\n".join(lines))
        else:
            lines = bytes(out).split(b"\r\n")
            lines.insert(random_.randrange(1, len(lines) + 1), random_.choice(tokens).rstrip(b"\r\n"))
            out = bytearray(b"\r\n".join(lines))
    return bytes(out)


def strict_upstream(upstream, findings):
    """Serves, strictly; what came and cannot be read in one way only is a finding."""
    seen = {}
    lock = threading.Lock()

    def handler(connection):
        while True:
            try:
                message = read_request(connection, timeout=60)
            except Closed:
                check_beginning(bytes(connection.received))  # since the last whole request
                return
            except Loose as error:
                findings.append(f"loose at the upstream: {error}: {bytes(connection.received)[-600:]!r}")
                return
            if message is None:
                return
            with lock:
                key = message.one("x-request-id")
                seen[key] = seen.get(key, 0) + 1
            connection.received.clear()
            if message.method == "CONNECT":
                findings.append(f"CONNECT at the upstream: {message!r}")
            connection.send(response(200, [], b"" if message.method == "HEAD" else b"ok"))

    def check_beginning(partial):
        """Half a request was broken off: its head, if whole, must still be strict."""
        if b"\r\n\r\n" in partial:
            try:
                parse_request_head(partial.split(b"\r\n\r\n")[0] + b"\r\n\r\n")
            except Loose as error:
                findings.append(f"loose and broken off: {error}: {partial[:600]!r}")

    upstream.handler = handler
    return seen


def one_mutation(gateway, findings, number, seed, ids):
    random_ = random.Random(seed * 1_000_003 + number)
    data = mutate_with(random_, random_.choice(SEEDS), TOKENS)
    client = gateway.client(record=True)
    try:
        if random_.randrange(4) == 0:
            cut = random_.randrange(len(data) + 1)
            client.send(data[:cut])
            client.send(data[cut:])
        else:
            client.send(data)
        client.half_close()
        client.rest()
    except Silent:
        findings.append(f"mutation {number} of seed {seed}: neither answered nor closed: {data!r} got {bytes(client.received)!r}")
    except Closed:
        pass
    finally:
        client.close()
        gateway.clients.remove(client)
    raw = bytes(client.received)
    problem = check_answers(raw, ids)
    if problem:
        findings.append(f"mutation {number} of seed {seed}: {problem}: {data!r} got {raw!r}")


def check_answers(raw, ids):
    """The answers of one connection, framed by their own fields alone; notes their request ids."""
    while raw:
        head, mark, rest = raw.partition(b"\r\n\r\n")
        if not mark:
            return "an answer without a whole head"
        try:
            message = parse_response_head(head + mark, "GET")
        except Loose as error:
            return f"loose answer: {error}"
        if message.status < 200:
            raw = rest
            continue
        ids.append((message.one("x-request-id"), message.status))
        if rest.startswith(b"HTTP/1.1 ") or not rest or message.framing == "none":
            raw = rest  # the answer to HEAD
        elif message.framing == "length":
            if len(rest) < message.length:
                return "an answer cut short"
            raw = rest[message.length :]
        else:
            return f"an answer framed as {message.framing}"
    return None


def run_mutations(t, count, seed, workers=4):
    gateway, upstream = t.pair({"client": {"header_timeout": "5s", "body_timeout": "5s"}, "upstream": {"response_timeout": "5s"}})
    upstream.remembers = False
    findings, ids, done, lock = [], [], [], threading.Lock()
    seen = strict_upstream(upstream, findings)
    numbers = iter(range(count))

    def work():
        own_ids = []
        while len(findings) < 10 and gateway.process.returncode is None:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            try:
                one_mutation(gateway, findings, number, seed, own_ids)
            except Exception as error:
                findings.append(f"mutation {number} of seed {seed}: {type(error).__name__}: {error}")
            done.append(number)
        with lock:
            ids.extend(own_ids)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not findings, "\n".join(findings[:10])
    assert gateway.process.returncode is None, "the gateway died"
    assert len(done) == count
    account(gateway, upstream, seen, ids)
    return len(seen)


def account(gateway, upstream, seen, ids):
    """Upstream requests, access-log lines and answers tell one story."""
    eventually(lambda: gateway.metrics().total("connections", side="client") == 0, "clients are left")
    last = gateway.get("/last").one("x-request-id")
    gateway.last_access(request_id=last)  # one worker writes in order: no line is still to come
    logged = {}
    for record in gateway.access():
        logged.setdefault(record["request_id"], []).append(record)
    for key, count in seen.items():
        lines = logged.get(key, [])
        sent = sum(1 + record["retries"] for record in lines if record["upstream_ms"] is not None)
        assert lines, f"the upstream saw request {key}, which no access-log line accounts for"
        assert count <= sent, f"the upstream saw request {key} {count} times; the log accounts for {sent}"
    for key, status in ids:
        assert any(record["status"] == status for record in logged.get(key, [])), f"no line for answer {status} of {key}"
    passed_lines = [records for records in logged.values() if any(record["status"] == 200 for record in records)]
    for records in passed_lines:
        for record in records:
            if record["status"] == 200 and "/_gateway/health" not in record["path"]:
                assert record["request_id"] in seen, f"a 200 that the upstream never gave: {record}"
    assert len(seen) > 0


@timeout(60)
def test_mutations(t):
    run_mutations(t, int(os.environ.get("KAMIYO_MUTATIONS", "3000")), int(os.environ.get("KAMIYO_MUTATION_SEED", "1")))


@slow
@timeout(900)
def test_100000_mutations(t):
    run_mutations(t, int(os.environ.get("KAMIYO_MUTATIONS", "100000")), int(os.environ.get("KAMIYO_MUTATION_SEED", "2")))

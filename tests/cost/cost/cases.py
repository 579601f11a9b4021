# SPDX-License-Identifier: MIT
"""What is counted. Each case is one configuration and the requests of one user after the other."""
import dataclasses

LARGEST = 1_000_000_000
USERS = 50


@dataclasses.dataclass
class Case:
    name: str
    title: str
    policy: str
    head: str = "GET / HTTP/1.1\r\nHost: cost.test\r\n"
    fields: str = ""
    status: int = 200
    has_redis: bool = False
    requests: int = 600  # counted; instructions are many enough for 0.1 % long before

    def request(self, number):
        user = f"X-User: user-{number % USERS:04}\r\n"
        return (self.head + user + self.fields + "\r\n").encode()


TWO_WINDOWS = f"""
tiers: {{anonymous: {{minute: {LARGEST}, hour: {LARGEST * 60}}}}}
client_ip: {{trusted_proxies: [loopback]}}
identity: {{header: {{user: X-User, tier: X-Tier}}}}
"""
BROWSER_HEAD = "GET /exploits?page=1&page_size=10 HTTP/1.1\r\nHost: cost.test\r\n"
BROWSER_FIELDS = f"Cookie: {'c' * 560}\r\nAccept: application/json\r\nUser-Agent: cost/1.0\r\n"
NO_LIMIT = 'routes: [{path: "/*", limit: none}]'

CASES = [
    Case("proxied", "small answers, no limit", NO_LIMIT),
    Case("users", "two windows, heads of 700 bytes", TWO_WINDOWS, BROWSER_HEAD, BROWSER_FIELDS),
    Case("denied", "429", "tiers: {anonymous: {day: 1}}", status=429),
    Case("large", "answers of 64 KB, no limit", NO_LIMIT, "GET /large HTTP/1.1\r\nHost: cost.test\r\n", requests=300),
    Case("redis", "two windows in Redis, heads of 700 bytes", TWO_WINDOWS, BROWSER_HEAD, BROWSER_FIELDS, has_redis=True),
]

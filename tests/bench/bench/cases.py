# SPDX-License-Identifier: MIT
"""What is measured: each case starts its proxies and says how each is loaded."""
import hashlib

from . import proxies
from .proxies import HUGE

USERS = 100_000
EXEMPT = 'routes: [{path: "/*", limit: none}]'
TWO_WINDOWS = f"""
tiers: {{anonymous: {{minute: {HUGE}, hour: {HUGE * 60}}}}}
client_ip: {{trusted_proxies: [loopback]}}
identity: {{header: {{user: X-User, tier: X-Tier}}}}
"""
HAPROXY_TWO = """
  http-request track-sc0 req.hdr(X-User) table minute
  http-request track-sc1 req.hdr(X-User) table hour
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
  http-request deny deny_status 429 if { sc_http_req_rate(1) gt 1000000000 }
"""
HAPROXY_TABLES = """
backend minute
  stick-table type string len 32 size 200k expire 10m store http_req_rate(60s)
backend hour
  stick-table type string len 32 size 200k expire 1h store http_req_rate(3600s)
"""
NGINX_TWO = """limit_req_zone $http_x_user zone=minute:64m rate=100000r/s; limit_req_zone $http_x_user zone=hour:64m rate=100001r/s;
    limit_req_status 429;"""
NGINX_TWO_LOCATION = "limit_req zone=minute burst=100000 nodelay; limit_req zone=hour burst=100000 nodelay;"

LUA_USERS = """
local pad = string.rep("x", 560)
request = function()
  return wrk.format("GET", "/exploits?page=1&page_size=10", {["X-User"] = tostring(math.random(%d)), ["Cookie"] = pad,
    ["Accept"] = "application/json", ["User-Agent"] = "bench/1.0"})
end
"""
LUA_KEYS = """
local pad = string.rep("x", 540)
request = function()
  return wrk.format("GET", "/exploits?page=1&page_size=10", {["X-API-Key"] = "key-" .. math.random(%d), ["Cookie"] = pad,
    ["Accept"] = "application/json", ["User-Agent"] = "bench/1.0"})
end
"""


class Case:
    """One line of the table: proxies by name, and how wrk asks them."""

    def __init__(self, name, title, start, path="/", script=None, connections=64, status=200):
        self.name, self.title, self.start = name, title, start
        self.path, self.script, self.connections, self.status = path, script, connections, status


def plain(bench, port):
    return {"gateway": proxies.gateway(bench, port, EXEMPT), "haproxy": proxies.haproxy(bench, port),
            "nginx": proxies.nginx_proxy(bench, port), "relay": proxies.relay(bench, port)}


def users(bench, port):
    return {"gateway": proxies.gateway(bench, port, TWO_WINDOWS),
            "haproxy": proxies.haproxy(bench, port, HAPROXY_TWO, HAPROXY_TABLES),
            "nginx": proxies.nginx_proxy(bench, port, NGINX_TWO, NGINX_TWO_LOCATION), "relay": proxies.relay(bench, port)}


def keys(bench, port):
    """As users, but each user proves who it is by a key: a digest and a look-up more."""
    rows = "".join(f"- {{sha256: {hashlib.sha256(f'key-{i}'.encode()).hexdigest()}, user: u{i}, tier: pro}}\n"
                   for i in range(1, USERS + 1))
    file = bench.file("keys.yaml", rows)
    extra = f"""
tiers: {{anonymous: {{minute: {HUGE}}}, pro: {{minute: {HUGE}, hour: {HUGE * 60}}}}}
identity: {{api_key: {{keys_file: {file}}}}}
"""
    rules = HAPROXY_TWO.replace("X-User", "X-API-Key")
    return {"gateway": proxies.gateway(bench, port, extra), "haproxy": proxies.haproxy(bench, port, rules, HAPROXY_TABLES)}


def denied(bench, port):
    return {"gateway": proxies.gateway(bench, port, "tiers: {anonymous: {day: 1}}"),
            "haproxy": proxies.haproxy(bench, port, "  http-request deny deny_status 429 if TRUE"),
            "nginx": proxies.nginx_proxy(
                bench, port, "limit_req_zone $binary_remote_addr zone=z:1m rate=1r/m; limit_req_status 429;", "limit_req zone=z;")}


def large(bench, port):
    return {"gateway": proxies.gateway(bench, port, EXEMPT), "haproxy": proxies.haproxy(bench, port),
            "nginx": proxies.nginx_proxy(bench, port), "relay": proxies.relay(bench, port)}


LUA_LIMITER = """
init_by_lua_block { redis = require "nginx.redis" script = [[
local now = redis.call("TIME") now = now[1] + now[2] / 1000000
local ok = 1 local levels = {}
for i = 1, 2 do
  local limit, period = tonumber(ARGV[i * 2 - 1]), tonumber(ARGV[i * 2])
  local v = redis.call("HMGET", KEYS[i], "tokens", "last_refill")
  local tokens = tonumber(v[1]) or limit
  tokens = math.min(limit, tokens + (now - (tonumber(v[2]) or now)) * limit / period)
  if tokens < 1 then ok = 0 end
  levels[i] = tokens
end
if ok == 1 then
  for i = 1, 2 do
    redis.call("HSET", KEYS[i], "tokens", levels[i] - 1, "last_refill", now)
    redis.call("EXPIRE", KEYS[i], tonumber(ARGV[i * 2]) * 2)
  end
end
return {ok, math.floor(levels[1]), math.floor(levels[2])}
]] }
"""
LUA_ACCESS = """access_by_lua_block {
  local red = redis:new() red:set_timeout(1000)
  local ok, err = red:connect("127.0.0.1", %d)
  if not ok then return ngx.exit(500) end
  if not sha then sha = red:script("load", script) end
  local key = "ratelimit:user:" .. (ngx.var.http_x_user or "none")
  local res, err = red:evalsha(sha, 2, key .. ":minute", key .. ":hour", 1000000000, 60, 60000000000, 3600)
  if not res then return ngx.exit(500) end
  ngx.header["X-RateLimit-Remaining"] = res[2]
  red:set_keepalive(60000, 256)
  if res[1] == 0 then return ngx.exit(429) end
}"""


def redis(bench, port):
    store = proxies.redis(bench)
    modules = proxies.module("ndk_http_module") + proxies.module("ngx_http_lua_module")
    return {"gateway": proxies.gateway(bench, port, TWO_WINDOWS, {"REDIS_URL": f"redis://127.0.0.1:{store.port}"}),
            "nginx": proxies.nginx_proxy(bench, port, LUA_LIMITER, LUA_ACCESS % store.port, modules)}


def access_log(bench, port):
    file = bench.folder / "access.log"
    on = f"{{enabled: true, file: {file}}}"
    return {"gateway": proxies.gateway(bench, port, TWO_WINDOWS, access_log=on),
            "without": proxies.gateway(bench, port, TWO_WINDOWS)}


CASES = [
    Case("plain", "plain proxy, small answers", plain),
    Case("users", "two windows, 100,000 users, 700-byte requests", users, script=LUA_USERS % USERS),
    Case("keys", "the same, each user by an API key", keys, script=LUA_KEYS % USERS),
    Case("denied", "refusals with 429", denied, status=429),
    Case("large", "64 KB answers", large, path="/large"),
    Case("redis", "Redis, two windows, 64 connections", redis, script=LUA_USERS % USERS),
    Case("redis-one", "Redis, two windows, one connection", redis, script=LUA_USERS % USERS, connections=1),
    Case("one", "plain proxy, one connection", plain, connections=1),
    Case("log", "two windows, with and without the access log", access_log, script=LUA_USERS % USERS),
]

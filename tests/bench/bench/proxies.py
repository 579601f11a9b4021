# SPDX-License-Identifier: MIT
"""The gateway and the proxies it is measured against, configured alike for each case."""
import os
import pathlib
import shutil

from .machine import LOAD_CPU, PROXY_CPU, Process, free_port

NGINX_HTTP = "access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_body_buffer_size 64k;"
HUGE = 1_000_000_000


class Bench:
    """A folder for the files of one run, and what was started in it."""

    def __init__(self, root, folder):
        self.root, self.folder = pathlib.Path(root), pathlib.Path(folder)
        self.started = []
        self.is_one_session = False  # of all that is started: they share a CPU, and the kernel may share it out by sessions

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, arguments, cpu, port, environment=None):
        process = Process(arguments, cpu, port, environment, is_own_session=not self.is_one_session)
        self.started.append(process)
        return process

    def stop(self):
        for process in reversed(self.started):
            process.stop()
        self.started = []


def module(name):
    """nginx's loadable modules: where Debian puts them, or nothing when built in."""
    path = f"/usr/lib/nginx/modules/{name}.so"
    return f"load_module {path};" if os.path.exists(path) else ""


def nginx(bench, name, body, cpu, port, main="", workers=1):
    """An nginx with this inside http { }, or the stream section in `main`."""
    (bench.folder / name).mkdir(exist_ok=True)
    http = f"http {{ {NGINX_HTTP} {temporary_paths(bench, name)} {body} }}" if body else ""
    config = bench.file(
        f"{name}.conf",
        f"{main} worker_processes {workers}; daemon off; pid {bench.folder}/{name}/pid; error_log {bench.folder}/{name}/errors crit;"
        f"events {{ worker_connections 16384; }} {http}")
    return bench.start(["nginx", "-c", config, "-p", str(bench.folder / name)], cpu, port)


def temporary_paths(bench, name):
    paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    return " ".join(f"{p}_temp_path {bench.folder}/{name}/{p};" for p in paths)


def upstream(bench, cpu=LOAD_CPU, workers=1):
    """What all proxies stand before: nginx, so that it is never the slower side."""
    port = free_port()
    (bench.folder / "large").write_bytes(b"x" * 65536)
    nginx(bench, "upstream", f"""server {{ listen 127.0.0.1:{port} reuseport; root {bench.folder};
        location / {{ return 200 "hello world, this is the upstream speaking\\n"; }}
        location = /large {{ }} }}""", cpu, port, workers=workers)
    return port


def gateway(bench, upstream_port, extra="", environment=None, workers=1, cpu=PROXY_CPU, access_log="false"):
    port = free_port()
    config = bench.file(f"gateway-{port}.yaml", f"""
listen: 127.0.0.1:{port}
workers: {workers}
upstream: {{url: "http://127.0.0.1:{upstream_port}", max_connections: 1024}}
admin: {{listen: ""}}
log: {{access: {access_log}}}
{extra}
""")
    binary = str(bench.root / "build/release/kamiyo-gateway")
    return bench.start([binary, "run", "--config", config], cpu, port, environment)


def haproxy(bench, upstream_port, rules="", tables=""):
    port = free_port()
    config = bench.file(f"haproxy-{port}.cfg", f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 300s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
{rules}
  default_backend b
backend b
  server s 127.0.0.1:{upstream_port} pool-max-conn 1024 pool-purge-delay 60s
{tables}
""")
    return bench.start(["haproxy", "-f", config], PROXY_CPU, port)


def nginx_proxy(bench, upstream_port, http="", location="", main="", name=None, workers=1, cpu=PROXY_CPU):
    port = free_port()
    return nginx(bench, name or f"nginx-{port}", f"""{http}
        upstream u {{ server 127.0.0.1:{upstream_port}; keepalive 1024; keepalive_requests 1000000000; }}
        server {{ listen 127.0.0.1:{port} reuseport; location / {{ {location}
            proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""", cpu, port, main, workers)


def relay(bench, upstream_port):
    """nginx's stream module: bytes copied, nothing parsed. The floor."""
    port = free_port()
    return nginx(bench, f"relay-{port}", "", PROXY_CPU, port, f"""{module("ngx_stream_module")}
        stream {{ access_log off; server {{ listen 127.0.0.1:{port} reuseport; proxy_pass 127.0.0.1:{upstream_port}; }} }}""")


def redis(bench):
    port = free_port()
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    return bench.start([program, "--port", str(port), "--save", "", "--appendonly", "no"], LOAD_CPU, port)

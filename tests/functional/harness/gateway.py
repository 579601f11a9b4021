# SPDX-License-Identifier: MIT
"""The real binary under test: configured, started on free ports, observed, stopped cleanly."""

import json
import os
import re
import signal
from pathlib import Path

from harness import metrics, yaml_text
from harness.client import Client
from harness.message import request
from harness.process import Process, free_port, gateway_binary
from harness.wait import PATIENCE, eventually, until

# Everything from this machine is exempt, so that a test of HTTP is not one of limits. What ends a connection by the
# clock comes later than any wait of a test gives up, so that nothing ends in time by mistake.
BASE = {
    "workers": 1,
    "client": {"header_timeout": "120s", "body_timeout": "120s", "idle_timeout": "120s"},
    "upstream": {"idle_timeout": "120s", "queue_timeout": "120s"},
    "allow": ["127.0.0.0/8"],
    "log": {"level": "info", "access": {"enabled": True}},
    "drain_timeout": "1s",
}


TROUBLE = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehaviorSanitizer|runtime error:|Assertion .* failed"
    r"|stack smashing|double free|malloc\(\)"
)
START_SECONDS = 20.0


class StartFailed(AssertionError):
    pass


class Gateway:
    """One running gateway. `config` is laid over BASE; `text` replaces the file as a whole."""

    def __init__(self, directory, config=None, text=None, upstream=None, name="gateway", options=None):
        options = options or {}
        self.directory = Path(directory)
        self.name = name
        self.port, self.admin_port = free_port(), free_port()
        self.address = ("127.0.0.1", self.port)
        self.access_path = self.directory / f"{name}-access.log"
        self.config_path = self.directory / f"{name}.yaml"
        self.environment = options.get("env", {})
        self.arguments = options.get("arguments", [])
        self.preexec = options.get("preexec")
        self.wrapper = options.get("wrapper", [])
        self.clients = []
        self.config = yaml_text.merge(BASE, {"listen": f"127.0.0.1:{self.port}"})
        self.config = yaml_text.merge(self.config, {"admin": {"listen": f"127.0.0.1:{self.admin_port}"}})
        self.config = yaml_text.merge(self.config, {"log": {"access": {"file": str(self.access_path)}}})
        if upstream is not None:
            self.config = yaml_text.merge(self.config, {"upstream": {"url": upstream}})
        self.write_config(config or {}, text)
        self.process = None
        if options.get("start", True):
            self.start()

    # Its configuration and its life.

    def write_config(self, changes=None, text=None):
        """Writes the file anew; the running gateway takes no notice until reload()."""
        self.config = yaml_text.merge(self.config, changes or {})
        self.config_path.write_text(yaml_text.dump(self.config) if text is None else text)

    def start(self, wait=True):
        binary = gateway_binary()
        if not binary.exists():
            raise StartFailed(f"{binary} is not built")
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.directory)}
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "abort_on_error=0:exitcode=99")
        environment["UBSAN_OPTIONS"] = os.environ.get("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
        environment["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "exitcode=98")
        environment.update(self.environment)
        said = self.stderr().count("INFO - Listening on") if self.process else 0
        command = [*self.wrapper, binary, "run", "--config", self.config_path, *self.arguments]
        self.process = Process(command, self.directory, self.name, environment, preexec=self.preexec)
        if wait:
            self.wait_listening(said + 1)
        return self

    def wait_listening(self, count=1, seconds=START_SECONDS):
        def ready():
            return self.process.returncode is not None or self.stderr().count("INFO - Listening on") >= count

        until(ready, seconds)
        if self.process.returncode is not None or not ready():
            raise StartFailed(f"{self.name} did not start (exit {self.process.returncode}):\n{self.stderr()}")

    def reload(self, expect="success", seconds=PATIENCE):
        """SIGHUP, and waits until the reload is counted with that result."""
        def counted():
            return self.metrics().total("config_reloads_total", result=expect)

        before = counted()
        self.process.signal(signal.SIGHUP)
        if not until(lambda: counted() > before, seconds):
            raise AssertionError(f"no reload with result {expect} was counted")

    def terminate(self):
        self.process.signal(signal.SIGTERM)

    def stop(self, seconds=None):
        """Ends it with SIGTERM and returns what was wrong: an odd exit, a sanitizer's report."""
        for client in self.clients:
            client.close()
        if self.process is None:
            return []
        if self.process.returncode is None:
            self.process.resume()
            self.terminate()
        status = self.process.wait(seconds or 30.0)
        problems = []
        if status is None:
            problems.append("did not exit after SIGTERM")
            self.process.kill()
        elif status != 0 and not getattr(self, "expected_status", None) == status:
            problems.append(f"exited with status {status}")
        if TROUBLE.search(self.stderr()):
            problems.append("a sanitizer or an assertion spoke up")
        return problems

    def kill(self):
        self.expected_status = -9
        self.process.kill()

    # Talking to it.

    def client(self, **options):
        client = Client(options.pop("address", self.address), **options)
        self.clients.append(client)
        return client

    def exchange(self, data, method=None, timeout=None, **options):
        """One request on a connection of its own, and its answer."""
        client = self.client(**options)
        try:
            return client.exchange(data, method, timeout)
        finally:
            client.close()

    def get(self, target="/", fields=(), **options):
        return self.exchange(request("GET", target, fields), **options)

    def admin(self, target, method="GET", fields=()):
        client = Client(("127.0.0.1", self.admin_port))
        try:
            fields = [*fields, ("Connection", "close")]
            return client.exchange(request(method, target, fields, host=f"127.0.0.1:{self.admin_port}"), method)
        finally:
            client.close()

    # What it says.

    def metrics(self):
        self.process.wait_at_rest()  # an exchange is counted when its last bytes have been sent
        answer = self.admin("/metrics")
        assert answer.status == 200, answer
        return metrics.parse(answer.body.decode())

    def stderr(self):
        return self.process.stderr()

    def log_lines(self, word=""):
        return [line for line in self.stderr().splitlines() if word in line]

    def wait_log(self, text, seconds=PATIENCE, count=1):
        """The log lines that contain the text, once there are so many."""
        if not until(lambda: len(self.log_lines(text)) >= count, seconds):
            raise AssertionError(f"no {count} log lines with {text!r} in:\n{self.stderr()}")
        return self.log_lines(text)

    def access(self):
        """The access log, parsed; a line that is no JSON object is a failure."""
        if not self.access_path.exists():
            return []
        text = self.access_path.read_text(errors="surrogateescape")
        lines = text.split("\n")[:-1]  # what follows the last newline is not a line yet
        return [json.loads(line) for line in lines]

    def wait_access(self, count=1, seconds=PATIENCE, where=None):
        """The access-log records (that satisfy `where`), once there are so many; not more, either."""
        def found():
            return [record for record in self.access() if where is None or where(record)]

        until(lambda: len(found()) >= count, seconds)
        records = found()
        if len(records) < count:
            raise AssertionError(f"{len(records)} access-log lines, expected {count}: {records[-10:]}")
        return records

    def last_access(self, seconds=PATIENCE, **wanted):
        """The newest record whose members are as wanted."""
        def matches(record):
            return all(record.get(key) == value for key, value in wanted.items())

        return self.wait_access(1, seconds, matches)[-1]

    def describe(self, lines=40):
        """Its log's tail, for a failure's report."""
        if self.process is None:
            return ""
        tail = "\n".join(self.stderr().splitlines()[-lines:])
        access = ""
        if self.access_path.exists():
            access = "\n".join(self.access_path.read_text(errors="replace").splitlines()[-10:])
        state = self.process.returncode
        return (
            f"--- {self.name} (pid {self.process.pid}, {'running' if state is None else f'exit {state}'})\n"
            f"{tail}\n--- its access log\n{access}\n"
        )

    def settle(self):
        """Waits until no client connection but the admin one is open."""
        eventually(lambda: self.metrics().total("connections", side="client") == 0, "clients that have left are still connected")

# SPDX-License-Identifier: MIT
"""What a test is given: everything that it starts, cleaned up in reverse order when it ends."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from harness.gateway import Gateway
from harness.process import ROOT, Process, free_port, wait_for_port
from harness.redis import Redis, server_binary
from harness.upstream import Upstream

SHARED = {}  # gateways that serve many tests of one file: {key: (gateway, upstream, directory)}


class SampleApi:
    def __init__(self, directory):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        script = ROOT / "tests" / "sample_api" / "sample_api.py"
        self.process = Process([sys.executable, script, "--port", self.port], directory, "sample_api")
        if not wait_for_port(self.port):
            raise AssertionError("the sample API did not start:\n" + self.process.stderr())


class Context:
    def __init__(self, name):
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="kamiyo-test-"))
        self.cleanups = []
        self.gateways = []
        self.upstreams = []
        self.problems = []

    def defer(self, function, *arguments):
        """Calls it when the test ends, however it ends."""
        self.cleanups.append((function, arguments))

    # Fixtures.

    def gateway(self, config=None, upstream=None, text=None, name=None, **options):
        """A gateway of the test's own; `upstream` is an Upstream, a SampleApi or a URL."""
        name = name or f"gateway{len(self.gateways) + 1}"
        url = getattr(upstream, "url", upstream)
        gateway = Gateway(self.directory, config, text, url, name, dict(options, start=False))
        self.gateways.append(gateway)
        self.defer(self._stop_gateway, gateway)
        if options.get("start", True):
            gateway.start()
        return gateway

    def pair(self, config=None, **options):
        """A scripted upstream and a gateway before it."""
        upstream = self.upstream()
        return self.gateway(config, upstream, **options), upstream

    def shared(self, config=None):
        """As pair(), but one for all tests of the file that ask for the same configuration."""
        key = json.dumps(config, sort_keys=True)
        held = SHARED.get(key)
        if held and held[0].process.returncode is not None:
            drop_shared(key)
            held = None
        if not held:
            directory = Path(tempfile.mkdtemp(prefix="kamiyo-shared-"))
            upstream = Upstream()
            try:
                held = (Gateway(directory, config, None, upstream.url), upstream, directory)
            except BaseException:
                upstream.close()
                shutil.rmtree(directory, ignore_errors=True)
                raise
            SHARED[key] = held
        gateway, upstream, _ = held
        self.gateways.append(gateway)
        self.upstreams.append(upstream)
        self.defer(self._leave_shared, key, gateway, upstream)
        return gateway, upstream

    def upstream(self, **options):
        upstream = Upstream(**options)
        self.upstreams.append(upstream)
        self.defer(upstream.close)
        return upstream

    def redis(self, *options, **more):
        if not server_binary():
            raise AssertionError("no redis-server or valkey-server here")
        redis = Redis(self.directory, *options, **more)
        self.defer(redis.close)
        return redis

    def sample_api(self):
        api = SampleApi(self.directory)
        self.defer(api.process.kill)
        return api

    def process(self, arguments, name):
        process = Process(arguments, self.directory, name)
        self.defer(process.kill)
        return process

    # The end.

    def _stop_gateway(self, gateway):
        for problem in gateway.stop():
            self.problems.append(f"{gateway.name} {problem}")

    def _leave_shared(self, key, gateway, upstream):
        for client in gateway.clients:
            client.close()
        gateway.clients.clear()
        if gateway.process.returncode is not None:
            self.problems.append(f"the gateway died: exit {gateway.process.returncode}")
            self.problems.append(gateway.describe())
            drop_shared(key)
        else:
            gateway.settle()  # what the clients of this test left undone is over before the next begins
            self.check_upstream(upstream)
            upstream.reset()

    def check_upstream(self, upstream):
        for error in upstream.errors:
            self.problems.append(f"the upstream objects: {error}")
        upstream.errors = []

    def describe(self):
        return "".join(gateway.describe() for gateway in self.gateways)

    def finish(self):
        """Cleans up; the list of what was found wrong while doing so."""
        for upstream in self.upstreams:
            self.check_upstream(upstream)
        while self.cleanups:
            function, arguments = self.cleanups.pop()
            try:
                function(*arguments)
            except Exception as error:
                self.problems.append(f"cleaning up: {type(error).__name__}: {error}")
        return self.problems

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def drop_shared(key):
    """Stops one shared gateway; what was wrong with it."""
    gateway, upstream, directory = SHARED.pop(key)
    problems = gateway.stop()
    report = gateway.describe() if problems else ""
    upstream.close()
    shutil.rmtree(directory, ignore_errors=True)
    return [f"the shared gateway {problem}\n{report}" for problem in problems]


def drop_all_shared():
    problems = []
    for key in list(SHARED):
        problems += drop_shared(key)
    return problems

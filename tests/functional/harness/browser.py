# SPDX-License-Identifier: MIT
"""A real browser: Debian's Chromium without a window, driven through ChromeDriver's WebDriver (W3C) as JSON over HTTP."""

import base64
import http.client
import json
import os
import shutil
import tempfile
from pathlib import Path

from harness.process import Process, free_port
from harness.wait import until

START_SECONDS = 60.0
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c"}

# Nothing of its own goes out to the network, and no sandbox: the tests may run as root.
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
         "--disable-extensions", "--disable-features=Translate,OptimizationHints,MediaRouter", "--metrics-recording-only",
         "--no-default-browser-check", "--password-store=basic"]
OWN_PAGES = ("chrome:", "chrome-untrusted:", "about:", "data:,")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def is_installed():
    return shutil.which("chromedriver") is not None and (shutil.which("chromium") or shutil.which("chromium-browser"))


class Browser:
    """One window. Errors of WebDriver are AssertionErrors with its message."""

    def __init__(self, directory, size=(1200, 1000)):
        self.port = free_port()
        self.profile = tempfile.mkdtemp(dir=directory)
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": self.profile, "LANG": "C.UTF-8"}
        self.process = Process(["chromedriver", f"--port={self.port}"], Path(directory), f"chromedriver{self.port}", environment)
        self.session = None
        assert until(self.is_ready, START_SECONDS), "chromedriver does not answer"
        arguments = [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={size[0]},{size[1]}"]
        options = {"binary": is_installed(), "args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = made["sessionId"]

    def is_ready(self):
        try:
            return self.call("GET", "/status")["ready"]
        except OSError:
            return False

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def do(self, method, path, body=None):
        return self.call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.do("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value that a script returns; `arguments` is in it."""
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("const e = document.querySelector(arguments[0]); return e && e.textContent", selector)

    def press(self, *keys):
        """Keys for whatever has the focus: names of KEYS, or texts."""
        actions = []
        for key in keys:
            for letter in KEYS.get(key, key):
                actions += [{"type": "keyDown", "value": letter}, {"type": "keyUp", "value": letter}]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def focused(self):
        return self.run("const e = document.activeElement; return e.id || e.textContent")

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self.do("GET", "/screenshot")))

    def log(self, kind):
        return self.do("POST", "/se/log", {"type": kind})

    def complaints(self):
        """What the console says: errors, warnings, violations of the page's policy."""
        said = [entry["message"] for entry in self.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        return [message for message in said if not message.startswith(OWN_PAGES)]

    def requested(self):
        """Every address that pages asked for. The browser's own, as that of an empty window, do not count: what they ask for
        depends on the machine."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in asked if not each["documentURL"].startswith(OWN_PAGES)]

    def close(self):
        if self.session is not None:
            self.do("DELETE", "")
            self.session = None
        self.process.kill()

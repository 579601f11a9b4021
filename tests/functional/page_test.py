# SPDX-License-Identifier: MIT
"""The live page in a real browser: what people see, by pointer and by keyboard, and nothing that it should not do."""

import threading

from harness import browser, eventually, timeout
from harness.message import request
from harness.tokens import claims, hmac_token
from harness.wait import PATIENCE

RUNS_LONG = True  # started first

SECRET = "live-page-secret-0123456789abcdef"
LIMITED = {
    "allow": [],
    "identity": {"jwt": {"secrets": [SECRET]}},
    "tiers": {"anonymous": {"hour": 2}, "pro": {"day": 3}},
}
LONG = 4 * PATIENCE  # a browser beside other tests on two processors


class Page:
    """The page of a gateway in a browser of its own; closed with a look at what the browser has to say."""

    def __init__(self, t, gateway, target="/"):
        assert browser.is_installed(), "no chromium and chromedriver"
        self.origin = f"http://127.0.0.1:{gateway.admin_port}"
        self.browser = browser.Browser(gateway.directory)
        self.browser.open(self.origin + target)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                assert self.browser.complaints() == []
                foreign = [url for url in self.browser.requested() if not url.startswith(self.origin + "/")]
                assert foreign == [], f"the page asks for something elsewhere: {foreign}"
        finally:
            self.browser.close()

    def wait(self, selector, wanted):
        """Until the element's text is as wanted: contains it, or satisfies the function."""
        matches = wanted if callable(wanted) else lambda text: wanted in text
        last = []

        def seen():
            last[:] = [self.browser.text(selector)]
            return last[0] is not None and matches(last[0])

        eventually(seen, lambda: f"{selector} is {last}", LONG, 0.1)


def as_user(user):
    return [("Authorization", "Bearer " + hmac_token(SECRET, claims(user, "pro", seconds=900)))]


def spend(gateway, count, fields=()):
    client = gateway.client()
    for _ in range(count):
        client.exchange(request("GET", "/", fields))
    client.close()


@timeout(240)
def test_page_shows_what_happens(t):
    gateway, upstream = t.pair({**LIMITED, "workers": 2})
    over = threading.Event()

    def load():
        client = gateway.client()
        while not over.wait(0.02):
            client.exchange(request("GET", "/"))
        client.close()

    with Page(t, gateway) as page:
        page.wait("#link", "Live")
        page.wait("#store", "No Redis configured")
        page.wait("#top", "Nobody was limited.")
        thread = threading.Thread(target=load)
        thread.start()
        page.wait("#requests", lambda text: text[0].isdigit() and float(text) > 1)
        page.wait("#denied", lambda text: text[0].isdigit() and float(text) > 1)
        page.wait("#top tr", lambda text: text.startswith("ip:127.0.0.1anonymousdefaulthour"))
        page.wait("#answers", "4xx")
        page.wait("#tiers", "anonymous")
        page.wait("#endpoints tr", "in use")
        eventually(lambda: "L" in page.browser.run("return document.querySelector('#requests-line .line').getAttribute('d')"),
                   "no line is drawn", LONG, 0.1)
        over.set()
        thread.join()
        page.wait("#requests", lambda text: text == "0")


@timeout(240)
def test_page_tells_an_outage_and_a_restart(t):
    redis = t.redis()
    gateway = t.gateway({"redis": {"url": redis.url}}, t.upstream())
    with Page(t, gateway) as page:
        page.wait("#store", "Redis decides")
        redis.kill()
        page.wait("#store", "this gateway decides from its own table")
        page.wait("#store strong", "Redis away for ")
        assert "Redis away" in page.browser.run("return document.title")
        redis.start()
        page.wait("#store", "Redis decides")
        assert page.browser.run("return document.title") == "kamiyo-gateway"
        assert page.browser.complaints() == []
        gateway.terminate()
        assert gateway.process.wait(PATIENCE) == 0
        page.wait("#link", "Trying again.")
        gateway.start()
        page.wait("#link", "Live")
        page.browser.complaints()  # that nothing answered for a while is a complaint of the browser's own


@timeout(240)
def test_reset_by_keyboard(t):
    gateway, upstream = t.pair(LIMITED)
    spend(gateway, 5, as_user("bob"))
    with Page(t, gateway) as page:
        page.wait("#top tr", "user:bob")
        for _ in range(3):
            page.browser.press("Tab")
            if page.browser.focused() == "user:bob":
                break
        assert page.browser.focused() == "user:bob"
        page.browser.press("Enter")
        page.wait("#client-key", "user:bob")
        page.wait("#client-body", "0 of 3 left")
        assert page.browser.focused() == "close", "what is safe has the focus"
        page.browser.run("document.getElementById('give').focus()")
        page.browser.press("Enter")
        page.wait("#give", "Yes, give them back")
        assert gateway.get("/", as_user("bob")).status == 429, "nothing is given before it is confirmed"
        page.browser.press("Enter")
        page.wait("#client-said", "Given back: 1 bucket.")
        page.wait("#client-body", "3 of 3 left")
        page.browser.press("Escape")
        eventually(lambda: not page.browser.run("return document.getElementById('client').open"), "the dialog is still open")
        assert gateway.get("/", as_user("bob")).status == 200


@timeout(240)
def test_names_are_never_markup(t):
    """A user may be called anything, and the page shows it as text."""
    gateway, upstream = t.pair(LIMITED)
    user = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    spend(gateway, 5, as_user(user))
    with Page(t, gateway) as page:
        page.wait("#top tr", "user:")
        page.browser.run("document.querySelector('#top button').click()")
        page.wait("#client-body", "0 of 3 left")
        # As the id is escaped in a key, markup cannot even stand in one; so also by the field, which takes anything.
        page.browser.run("const f = document.getElementById('find'); f.value = arguments[0]; document.getElementById('find-go').click()", user)
        page.wait("#client-key", "user:" + user)
        assert page.browser.run("return document.querySelectorAll('img, script:not([nonce])').length") == 0
        assert page.browser.run("return document.title") == "kamiyo-gateway"
        # And if markup stood in the page, the policy would not let it run.
        page.browser.run("const s = document.createElement('script'); s.textContent = 'document.title=\"owned\"'; document.body.append(s)")
        assert page.browser.run("return document.title") == "kamiyo-gateway"
        assert any("Content Security Policy" in line for line in page.browser.complaints())


@timeout(240)
def test_signing_in(t):
    gateway, upstream = t.pair({"admin": {"token": "se&sa=me%"}})
    with Page(t, gateway, "/?token=se%26sa%3Dme%25") as page:
        page.wait("#link", "Live")
        assert page.browser.run("return location.href") == page.origin + "/", "the token does not stay in the address"
        assert page.browser.run("return document.cookie") == ""

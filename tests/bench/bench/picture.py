# SPDX-License-Identifier: MIT
"""The figures as a bar chart in SVG: nothing from outside, readable on light and dark ground and to screen readers."""
from xml.sax.saxutils import escape

from . import cases

WIDTH, LEFT, RIGHT = 760, 112, 200  # names to the left of the bars, figures to the right
BAR, STEP, HEADING, GAP = 14, 19, 22, 16
NAMES = {"gateway": "gateway", "haproxy": "HAProxy", "nginx": "nginx", "relay": "relay", "without": "without log",
         "one worker": "one worker", "none": "no proxy"}
TITLES = {case.name: case.title for case in cases.CASES} | {"workers": "two windows, two workers and one"}
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2933 }
.title { font-size: 17px; font-weight: 600 } .case { font-weight: 600 } .note { font-size: 12px; font-weight: 400; fill: #52606d }
.name { text-anchor: end } .ground { fill: #fff } .gateway { fill: #0b7285 } .other { fill: #9aa5b1 } .floor { fill: #cbd2d9 }
@media (prefers-color-scheme: dark) {
text { fill: #e4e7eb } .note { fill: #9aa5b1 } .ground { fill: #12181f } .gateway { fill: #3bc9db }
.other { fill: #616e7c } .floor { fill: #3e4c59 } }
"""


class Drawing:
    """Parts from the top downwards."""

    def __init__(self):
        self.parts, self.y = [], 34

    def text(self, kind, words, x=16):
        self.parts.append(f'<text class="{kind}" x="{x}" y="{self.y}">{escape(words)}</text>')

    def heading(self, words, note):
        self.y += GAP
        self.parts.append(f'<text class="case" x="16" y="{self.y}">{escape(words)}'
                          f'<tspan class="note" dx="8">{escape(note)}</tspan></text>')
        self.y += HEADING - BAR

    def bar(self, name, share, words):
        width = (WIDTH - LEFT - RIGHT) * share
        kind = name if name == "gateway" else "floor" if name in ("relay", "none") else "other"
        base = self.y + BAR - 3
        self.parts.append(f'<text class="name" x="{LEFT - 8}" y="{base}">{escape(NAMES.get(name, name))}</text>'
                          f'<rect class="{kind}" x="{LEFT}" y="{self.y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
                          f'<text class="note" x="{LEFT + width + 8:.1f}" y="{base}">{escape(words)}</text>')
        self.y += STEP


def draw_case(drawing, name, table):
    drawing.heading(TITLES.get(name, name), "CPU a request")
    longest = max(row["us"] for row in table.values())
    for proxy, row in table.items():
        beside = f", gateway {row['ratio']:.2f} of it" if "ratio" in row else ""
        drawing.bar(proxy, row["us"] / longest, f"{row['us']:.1f} µs{beside}")


def draw_rate(drawing, rate):
    drawing.heading(f"{rate['rate']:,} requests a second", "99 of 100 answers came within")
    rows = rate["proxies"]
    longest = max(row["p99"] for row in rows.values())
    for proxy in sorted(rows, key=lambda name: name == "none"):
        row = rows[proxy]
        drawing.bar(proxy, row["p99"] / longest, f"{row['p99']:,.0f} µs, half within {row['p50']:,.0f}")


def description(report):
    """The same in words."""
    words = [f"{TITLES.get(name, name)}: " + ", ".join(f"{NAMES.get(proxy, proxy)} {row['us']:.1f} microseconds" for proxy, row in table.items())
             for name, table in report["cases"].items()]
    if "rate" in report:
        words.append(f"p99 at {report['rate']['rate']} requests a second: " + ", ".join(
            f"{NAMES.get(proxy, proxy)} {row['p99']:.0f} microseconds" for proxy, row in report["rate"]["proxies"].items()))
    return ". ".join(words) + "."


def draw(report):
    machine = report.get("machine", {})
    drawing = Drawing()
    drawing.text("title", "What a proxied request costs")
    drawing.y += 20
    drawing.text("note", "The proxy's own CPU time, one worker, alone on its CPU; each case to its own scale, shorter is better.")
    drawing.y += 17
    drawing.text("note", f"HAProxy {machine.get('haproxy')}, nginx {machine.get('nginx')}; relay is nginx copying bytes. "
                         f"{machine.get('cpu')}, Linux {machine.get('kernel')}, {machine.get('date')}.")
    drawing.y += 14
    for name, table in report["cases"].items():
        draw_case(drawing, name, table)
    if "rate" in report:
        draw_rate(drawing, report["rate"])
    height = drawing.y + 12
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
            f' aria-labelledby="title description">\n<title id="title">CPU time of a request through the gateway, HAProxy, nginx and a relay</title>\n'
            f'<desc id="description">{escape(description(report))}</desc>\n<style>{STYLE}</style>\n'
            f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>\n' + "\n".join(drawing.parts) + "\n</svg>\n")

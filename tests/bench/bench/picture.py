# SPDX-License-Identifier: MIT
"""The figures as a bar chart in SVG, for the documentation."""
from xml.sax.saxutils import escape

COLOURS = {"gateway": "#0b7285", "haproxy": "#868e96", "nginx": "#adb5bd", "relay": "#dee2e6", "without": "#adb5bd",
           "one worker": "#adb5bd"}
WIDTH, BAR, GAP, LEFT = 760, 16, 26, 150


def draw(report):
    longest = max((row["us"] for table in report["cases"].values() for row in table.values()), default=1)
    parts, y = [], 30
    for name, table in report["cases"].items():
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{escape(name)}</text>')
        y += 8
        for proxy, row in table.items():
            width = (WIDTH - LEFT - 130) * row["us"] / longest
            note = f'{row["us"]:.1f} us' + (f', gateway is {row["ratio"]:.2f} of it' if "ratio" in row else "")
            parts.append(f'<text x="{LEFT - 8}" y="{y + BAR - 4}" text-anchor="end">{escape(proxy)}</text>'
                         f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{COLOURS.get(proxy, "#ced4da")}"/>'
                         f'<text x="{LEFT + width + 6:.1f}" y="{y + BAR - 4}">{escape(note)}</text>')
            y += BAR
        y += GAP
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">'
            f'<title>CPU microseconds a request</title><rect width="{WIDTH}" height="{y}" fill="white"/>{"".join(parts)}</svg>\n')

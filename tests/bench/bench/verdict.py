# SPDX-License-Identifier: MIT
"""What the figures are to be: one row for each, with the bound that must be kept and the one that is aimed at."""
import dataclasses

GOOD, KEPT, MISSED = "aim", "must", "MISSED"


@dataclasses.dataclass
class Row:
    title: str
    must: float
    aim: float
    find: callable  # in the report; KeyError when it was not measured
    unit: str = ""

    def value(self, report):
        try:
            return self.find(report)
        except KeyError:
            return None


def ratio(case, other):
    return lambda report: report["cases"][case][other]["ratio"]


ROWS = [
    Row("plain proxy, of HAProxy", 0.90, 0.80, ratio("plain", "haproxy")),
    Row("plain proxy, of nginx", 0.95, 0.85, ratio("plain", "nginx")),
    Row("two windows, 100,000 users, of HAProxy's stick table", 0.88, 0.80, ratio("users", "haproxy")),
    Row("two windows, 100,000 users, of nginx's limit_req", 0.90, 0.82, ratio("users", "nginx")),
    Row("two windows, 100,000 users, of a relay that parses nothing", 1.20, 1.08, ratio("users", "relay")),
    Row("429, of nginx's limit_req", 0.95, 0.88, ratio("denied", "nginx")),
    Row("64 KB bodies, of HAProxy", 0.85, 0.72, ratio("large", "haproxy")),
    Row("Redis, 64 connections, of nginx with lua-nginx-redis", 0.60, 0.48, ratio("redis", "nginx")),
    Row("Redis, one connection, of nginx with lua-nginx-redis", 0.80, 0.66, ratio("redis-one", "nginx")),
    Row("system calls, proxied", 6.1, 6.0, lambda report: report["calls"]["proxied"]),
    Row("system calls, 429", 3.1, 3.0, lambda report: report["calls"]["429"]),
    Row("system calls, Redis", 9.2, 9.0, lambda report: report["calls"]["redis"]),
    Row("an idle connection", 700, 512, lambda report: report["idle"], "bytes"),
    Row("a bucket of two windows", 128, 88, lambda report: report["bucket"], "bytes"),
    Row("p99 at a fixed rate, of the better other", 1.25, 1.0, lambda report: report["rate"]["of_best"]),
    Row("two workers, of one worker", 1.10, 1.03, ratio("workers", "one worker")),
    Row("with the access log, of without", 1.05, 1.05, ratio("log", "without")),
]


def judge(row, value):
    """A bound written to one decimal is met by what rounds to it: the log's writer and timers go by the clock."""
    rounded = round(value, 1) if row.title.startswith("system calls") else value
    return GOOD if rounded <= row.aim else KEPT if rounded <= row.must else MISSED


def rows(report):
    """[{figure, value, must, aim, verdict}] of what was measured."""
    found = [(row, row.value(report)) for row in ROWS]
    return [{"figure": row.title, "value": round(value, 3), "unit": row.unit, "must": row.must, "aim": row.aim,
             "verdict": judge(row, value)} for row, value in found if value is not None]


def warnings(report):
    """What makes figures of this run doubtful."""
    said = []
    for name, table in report["cases"].items():
        others = max(row["others"] for row in table.values())
        if others > 0.1:
            said.append(f"{name}: the machine was not quiet, others used {others:.2f} of a CPU")
        row = table["gateway"]
        if row["load_busy"] > 0.95 and row["busy"] < 0.9:
            said.append(f"{name}: the load was the limit, its CPU busy for {row['load_busy']:.0%}, the gateway's for {row['busy']:.0%}")
    return said + [f"rate: {limit}" for limit in report.get("rate", {}).get("limits", [])]


def notes(report):
    """What a figure is to be read beside."""
    control = report["cases"].get("workers", {}).get("one worker", {}).get("control")
    return [f"two workers, of one worker: {control:.2f} for nginx, whose workers share nothing"] if control else []


def say_value(row):
    return f"{row['value']:.0f} {row['unit']}" if row["unit"] else f"{row['value']:.2f}"


def table(report):
    lines = [f"{'figure':<62}{'value':>11}{'must':>8}{'aim':>8}  met"]
    for row in rows(report):
        lines.append(f"{row['figure']:<62}{say_value(row):>11}{row['must']:>8}{row['aim']:>8}  {row['verdict']}")
    return "\n".join(lines + [f"  {note}" for note in notes(report)] + [f"! {warning}" for warning in warnings(report)])

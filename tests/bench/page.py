"""`python -m tests.bench.page`: write the figures of a run into docs/performance.md, so that none is ever typed."""

import json
from pathlib import Path
from typing import Any

import click

from tests.bench.chart import chart
from tests.bench.goals import GOALS
from tests.bench.results import (
    BARE,
    DAFTARI,
    NOTHING,
    PLAIN,
    PLAIN_ON_OUR_SERVER,
    WITH_KEYS,
    Figures,
    middle,
    ratios,
    values,
)

PAGE = Path("docs/performance.md")
FIGURES = Path("docs/performance.json")
CHART = Path("docs/images/performance.svg")
RESULTS, BOUNDS = "Results", "Bounds"
"""What stands between marks in the page."""

SUBJECTS = (DAFTARI, WITH_KEYS, PLAIN, PLAIN_ON_OUR_SERVER)
RATE = ("lifecycles_per_second",)
PROCESSOR = ("processor_milliseconds_per_lifecycle", "own")


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path), default=FIGURES)
def write(source: Path) -> None:
    """Copy the figures of SOURCE, such as build/bench.json, into docs/, and write tables and chart of them."""
    results = json.loads(source.read_text("utf-8"))
    FIGURES.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    CHART.write_text(chart(results), "utf-8")
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), results), "utf-8")


def with_tables(page: str, results: Figures) -> str:
    """Return the page with the tables of these figures in place of those between the marks."""
    for name, lines in ((RESULTS, tables(results)), (BOUNDS, _bounds(results))):
        begin, end = (
            f"<!-- {mark} of {name}, written by python -m tests.bench.page -->" for mark in ("Begin", "End")
        )
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"])
    return page


def _bounds(results: Figures) -> list[str]:
    rows = [[step, *(f"{count:,}" for count in most.values())] for step, most in results["bounds"].items()]
    return _table(("step", "statements", "round trips", "commits", "bytes of WAL"), rows)


def tables(results: Figures) -> list[str]:
    """Return the lines of all tables, in Markdown; those of parts that were not measured are left out."""
    sections = (_about, _goals, _lifecycles, _parts, _steps, _polls, _open, _floor, _starts, _overload)
    found = [lines for section in sections if (lines := section(results))]
    return "\n\n".join("\n".join(lines) for lines in found).split("\n")


def _about(results: Figures) -> list[str]:
    about = results["machine"]
    return [
        f"Measured at {about['at']} on commit {about['commit']}: {about['cores']} cores, Python {about['python']}. The "
        f"machine's load was {about['load_before'][0]} before and {about['load_after'][0]} after; the host took away "
        f"{about['steal_percent']} % of the processor time. A figure is the median of its turns, with the least and "
        "the greatest."
    ]


def _goals(results: Figures) -> list[str]:
    rows = [[goal.what, shown, goal.goal] for goal in GOALS if (shown := goal.reached(results)) != NOTHING]
    return _table(("goal", "reached", "wanted"), rows)


def _lifecycles(results: Figures) -> list[str]:
    rows = []
    for clients in _clients(results, "lifecycles"):
        for subject in SUBJECTS:
            found = values(results, "lifecycles", subject, *RATE, clients=clients)
            used = values(results, "lifecycles", subject, *PROCESSOR, clients=clients)
            faster = ratios(results, "lifecycles", subject, PLAIN, *RATE, clients=clients)
            cheaper = ratios(results, "lifecycles", subject, PLAIN, *PROCESSOR, clients=clients)
            of_plain = [middle(one, "{:.2f}") if subject != PLAIN else "1" for one in (faster, cheaper)]
            rows.append([clients, subject, middle(found), of_plain[0], middle(used), of_plain[1]])
    head = (
        "clients",
        "",
        "lifecycles a second",
        "of plain rows",
        "processor ms a lifecycle",
        "of plain rows",
    )
    return _table(head, [row for row in rows if row[2] != NOTHING])


def _parts(results: Figures) -> list[str]:
    names = ("API", "worker", "PostgreSQL", "simulator", "client")
    rows = [
        [
            clients,
            subject,
            *(
                middle(values(results, "lifecycles", subject, PROCESSOR[0], name, clients=clients))
                for name in names
            ),
        ]
        for clients in _clients(results, "lifecycles")
        for subject in SUBJECTS
    ]
    return _table(("clients", "processor ms of", *names), [row for row in rows if row[2] != NOTHING])


def _steps(results: Figures) -> list[str]:
    steps = ("create", "initiate", "order", "status")
    rows = [
        [subject, *(middle(values(results, "one", subject, "milliseconds", step, "p50")) for step in steps)]
        for subject in SUBJECTS
    ]
    head = ("one client, p50 in ms", "create", "initiate", "prompt to order seen", "status")
    return _table(head, [row for row in rows if row[1] != NOTHING])


def _polls(results: Figures) -> list[str]:
    rows = [
        [
            subject,
            middle(values(results, "polls", subject, "per_second"), "{:.0f}"),
            middle(ratios(results, "polls", subject, BARE, "per_second"), "{:.2f}"),
            middle(values(results, "polls", subject, "processor_milliseconds"), "{:.2f}"),
        ]
        for subject in (DAFTARI, PLAIN_ON_OUR_SERVER, BARE)
    ]
    head = ("status, 32 clients", "polls a second", "of the bare view", "processor ms a poll")
    return _table(head, [row for row in rows if row[1] != NOTHING])


def _open(results: Figures) -> list[str]:
    rows = []
    for subject in (DAFTARI, PLAIN):
        for step in ("create", "initiate", "order", "status", "list", "session", "events"):
            if step in next((turn["milliseconds"] for turn in _turns(results, "open", subject)), {}):
                spread = (
                    values(results, "open", subject, "milliseconds", step, part) for part in ("p50", "p99")
                )
                rows.append([subject, step, *map(middle, spread)])
    rates = [turn["arrivals_per_second"] for turn in _turns(results, "open", DAFTARI)]
    return _table((f"{middle(rates)} buyers a second", "step", "p50 ms", "p99 ms"), rows)


def _floor(results: Figures) -> list[str]:
    rows = [
        [
            name,
            middle(values(results, "floor", name, "per_second"), "{:.0f}"),
            middle(_cost_of(results, name), "{:.2f}"),
        ]
        for name in ("lifecycle", "poll")
    ]
    head = ("pgbench, 8 clients, statements of the plain rows", "a second", "PostgreSQL's ms each")
    return _table(head, [row for row in rows if row[1] != NOTHING])


def _cost_of(results: Figures, name: str) -> list[float]:
    return values(results, "floor", name, "processor_milliseconds")


def _starts(results: Figures) -> list[str]:
    rows = [
        [name, f"{seconds:.2f} s"]
        for turn in _turns(results, "starts", DAFTARI)
        for name, seconds in {
            **{f"`daftari up` until ready, {kind}": seconds for kind, seconds in turn["ready"].items()},
            **{f"`{name}`": seconds for name, seconds in turn["commands"].items()},
        }.items()
    ]
    if megabytes := results["api_process_megabytes"]:
        rows.append(["memory of an API process after the load", f"{max(megabytes):.0f} MB"])
    return _table(("starting, commands and memory", "found"), rows)


def _overload(results: Figures) -> list[str]:
    rows = [
        [
            f"{turn['arrivals_per_second']:.0f}",
            f"{turn['buyers']}",
            f"{turn['orders']}",
            f"{sum(turn['refused'].values())}, {turn['refused_without_retry_after']}",
            f"{sum(turn['other_failures'].values())}",
            f"{turn['goodput_of_peak']:.2f}",
            f"{turn['order_milliseconds']['p50']:.0f} / {turn['order_milliseconds']['p99']:.0f} ms",
            "not in time"
            if turn["recovered_after_seconds"] is None
            else f"{turn['recovered_after_seconds']} s",
        ]
        for turn in _turns(results, "overload", DAFTARI)
    ]
    head = (
        "three times the peak: buyers a second",
        "buyers",
        "orders",
        "429 or 503, without Retry-After",
        "other failures",
        "orders a second over the peak's",
        "prompt to order, p50 / p99",
        "as before after",
    )
    return _table(head, rows)


def _turns(results: Figures, part: str, subject: str) -> list[Figures]:
    return [turn for turn in results["turns"] if turn["part"] == part and turn["subject"] == subject]


def _clients(results: Figures, part: str) -> list[int]:
    return sorted({turn["clients"] for turn in results["turns"] if turn["part"] == part})


def _table(head: tuple[str, ...], rows: list[list[Any]]) -> list[str]:
    if not rows:
        return []
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


if __name__ == "__main__":
    write()

"""`python -m tests.bench.soak`: half the load for half an hour, and what grows meanwhile."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

import click
import psycopg

from tests.bench.lifecycles import serve
from tests.bench.open_load import OpenLoad, run_open_load
from tests.bench.plain_stack import superuser_url
from tests.bench.processes import API, WORKER
from tests.bench.subjects import POLL_SECONDS, WARM_UP_CLIENTS, Subject, running_daftari_alone

CLIENTS = 128
MAX_GROWTH_PERCENT, MAX_BLOAT_PERCENT, MAX_EVENTS_BEHIND = 5, 20, 1_000
JUDGED_FROM_MEGABYTES = 64
"""The size from which a table must not be dead or free beyond that; smaller ones are told.

While a verification reads its snapshot, each version of a row stays that is written in every round of the views. What
that takes up, some 15 MB a minute at half of the peak, is free for later versions: in a table of few rows nearly all.
"""

SETTLED_AFTER = 0.2
"""The share of the run after which memory counts: pools, caches and the allocator fill first."""

EVENTS_BEHIND = """
SELECT count(*) FROM payment_events WHERE position > (SELECT min(position) FROM follower_positions)
"""
# What is dead or free, of the tables that are large enough to tell. The carts are filled before the run, and it uses
# them up.
BLOAT = """
SELECT relname, round((dead_tuple_percent + approx_free_percent)::numeric, 1)::float,
       round(pg_relation_size(relid) / 1e6, 1)::float
  FROM pg_stat_user_tables, pgstattuple_approx(relid::regclass)
 WHERE pg_relation_size(relid) > 4 * 1024 * 1024 AND relname <> 'shop_cart_items'
"""


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.2), default=30, show_default=True)
@click.option(
    "--per-second", type=float, help="Buyers a second; half of what 32 clients complete if not given."
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("build/soak.json"), show_default=True)
def soak(minutes: float, per_second: float | None, output: Path) -> None:
    """Let buyers come at a constant rate; sample memory, followers and bloat; exit with 1 beyond the limits."""
    with running_daftari_alone() as (subject, stack):
        rate = per_second or _peak(subject) / 2
        buyers = subject.take(round(rate * minutes * 60))
        click.echo(f"{rate:.1f} buyers a second for {minutes:g} minutes.", err=True)
        loads: list[OpenLoad] = []
        thread = Thread(
            target=lambda: loads.append(
                run_open_load(
                    subject.port, buyers, rate, clients=CLIENTS, poll_seconds=POLL_SECONDS, reads=True
                )
            )
        )
        thread.start()
        with psycopg.connect(superuser_url(stack), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pgstattuple")
            samples = list(_samples(subject, connection, thread, every_seconds=minutes))
        found = {"per_second": rate, "samples": samples, **loads[0].figures(), "problems": subject.check()}
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(found, indent=2), "utf-8")
    beyond = _beyond(samples) + [f"{times} times {why}" for why, times in loads[0].failures.items()]
    click.echo("\n".join([*map(json.dumps, (samples[0], samples[-1])), *beyond, *found["problems"]]))
    if beyond or found["problems"]:
        sys.exit(1)


def _peak(subject: Subject) -> float:
    buyers, started = subject.take(300), perf_counter()
    serve(subject.port, buyers, WARM_UP_CLIENTS, POLL_SECONDS)
    return len(buyers) / (perf_counter() - started)


def _samples(
    subject: Subject, connection: psycopg.Connection[Any], load: Thread, *, every_seconds: float
) -> Iterator[dict[str, Any]]:
    started = perf_counter()
    while load.is_alive():
        load.join(every_seconds)
        [(behind,)] = connection.execute(EVENTS_BEHIND).fetchall()
        bloat = connection.execute(BLOAT).fetchall()
        yield {
            "seconds": round(perf_counter() - started, 1),
            "memory_megabytes": {
                "API": [round(size, 1) for size in subject.processors.memory_megabytes(API)],
                "worker": round(subject.processors.root(WORKER).memory_info().rss / 1e6, 1),
            },
            "events_behind": behind,
            "bloat_percent": {table: percent for table, percent, _ in bloat},
            "table_megabytes": {table: megabytes for table, _, megabytes in bloat},
        }


def _beyond(samples: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each limit that was passed."""
    first, last = samples[int(len(samples) * SETTLED_AFTER)], samples[-1]
    beyond = []
    for part, (before, after) in {
        "API": [sum(sample["memory_megabytes"]["API"]) for sample in (first, last)],
        "worker": [sample["memory_megabytes"]["worker"] for sample in (first, last)],
    }.items():
        growth = 100 * (after / before - 1)
        if growth > MAX_GROWTH_PERCENT:
            beyond.append(f"The memory of the {part} grew by {growth:.1f} %.")
    if last["events_behind"] > MAX_EVENTS_BEHIND:
        beyond.append(f"A follower is {last['events_behind']} events behind.")
    beyond += [
        f"{percent:.0f} % of {table} is dead or free."
        for table, percent in last["bloat_percent"].items()
        if percent > MAX_BLOAT_PERCENT and last["table_megabytes"][table] >= JUDGED_FROM_MEGABYTES
    ]
    return beyond


if __name__ == "__main__":
    soak()

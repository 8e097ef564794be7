"""`python -m tests.bench.lag`: how long after an event was recorded its views show it, and what following costs.

Sessions are written at a constant rate, each with its events in one commit, into a running Daftari. Beside them one
connection reads the positions of the followers over and over, so that a lag is known to that pause.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from statistics import median
from threading import Thread
from time import perf_counter, sleep
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from api.local.local_settings import local_settings
from ledger import clock
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.sample.calendar import Calendar
from payments.sample.chunks import ChunkWriter, Sample
from payments.worker.processes import PROCESSES, View
from tests.bench.bench_stack import BenchStack
from tests.bench.plain_stack import superuser_url
from tests.bench.processes import POSTGRES, WORKER
from tests.bench.subjects import running_daftari_alone

EVENTS_A_SESSION = 4.6
SHARE_OF_A_DAY = 400
"""The sample's day has so many times the sessions that are written, so that these begin within some minutes."""

HOUR = timedelta(hours=1)
LOOK_SECONDS = 0.002
CAUGHT_UP_WITHIN_SECONDS = 10
POSITIONS = "SELECT name, position, clock_timestamp() AS at FROM follower_positions WHERE name = ANY(%s)"
EVENTS = "SELECT position, topic, recorded_at FROM payment_events WHERE position > %s ORDER BY position"
END = "SELECT max(position) AS position FROM payment_events"

Row = dict[str, Any]


@click.command()
@click.option("--per-second", type=click.FloatRange(min=1), default=500, show_default=True, help="Events.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20, show_default=True)
def lag(per_second: float, seconds: float) -> None:
    """Print the median, the 99th percentile and the greatest lag of each view, in milliseconds."""
    with running_daftari_alone() as (subject, stack):
        vault = Vault(Database(superuser_url(stack), role=""), _master_key(stack))
        views = {each.name: each.projection(vault).topics for each in PROCESSES if isinstance(each, View)}
        with psycopg.connect(superuser_url(stack), autocommit=True, row_factory=dict_row) as connection:
            first = _one(connection, END)["position"]
            before = subject.processors.seconds()
            writing = Thread(
                target=_write, args=(stack, round(per_second * seconds / EVENTS_A_SESSION), seconds)
            )
            writing.start()
            looks = _look(connection, writing, list(views))
            used = {part: after - before[part] for part, after in subject.processors.seconds().items()}
            events = connection.execute(EVENTS, (first,)).fetchall()
    click.echo(
        f"{len(events)} events; processor time an event: worker {1e6 * used[WORKER] / len(events):.0f} µs, "
        f"PostgreSQL with the writing {1e6 * used[POSTGRES] / len(events):.0f} µs"
    )
    for name, topics in views.items():
        found = _lags([each for each in events if not topics or each["topic"] in topics], looks, name)
        if found:
            last = found[math.ceil(0.99 * len(found)) - 1]
            times = f"median {median(found):6.1f}, p99 {last:6.1f}, most {found[-1]:6.1f} ms"
            click.echo(f"{name:16} {len(found):6} events: {times}")


def _master_key(stack: BenchStack) -> bytes:
    return local_settings(stack.environ).daftari_master_key


def _write(stack: BenchStack, sessions: int, seconds: float) -> None:
    """Write sessions that began within the last hour, as those of buyers do, one a commit, each when it is due."""
    now = clock.now().astimezone(clock.NAIROBI)
    day, of_day = Calendar(now.date(), now.date()), SHARE_OF_A_DAY * sessions
    first = bisect_left(range(of_day), now - HOUR, key=lambda number: day.moment(number / of_day))
    database = Database(superuser_url(stack), max_connections=2, role="")
    writer = ChunkWriter(
        Sample(of_day, 1, now.date(), now.date(), at_once=1), database, Vault(database, _master_key(stack))
    )
    started = perf_counter()
    for number in range(sessions):
        sleep(max(0.0, started + number * seconds / sessions - perf_counter()))
        writer.write(first + number)
    database.close()
    late = perf_counter() - started - seconds
    if late > 1:
        click.echo(f"The writer was {late:.1f} s late: the machine cannot write so fast.", err=True)


def _look(connection: psycopg.Connection[Row], writing: Thread, names: Sequence[str]) -> list[Row]:
    """Return the positions as they moved, until what was written has been followed."""
    looks: list[Row] = []
    ends_at = math.inf
    while perf_counter() < ends_at:
        looks.extend(connection.execute(POSITIONS, (names,)).fetchall())
        sleep(LOOK_SECONDS)
        if ends_at == math.inf and not writing.is_alive():
            ends_at = perf_counter() + CAUGHT_UP_WITHIN_SECONDS
    return looks


def _lags(events: Sequence[Row], looks: Sequence[Row], name: str) -> list[float]:
    """Return how many milliseconds after each event was recorded its follower had passed it, in rising order."""
    passed, found = iter([look for look in looks if look["name"] == name]), []
    look = next(passed, None)
    for event in events:
        while look is not None and look["position"] < event["position"]:
            look = next(passed, None)
        if look is None:
            break
        found.append((look["at"] - event["recorded_at"]) / timedelta(milliseconds=1))
    return sorted(found)


def _one(connection: psycopg.Connection[Row], query: str) -> Row:
    [row] = connection.execute(query.encode()).fetchall()
    return row


if __name__ == "__main__":
    lag()

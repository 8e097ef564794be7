"""`python -m tests.bench.rebuilding`: how long appends wait while `daftari rebuild` compares, mends and swaps rows."""

import logging
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from time import perf_counter, sleep

import click
import psycopg
import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from tests.bench.bench_stack import DAFTARI, started_daftari
from tests.bench.plain_stack import superuser_url
from tests.bench.report import spread
from tests.bench.sample_store import catch_up, sample_store
from tests.support.checkouts import Checkout

APART_SECONDS = 0.005
QUIET_SECONDS = 10.0
OPEN_SESSIONS = 50
"""A new session is appended to again after so many others."""

ROWS_TRIED = 20_000
ANY_SESSIONS = "SELECT session_id FROM payment_sessions ORDER BY random() LIMIT %s"
LOCK = "SELECT FROM payment_sessions WHERE session_id = %s FOR NO KEY UPDATE"
"""As an append locks the row of a session that is there."""

TAMPER = {
    "payment_metrics": "UPDATE payment_metrics SET paid = paid + 1",
    "payment_sessions": "UPDATE payment_sessions SET goods_cents = goods_cents + 1",
}


@dataclass
class Times:
    """The seconds that each append took, and each lock."""

    appends: list[float] = field(default_factory=list)
    locks: list[float] = field(default_factory=list)


@click.command()
@click.option(
    "--sessions", type=click.IntRange(1_000), default=200_000, show_default=True, help="In the store."
)
def rebuilding(sessions: int) -> None:
    """Spoil every row of a projection, rebuild it beside a worker, and time every append and row lock meanwhile."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with sample_store() as store, started_daftari(store.folder, store.environ) as stack:
        url = superuser_url(stack)
        store.fill(url, sessions)
        catch_up(stack)
        ledger = Ledger(database := Database(url, role=""), KeyRing(database, store.master_key))
        ends_at = perf_counter() + QUIET_SECONDS
        _show("no rebuild", _appends_while(ledger, url, lambda: perf_counter() < ends_at), QUIET_SECONDS)
        for name, spoil in TAMPER.items():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(spoil)
            _rebuild(name, store.environ, partial(_appends_while, ledger, url))
        database.close()


def _rebuild(
    name: str, environ: dict[str, str], appends_while: Callable[[Callable[[], bool]], Times]
) -> None:
    """Rebuild a projection by the command, and show what appends took until it ended."""
    started = perf_counter()
    command = subprocess.Popen([*DAFTARI, "rebuild", name], env=environ, stdout=subprocess.PIPE, text=True)
    times = appends_while(lambda: command.poll() is None)
    assert command.stdout is not None
    click.echo(command.stdout.read().splitlines()[0])
    if command.returncode:
        sys.exit(f"The rebuild of {name} failed.")
    _show(f"rebuild {name}", times, perf_counter() - started)


def _appends_while(ledger: Ledger, url: str, goes_on: Callable[[], bool]) -> Times:
    """Append over and over, to new sessions and such as were just made; lock rows of any, as an append does.

    Return the seconds of each append and of each lock.
    """
    open_sessions: deque[Checkout] = deque()
    times = Times()
    with psycopg.connect(url, autocommit=True) as connection:
        sessions = connection.execute(ANY_SESSIONS, (ROWS_TRIED,)).fetchall()
        for session in cycle(sessions):
            if not goes_on():
                return times
            started = perf_counter()
            if len(open_sessions) < OPEN_SESSIONS or len(times.appends) % 2:
                open_sessions.append(Checkout(ledger, at=clock.now()))
            else:
                open_sessions.popleft().request()
            appended = perf_counter()
            connection.execute(LOCK, session)
            times.appends.append(appended - started)
            times.locks.append(perf_counter() - appended)
            sleep(APART_SECONDS)
    return times


def _show(name: str, times: Times, elapsed: float) -> None:
    click.echo(f"{name}, {elapsed:.0f} s")
    for what, seconds in (("appends", times.appends), ("locks", times.locks)):
        found = spread(seconds)
        longest = 1_000 * max(seconds)
        click.echo(
            f"  {len(seconds)} {what}: p50 {found['p50']}, p99 {found['p99']}, longest {longest:.1f} ms"
        )


if __name__ == "__main__":
    rebuilding()

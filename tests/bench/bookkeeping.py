"""`python -m tests.bench.bookkeeping`: what the books cost the worker, and how long reading them takes."""

from datetime import timedelta
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import click

from api.local.databases import open_database
from api.local.postgres import EmbeddedPostgres
from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing
from ledger.store.vault import Vault
from projections.booked_receipts import MAX_WALKED, receipt_differences
from projections.books import Period, entries_of, period, trial_balance
from projections.follower import Follower
from projections.journal import TABLE, Journal
from projections.postings import Account
from tests.bench.sample_store import sample_store

WORKER_BATCH = 500

ADDED_UP = f"""
SELECT debit_account, credit_account, count(*) AS entries,
       coalesce(sum(amount_cents) FILTER (WHERE occurred_at < %(since)s), 0)::bigint AS before_cents,
       coalesce(sum(amount_cents) FILTER (WHERE occurred_at >= %(since)s), 0)::bigint AS cents
FROM {TABLE} WHERE occurred_at < %(until)s AND recorded_at <= %(as_of)s GROUP BY debit_account, credit_account
"""
"""What a trial balance is compared with: the sums of all entries, without those of days."""


@click.command()
@click.option(
    "--sessions", type=click.IntRange(1_000), default=20_000, show_default=True, help="Sessions with orders."
)
def bookkeeping(sessions: int) -> None:
    """Fill a store with valid sessions, post them to the journal, and read it."""
    with sample_store() as store, EmbeddedPostgres(store.folder) as server:
        store.fill(server.database_url, sessions)
        with open_database(server.database_url, 4, role="") as database:
            macs = EventMacs(database, Vault(database, store.master_key).keys)
            _post(database, macs, sessions)
            _read(database, macs.keys)


def _post(database: Database, macs: EventMacs, sessions: int) -> None:
    follower = Follower(database, macs, Journal(macs.keys), batch_size=WORKER_BATCH)
    started, used = perf_counter(), thread_time()
    follower.catch_up()
    seconds, used = perf_counter() - started, thread_time() - used
    click.echo(
        f"posted {sessions / seconds:,.0f} sessions a second, {used / sessions * 1e6:.0f} µs of Python's processor "
        f"time a session"
    )


def _read(database: Database, keys: KeyRing) -> None:
    now, day = clock.now(), (clock.now() - timedelta(days=2)).date()
    everything, today = period(None, None, now), period(day, day, now)
    week_ago = period(None, None, now - timedelta(days=7))
    untied = partial(receipt_differences, database, keys, everything, limit=100, walk=MAX_WALKED)
    for name, read in (
        ("trial balance, from entries", lambda: _added_up(database, everything)),
        ("trial balance", lambda: trial_balance(database, everything)),
        ("daily close, from entries", lambda: _added_up(database, today)),
        ("daily close", lambda: trial_balance(database, today)),
        ("as known a week ago, from entries", lambda: _added_up(database, week_ago)),
        ("as known a week ago", lambda: trial_balance(database, week_ago)),
        ("a page of an account", lambda: entries_of(database, Account.SALES, everything, after=0, limit=100)),
        (
            "a page of untied receipts",
            untied,
        ),
    ):
        read()
        started = perf_counter()
        read()
        click.echo(f"{name:34} {(perf_counter() - started) * 1000:8.1f} ms")


def _added_up(database: Database, asked: Period) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(ADDED_UP.encode(), asked.values).fetchall()


if __name__ == "__main__":
    bookkeeping()

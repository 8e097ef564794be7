"""`python -m tests.bench.bookkeeping`: what the books cost the worker, and how long reading them takes."""

from datetime import timedelta
from time import perf_counter, thread_time

import click

from api.local.databases import open_database
from api.local.postgres import EmbeddedPostgres
from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections.booked_receipts import receipt_differences
from projections.books import entries_of, period, trial_balance
from projections.follower import Follower
from projections.journal import Journal
from projections.postings import Account
from tests.bench.sample_store import sample_store

WORKER_BATCH = 500


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
            _read(database)


def _post(database: Database, macs: EventMacs, sessions: int) -> None:
    follower = Follower(database, macs, Journal(), batch_size=WORKER_BATCH)
    started, used = perf_counter(), thread_time()
    follower.catch_up()
    seconds, used = perf_counter() - started, thread_time() - used
    click.echo(
        f"posted {sessions / seconds:,.0f} sessions a second, {used / sessions * 1e6:.0f} µs of Python's processor "
        f"time a session"
    )


def _read(database: Database) -> None:
    everything, today = period(None, None, clock.now()), (clock.now() - timedelta(days=2)).date()
    for name, read in (
        ("trial balance", lambda: trial_balance(database, everything)),
        ("daily close", lambda: trial_balance(database, period(today, today, clock.now()))),
        ("a page of an account", lambda: entries_of(database, Account.SALES, everything, after=0, limit=100)),
        ("a page of untied receipts", lambda: receipt_differences(database, everything, after="", limit=100)),
    ):
        read()
        started = perf_counter()
        read()
        click.echo(f"{name:26} {(perf_counter() - started) * 1000:8.1f} ms")


if __name__ == "__main__":
    bookkeeping()

"""`python -m tests.bench.bookkeeping`: what the books cost the worker, and how long reading them takes."""

import shutil
from datetime import timedelta
from time import perf_counter, thread_time

import click

from api.local.local_settings import local_settings
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
from tests.bench.bench_stack import environment, folder_on_disk, started_daftari
from tests.bench.growth import _filler, bought, catch_up

WORKER_BATCH = 500


@click.command()
@click.option(
    "--sessions", type=click.IntRange(1_000), default=20_000, show_default=True, help="Sessions with orders."
)
def bookkeeping(sessions: int) -> None:
    """Fill a store with valid sessions, post them to the journal, and read it."""
    folder = folder_on_disk()
    try:
        environ = environment(folder)
        with started_daftari(folder, environ) as stack:
            buyer, session_id = bought(stack)
            catch_up(stack)
        _filler(environ, session_id, buyer.user)(folder, sessions)
        with EmbeddedPostgres(folder) as server:
            database = Database(server.database_url)
            macs = EventMacs(database, Vault(database, local_settings(environ).daftari_master_key).keys)
            _post(database, macs, sessions)
            _read(database)
            database.close()
    finally:
        shutil.rmtree(folder)


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

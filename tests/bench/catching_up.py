"""`python -m tests.bench.catching_up`: what each view costs to catch up with the log, for one event on one core."""

import gc
from datetime import timedelta
from time import process_time

import click
import psutil  # type: ignore[import-untyped]  # it comes without types
import psycopg

from api.local.databases import open_database
from api.local.postgres import EmbeddedPostgres
from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from payments.sample.chunks import Sample
from payments.sample.generation import Store, write_sample
from payments.worker.processes import PROCESSES, View
from projections.follower import Follower
from tests.bench.processes import POSTGRES, ProcessorTimes
from tests.bench.sample_store import sample_store

DAYS = 2

# Its MAC does not cover when an event was recorded.
AS_IT_HAPPENED = "UPDATE payment_events SET recorded_at = (state->>'timestamp')::timestamptz"


@click.command()
@click.option("--sessions", default=10_000, show_default=True, help="Sessions that are followed, each time.")
def catching_up(sessions: int) -> None:
    """Generate sessions of two days, and have one view after the other follow them; then others, that are not late."""
    last = clock.now().astimezone(clock.NAIROBI).date() - timedelta(days=1)
    with sample_store() as store, EmbeddedPostgres(store.folder) as server:
        assert server.pid is not None
        processors = ProcessorTimes({POSTGRES: psutil.Process(server.pid)})
        filled = Store(server.database_url, store.master_key)
        gc.freeze()  # As the worker does.
        for seed, is_late in enumerate((True, False), start=1):
            write_sample(filled, Sample(sessions, seed, last - timedelta(days=DAYS - 1), last), 1)
            with psycopg.connect(server.database_url, autocommit=True) as connection:
                if not is_late:
                    connection.execute("SET session_replication_role = replica")
                    connection.execute(AS_IT_HAPPENED)
                connection.execute("VACUUM ANALYZE")
                connection.execute("CHECKPOINT")
            click.echo(
                "events recorded long after they happened" if is_late else "events recorded as they happened"
            )
            with open_database(server.database_url, 4, role="") as database:
                _follow(database, Vault(database, store.master_key), processors)


def _follow(database: Database, vault: Vault, processors: ProcessorTimes) -> None:
    """Have each view catch up, and print its microseconds of processor time an event."""
    macs = EventMacs(database, vault.keys)
    macs.last_without_mac()
    for view in PROCESSES:
        if isinstance(view, View):
            follower = Follower(database, macs, view.projection(vault))
            before, python = processors.seconds()[POSTGRES], process_time()
            events = follower.catch_up()
            python = 1e6 * (process_time() - python) / events
            postgres = 1e6 * (processors.seconds()[POSTGRES] - before) / events
            cost = python + postgres
            click.echo(
                f"{view.name:16} {python:6.1f} + {postgres:5.1f} = {cost:6.1f} µs ({1e6 / cost:8,.0f}/s)"
            )


if __name__ == "__main__":
    catching_up()

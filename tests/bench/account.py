"""`python -m tests.bench.account`: what an account of all that is held costs for a customer with many payments."""

import tracemalloc
from tempfile import TemporaryFile
from time import thread_time

import click

from api.local.databases import open_database
from api.local.local_settings import local_settings
from api.local.postgres import EmbeddedPostgres
from api.personal_data import build_customer_export
from ledger.store.vault import Vault
from tests.bench.sample_store import SampleStore, sample_store


@click.command()
@click.option(
    "--sessions", default=30_000, show_default=True, help="Sessions of the one customer, at the end."
)
def account(sessions: int) -> None:
    """Write the account of a customer with a tenth of the sessions, then with all; print time and peak memory."""
    with sample_store() as store:
        _measure(store, sessions)


def _measure(store: SampleStore, sessions: int) -> None:
    settings = local_settings(store.environ)
    user = store.buyer.user
    with EmbeddedPostgres(store.folder) as server:
        held = 0
        for wanted in (sessions // 10, sessions):
            store.fill(server.database_url, wanted - held, share_of_buyer=1.0)
            held = wanted
            with open_database(server.database_url, 4, role="") as database, TemporaryFile() as file:
                export = build_customer_export(settings, database, Vault(database, store.master_key))
                before = thread_time()
                export.write(user, file, by="cli:user:41", reason="A measurement.")
                seconds, size = thread_time() - before, file.seek(0, 2)
                tracemalloc.start()
                export.write(user, file, by="cli:user:41", reason="A measurement.")
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            click.echo(
                f"{wanted} sessions: {seconds:.1f} s of CPU, {size / 1e6:.1f} MB, peak memory {peak / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    account()

"""`python -m tests.bench.account`: what an account of all that is held costs for a customer with many payments."""

import shutil
import tracemalloc
from pathlib import Path
from tempfile import TemporaryFile
from time import thread_time

import click

from api.local.databases import open_database
from api.local.local_settings import local_settings
from api.local.postgres import EmbeddedPostgres
from api.personal_data import build_customer_export
from ledger.store.vault import Vault
from tests.bench.bench_stack import environment, folder_on_disk, started_daftari
from tests.bench.copies import FIRST_NUMBER, Filling, fill
from tests.bench.growth import bought, catch_up


@click.command()
@click.option(
    "--sessions", default=30_000, show_default=True, help="Sessions of the one customer, at the end."
)
def account(sessions: int) -> None:
    """Write the account of a customer with a tenth of the sessions, then with all; print time and peak memory."""
    folder = folder_on_disk()
    try:
        _measure(folder, sessions)
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, sessions: int) -> None:
    environ = environment(folder)
    with started_daftari(folder, environ) as stack:
        buyer, session_id = bought(stack)
        catch_up(stack)
    settings = local_settings(environ)
    with EmbeddedPostgres(folder) as server:
        held = 0
        for wanted in (sessions // 10, sessions):
            more = wanted - held
            key, first = settings.daftari_master_key, FIRST_NUMBER + held
            fill(Filling(server.database_url, key, session_id, buyer.user, 1.0, more, first))
            held = wanted
            with open_database(server.database_url, 4, role="") as database, TemporaryFile() as file:
                export = build_customer_export(settings, database, Vault(database, key))
                before = thread_time()
                export.write(buyer.user, file, by="cli:user:41", reason="A measurement.")
                seconds, size = thread_time() - before, file.seek(0, 2)
                tracemalloc.start()
                export.write(buyer.user, file, by="cli:user:41", reason="A measurement.")
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
            click.echo(
                f"{wanted} sessions: {seconds:.1f} s of CPU, {size / 1e6:.1f} MB, peak memory {peak / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    account()

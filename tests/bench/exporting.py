"""`python -m tests.bench.exporting`: what an export of a large log costs in each form: seconds, processor, memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import click

from api.local.postgres import EmbeddedPostgres
from projections.export.event_formats import WRITERS
from tests.bench.bench_stack import DAFTARI
from tests.bench.sample_store import sample_store

EVENTS_A_SESSION = 5


@click.command()
@click.option(
    "--events", type=click.IntRange(10_000), default=1_000_000, show_default=True, help="Events in the log."
)
def exporting(events: int) -> None:
    """Fill a store with valid events, and export them in each form by `daftari export`."""
    with sample_store() as store, EmbeddedPostgres(store.folder) as server:
        store.fill(server.database_url, events // EVENTS_A_SESSION)
        for form in WRITERS:
            _export(form, store.folder / form, {**store.environ, "DATABASE_URL": server.database_url})


def _export(form: str, output: Path, environ: dict[str, str]) -> None:
    started = perf_counter()
    export = subprocess.Popen([*DAFTARI, "export", "--format", form, "-o", str(output)], env=environ)
    _, status, used = os.wait4(export.pid, 0)
    seconds = perf_counter() - started
    if status:
        sys.exit(f"The export as {form} failed.")
    size = sum(path.stat().st_size for path in output.iterdir())
    click.echo(
        f"{form:8} {seconds:6.1f} s, {used.ru_utime + used.ru_stime:6.1f} s of the processor, "
        f"{used.ru_maxrss / 1024:4.0f} MiB of memory, {size / 1e6:5.0f} MB"
    )
    shutil.rmtree(output)


if __name__ == "__main__":
    exporting()

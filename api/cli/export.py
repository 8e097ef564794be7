"""`daftari export` and `export-view`: the event log, and the views for analysts, as files."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click

from api.cli.failures import NOT_AVAILABLE, Failure
from api.cli.progress import progress_bar

USER = click.IntRange(1, 2**63 - 1)
MAX_EVENTS_PER_FILE = 10_000_000


class _NairobiTime(click.ParamType[datetime]):
    """A day of Nairobi, or a time: of Nairobi, unless it names another zone."""

    name = "DAY|TIME"

    def __init__(self, *, is_end: bool) -> None:
        self._is_end = is_end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment where the day begins, or ends; or the time that was given."""
        from ledger.clock import DAY_YEARS, NAIROBI

        is_day = len(value) == len("2026-11-27")
        try:
            given = (
                datetime.combine(date.fromisoformat(value), time())
                if is_day
                else datetime.fromisoformat(value)
            )
        except ValueError:
            self.fail(f"{value!r} is neither a day, 2026-11-27, nor a time, 2026-11-27T18:30.", param, ctx)
        if given.year not in DAY_YEARS:
            self.fail(f"{value!r} is not between {DAY_YEARS[0]} and {DAY_YEARS[-1]}.", param, ctx)
        if is_day and self._is_end:
            given += timedelta(days=1)
        return (given if given.tzinfo else given.replace(tzinfo=NAIROBI)).astimezone(NAIROBI)


@click.command(short_help="Export the event log as JSON lines, CSV or Parquet.")
@click.option("--from", "since", type=_NairobiTime(is_end=False), help="Only events recorded from then on.")
@click.option(
    "--to",
    "before",
    type=_NairobiTime(is_end=True),
    help="Only events recorded before then; a day counts to its end.",
)
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "parquet"]), default="jsonl", show_default=True
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("daftari-export"),
    show_default=True,
    help="The folder for the files; new or empty, or that of the same export before.",
)
@click.option(
    "--events-per-file",
    type=click.IntRange(1, MAX_EVENTS_PER_FILE),
    default=100_000,
    show_default=True,
    help="How many events a file holds at most.",
)
@click.option("--personal-data", is_flag=True, help="Decrypt personal data. Needs --by and --reason.")
@click.option(
    "--by", type=USER, metavar="USER", help="The number of the person who exports, with --personal-data."
)
@click.option(
    "--reason", help="Why, with --personal-data. It is kept for ever: give no phone number and no name."
)
def export(
    since: datetime | None,
    before: datetime | None,
    form: str,
    folder: Path,
    events_per_file: int,
    by: int | None,
    reason: str | None,
    *,
    personal_data: bool,
) -> None:
    """Export the event log: each event with its payload, its cause and its hashes, in the order of positions.

    Days and times are Nairobi's. Encrypted values are left out; with --personal-data they are decrypted under plain
    names, which the audit log records, and those of an erased customer say "erased". docs/events.md says what each
    event means. manifest.json counts the events, and holds the SHA-256 of each file and the signed block that covers
    the last event. A command that was ended goes on where it was when it is typed again.

    \b
    Examples
      daftari export --from 2026-11-01 --to 2026-11-30 --format csv -o november
      daftari export --format parquet -o everything
      daftari export --personal-data --by 41 --reason "Audit of 2026." -o audit
    """
    if personal_data and (by is None or not reason):
        raise click.UsageError(
            "Personal data need --by USER and --reason TEXT: the audit log records the export."
        )
    if since and before and since >= before:
        raise click.UsageError("--from is not before --to.")
    from api.cli.opened import open_database
    from ledger.store.audit_log import AuditLog
    from ledger.store.event_macs import EventMacs
    from ledger.store.vault import Vault
    from payments.refunds.notes import parse_note
    from projections.export.event_export import Wanted, export_events
    from projections.export.exported_events import EventReader

    _require_package(form)
    note = parse_note(reason or "", "reason") if personal_data else ""
    wanted = Wanted(form, since, before, personal_data, events_per_file)
    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        if personal_data:
            span = {"from": since and since.isoformat(), "to": before and before.isoformat()}
            details = {"what": "event log", **span, "format": form}
            AuditLog(database, vault.keys).record(
                None, "export", actor=f"cli:user:{by}", reason=note, details=details
            )
        own_keys = {key.public_bytes_raw() for key in vault.block_keys}
        macs = EventMacs(database, vault.keys)
        reader = EventReader(database, macs, own_keys, vault if personal_data else None)
        with progress_bar("Exporting") as on_progress, _errors_of(folder):
            manifest = export_events(reader, folder, wanted, on_progress)
    files = len(manifest["files"])
    click.echo(
        f"{folder} holds {manifest['events']:,} events in {files} {'file' if files == 1 else 'files'}, "
        "and manifest.json."
    )


@click.command(name="export-view", short_help="Export a view for analysts as CSV, JSON lines or Parquet.")
@click.argument("view", metavar="NAME")
@click.option(
    "--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True
)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write, in place of one that is there.",
)
def export_view(view: str, form: str, path: Path) -> None:
    """Export all rows of NAME, a view of the schema `analytics`, into a file.

    docs/analysts.md lists the views and their columns. Prints the number of rows, and the SHA-256 of the file.

    \b
    Examples
      daftari export-view daily_funnel --format parquet -o funnel.parquet
      daftari export-view payment_sessions -o sessions.csv
    """
    from api.cli.opened import open_database_as_migrator
    from projections.export.view_export import export_view

    _require_package(form)
    with open_database_as_migrator() as (_, database), _errors_of(path):
        exported = export_view(database, view, form, path)
    click.echo(f"{path} holds {exported.rows:,} rows of {view}; SHA-256 {exported.sha256}")


def _require_package(form: str) -> None:
    from projections.export.event_formats import lacks

    if package := lacks(form):
        message = (
            f"--format {form} needs {package}, which is not installed here: type `pip install {package}`, "
        )
        raise Failure(f"{message}or choose another format.", NOT_AVAILABLE)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(
            f"{path}: {error.strerror}. Mend that, or choose another place, and type the command again.",
            NOT_AVAILABLE,
        ) from error

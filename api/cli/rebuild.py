"""`daftari rebuild`: compare projections with the log from its first event on, and mend what differs."""

from typing import TYPE_CHECKING

import click

from api.cli.failures import IMPOSSIBLE
from api.cli.progress import progress_bar

if TYPE_CHECKING:
    from projections.rebuild_runs import Rebuilt

ALL = "all"
NAMES = (
    "payment_sessions",
    "payment_search",
    "payment_metrics",
    "payment_figures",
    "payment_refunds",
    "payment_cases",
    "journal_entries",
)
"""Those of `projections.rebuilds`, which the help shall not have to import."""


@click.command(short_help="Compare projections with the log, and mend what differs.")
@click.argument("name", type=click.Choice([*NAMES, ALL]), metavar="NAME|all")
@click.option("--dry-run", is_flag=True, help="Compare only: change no row.")
@click.pass_context
def rebuild(context: click.Context, /, name: str, *, dry_run: bool) -> None:
    """Fold the log from the first event on, and mend each row of the projection NAME that differs from it.

    NAME is payment_sessions, payment_search, payment_metrics, payment_figures, payment_refunds, payment_cases or
    journal_entries (with the sums of days). Payments, reads and the worker go on meanwhile. Events that Daftari did not
    sign count for nothing. It prints how many rows differed and the keys of the first of them, and keeps that in the
    table projection_rebuilds. A command that was ended goes on where it was when it is typed again within a day.

    \b
    Exit codes
      0  the projection is as the log says, or was mended
      1  with --dry-run: rows differ
      4  the database does not respond, or another process rebuilds this projection: try again

    \b
    Examples
      daftari rebuild all --dry-run
      daftari rebuild payment_sessions
    """
    from api.cli.opened import open_database
    from ledger.store.event_macs import EventMacs
    from ledger.store.vault import Vault
    from projections.rebuilds import rebuild as rebuild_projection

    differ = False
    with open_database() as (settings, database):
        macs = EventMacs(database, Vault(database, settings.daftari_master_key).keys)
        for each in NAMES if name == ALL else (name,):
            with progress_bar(f"Rebuilding {each}") as on_progress:
                rebuilt = rebuild_projection(database, macs, each, dry_run=dry_run, on_progress=on_progress)
            _show(each, rebuilt, dry_run=dry_run)
            differ |= rebuilt.wrong_rows > 0
    if dry_run and differ:
        context.exit(IMPOSSIBLE)


def _show(name: str, rebuilt: "Rebuilt", *, dry_run: bool) -> None:
    went_on = " It went on where one before had ended." if rebuilt.resumed else ""
    rows = f"{rebuilt.wrong_rows:,} {'row differs' if rebuilt.wrong_rows == 1 else 'rows differ'}"
    outcome = "no row differs" if not rebuilt.wrong_rows else rows if dry_run else f"{rows}: mended"
    click.echo(f"{name}: {rebuilt.events:,} events read, {outcome}.{went_on}")
    for key in rebuilt.differing_keys:
        click.echo(f"  {key}")
    if rebuilt.wrong_rows > len(rebuilt.differing_keys):
        click.echo(f"  and {rebuilt.wrong_rows - len(rebuilt.differing_keys):,} more")

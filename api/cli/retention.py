"""`daftari retention`: how long each kind of data is kept, and what is held of it."""

import json
from typing import TYPE_CHECKING

import click

from ledger.clock import in_nairobi

if TYPE_CHECKING:
    from payments.erasure.retention import RetentionState


@click.command(short_help="Report how long each kind of data is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def retention(as_json: bool) -> None:
    """Report what is kept for a time only: how long and why, what is held, what is due, and when it was last purged.

    The worker purges by itself. DAFTARI_RETENTION_PERIODS changes a period, never below its minimum; a legal hold keeps
    what is the customer's. Events, and with them the books, are kept for ever.

    \b
    Examples
      daftari retention
      daftari retention --json | jq '.[] | select(.due > 0)'
    """
    from api.cli.opened import open_database
    from api.http.resources.retention import show
    from api.personal_data import build_retention
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        states = build_retention(settings, database, Vault(database, settings.daftari_master_key)).report()
    if as_json:
        click.echo(json.dumps([show(state) for state in states], indent=2, default=str))
        return
    for state in states:
        _print(state)


def _print(state: "RetentionState") -> None:
    kind = state.kind
    newest = "" if kind.newest is None else f", the newest {kind.newest:,} of them"
    click.echo(f"{kind.name}: {kind.what}")
    click.echo(f"  kept {kind.kept}{newest}")
    oldest = "" if state.oldest is None else f", the oldest since {in_nairobi(state.oldest)}"
    click.echo(f"  {state.rows:,} rows{oldest}; {state.due:,} due")
    if state.purged_at is not None:
        click.echo(f"  last purged {in_nairobi(state.purged_at)}: {state.purged_rows:,} rows")

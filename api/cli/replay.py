"""`daftari replay`: the event history of a session."""

import json
from uuid import UUID

import click


@click.command(short_help="Show the events of a session as a timeline.")
@click.argument("session", type=click.UUID)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON list of events, with positions and hashes."
)
def replay(session: UUID, as_json: bool) -> None:
    """Show the events of SESSION, oldest first, and the status after each.

    The output holds no personal data. Exits with 1 if the session does not exist.

    \b
    Examples
      daftari replay 550e8400-e29b-41d4-a716-446655440000
      daftari replay 550e8400-e29b-41d4-a716-446655440000 --json | jq '.[].event'
    """
    from api.cli.opened import open_database
    from ledger.errors import NotFound
    from ledger.store.event_macs import EventMacs
    from ledger.store.key_ring import KeyRing
    from projections.history import for_auditor, history, timeline

    with open_database() as (settings, database):
        macs = EventMacs(database, KeyRing(database, settings.daftari_master_key))
        entries = history(database, macs, session)
    if not entries:
        raise NotFound(f"There is no session {session} in this database.")
    if as_json:
        click.echo(json.dumps([for_auditor(entry) for entry in entries], indent=2))
    else:
        click.echo("\n".join(timeline(entries)))

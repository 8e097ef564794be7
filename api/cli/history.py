"""`daftari replay`: a session as the story of its events."""

import json
from uuid import UUID

import click

from api.cli.failures import read_settings


@click.command(short_help="Show a session's events as a timeline.")
@click.argument("session", type=click.UUID)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the events with positions and hashes, as a JSON list."
)
def replay(session: UUID, as_json: bool) -> None:
    """Show the events of SESSION, oldest first, and the status after each.

    Nothing in it is personal data. Exit code 1 where there is no such session.

    \b
    Examples
      daftari replay 550e8400-e29b-41d4-a716-446655440000
      daftari replay 550e8400-e29b-41d4-a716-446655440000 --json | jq '.[].event'
    """
    from api.cli.session_history import session_history
    from projections.history import for_auditor, timeline

    entries = session_history(read_settings().database_url, session)
    if as_json:
        click.echo(json.dumps([for_auditor(entry) for entry in entries], indent=2))
    else:
        click.echo("\n".join(timeline(entries)))

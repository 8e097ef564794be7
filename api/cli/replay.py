"""`daftari replay`: the event history of a session."""

import json
from typing import TYPE_CHECKING
from uuid import UUID

import click

from api.cli.failures import is_text

if TYPE_CHECKING:
    from ledger.store.database import Database


@click.command(short_help="Show the events of a session as a timeline.")
@click.argument("payment", callback=is_text)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON list of events, with positions and hashes."
)
def replay(payment: str, as_json: bool) -> None:
    """Show the events of PAYMENT, oldest first, and the status after each.

    PAYMENT is the id of its session, M-Pesa's receipt, of a refund too, or the number of its order. The output holds no
    personal data. Exits with 1 if there is no such payment, or the number names several.

    \b
    Examples
      daftari replay 550e8400-e29b-41d4-a716-446655440000
      daftari replay UKG7Q2X9LM
      daftari replay ORD-20240115-001 --json | jq '.[].event'
    """
    from api.cli.opened import open_database
    from ledger.errors import NotFound
    from ledger.store.event_macs import EventMacs
    from ledger.store.key_ring import KeyRing
    from projections.history import for_auditor, history, timeline

    with open_database() as (settings, database):
        macs = EventMacs(database, KeyRing(database, settings.daftari_master_key))
        session = session_of(database, payment)
        entries = history(database, macs, session)
    if not entries:
        raise NotFound(f"There is no session {session} in this database.")
    if as_json:
        click.echo(json.dumps([for_auditor(entry) for entry in entries], indent=2))
    else:
        click.echo("\n".join(timeline(entries)))


def session_of(database: "Database", payment: str) -> UUID:
    """Return the session of an id, a receipt or an order number. Raises NotFound, and InvalidValue if it is unclear."""
    from contextlib import suppress

    from ledger.errors import InvalidValue, NotFound
    from projections.payment_search import sessions_named

    payment = payment.strip()
    with suppress(ValueError):
        return UUID(payment)
    found = sessions_named(database, payment)
    if not found:
        raise NotFound(f"There is no payment with the receipt or order number {payment} in this database.")
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise InvalidValue(f"Several sessions have this number; name one by its id: {listed}.")
    return found[0]

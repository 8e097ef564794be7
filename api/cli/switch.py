"""`daftari switch`: stop all prompts, or all refunds, in an incident."""

import click

from api.cli.operators import operator
from ledger.clock import in_nairobi

SWITCHES = ("prompts", "refunds")


@click.command(short_help="Stop all prompts or refunds in an incident.")
@click.argument("name", type=click.Choice(SWITCHES), required=False)
@click.argument("position", type=click.Choice(["on", "off"]), required=False)
@click.option(
    "--reason", help="Why. Buyers read it, and it is kept for ever: give no phone number and no name."
)
@click.option(
    "--by", "user", type=click.IntRange(1), metavar="USER", help="The operator who decides, by number."
)
def switch(name: str | None, position: str | None, reason: str | None, user: int | None) -> None:
    """Switch prompts or refunds off in an incident, and on again; without a name, show how the switches stand.

    All processes follow within about a second. What M-Pesa was sent before goes on, and is booked as ever.

    \b
    Examples
      daftari switch
      daftari switch prompts off --reason "M-Pesa charges twice." --by 9
      daftari switch prompts on --reason "M-Pesa is well again." --by 9
    """
    from api.cli.opened import open_database
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault
    from payments.operators.switches import Switches
    from payments.refunds.notes import parse_note

    if name is not None and (position is None or reason is None or user is None):
        raise click.UsageError("Say on or off, with --reason and --by.")
    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        switches = Switches(database, AuditLog(database, vault.keys))
        if name is not None and reason is not None and user is not None:
            note = parse_note(reason, "reason")
            switches.turn(name, is_on=position == "on", reason=note, by=operator(user))
        for state in switches.states():
            since = f" since {in_nairobi(state.changed_at)}" if state.changed_at else ""
            by_whom = f", by {state.changed_by}: {state.reason}" if state.changed_by else ""
            click.echo(f"{state.name}  {'on' if state.is_on else 'off'}{since}{by_whom}")

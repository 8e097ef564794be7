"""`daftari create-analyst` and `drop-analyst`: logins of the database that read the schema `analytics` alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from api.cli.failures import Failure, is_text
from api.cli.operators import actor_of

if TYPE_CHECKING:
    from api.local.analyst_logins import Change, Record

BY = click.option("--by", type=click.IntRange(min=1), metavar="USER", help="The number of who decides it.")


@click.command(name="create-analyst", short_help="Make a login that reads the views for analysts.")
@click.argument("name", callback=is_text)
@click.option("--rotate", is_flag=True, help="Give the analyst NAME a new password, and end its sessions.")
@BY
def create_analyst(name: str, by: int | None, *, rotate: bool) -> None:
    """Make the login NAME of the database, which reads the schema `analytics` and nothing else.

    Prints its password, once, and how to connect. Of the embedded database it needs the account that runs it; of
    another, DAFTARI_MIGRATION_URL has to be allowed to make roles: where it is not, the SQL to type is printed.

    \b
    Examples
      daftari create-analyst wanjiru --by 9
      daftari create-analyst wanjiru --rotate --by 9
    """
    from api.cli.failures import read_settings
    from api.local import analyst_logins

    settings, password = read_settings(), analyst_logins.new_password()
    make = analyst_logins.rotate if rotate else analyst_logins.create
    with _recorded("analyst_password_changed" if rotate else "analyst_created", name, by) as record:
        change = make(settings, name, password, record)
        if not change.is_done:
            record(None)
    click.echo(f"Password  {password}   (shown this once)")
    click.echo(f"Connect   {analyst_logins.how_to_connect(settings, name)}")
    if analyst_logins.is_embedded(settings):
        click.echo(
            "          on this machine, as the account that runs Daftari: nobody else reaches its socket"
        )
    _report(change, name)
    click.echo(f"{name} reads the schema analytics, and nothing else: docs/analysts.md describes it.")


@click.command(name="drop-analyst", short_help="Remove the login of an analyst.")
@click.argument("name", callback=is_text)
@BY
def drop_analyst(name: str, by: int | None) -> None:
    """End the sessions of the analyst NAME, and remove the login.

    \b
    Example
      daftari drop-analyst wanjiru --by 9
    """
    from api.cli.failures import read_settings
    from api.local import analyst_logins

    with _recorded("analyst_removed", name, by) as record:
        change = analyst_logins.drop(read_settings(), name, record)
        if not change.is_done:
            record(None)
    _report(change, name)
    click.echo(f"{name} is removed.")


def _report(change: "Change", name: str) -> None:
    """Print the SQL that is left to a person; raise Failure if nothing could be done without it."""
    if change.left:
        click.echo("\nA role with more rights has to execute this in the database, a superuser best:\n")
        click.echo("\n".join(change.left) + "\n")
    if not change.is_done:
        raise Failure(f"Nothing was changed about {name}: DAFTARI_MIGRATION_URL may not make roles.")


@contextmanager
def _recorded(kind: str, name: str, by: int | None) -> Iterator["Record"]:
    """Lend what records a change in its transaction; without one, that its SQL is printed for a person to execute."""
    from api.cli.opened import open_database
    from ledger.store.audit_log import AuditLog
    from ledger.store.vault import Vault

    actor, subject = actor_of(by), f"login:{name}"
    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        audit_log = AuditLog(database, vault.keys)

        def record(connection: Any) -> None:
            if connection is None:
                audit_log.record(
                    None, "analyst_sql_printed", actor=actor, subject=subject, details={"of": kind}
                )
            else:
                audit_log.record(connection, kind, actor=actor, subject=subject)

        yield record

"""`daftari erase-customer` and `daftari legal-hold`: the end of a customer's personal data, and what keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from api.cli.failures import Failure
from api.cli.users import number_of, user_argument

if TYPE_CHECKING:
    from payments.erasure.erasures import Erasures

USER = click.IntRange(1, 2**63 - 1)


@click.command(name="erase-customer", short_help="Erase a customer's personal data, for ever.")
@user_argument
@click.option("--propose", is_flag=True, help="Propose it, for another person to approve.")
@click.option("--approve", is_flag=True, help="Erase, as another person proposed.")
@click.option("--by", type=USER, metavar="USER", help="The number of the person who decides.")
@click.option("--reason", help="Why, with --propose. It is kept for ever: give no phone number and no name.")
def erase_customer(user: str, by: int | None, reason: str | None, *, propose: bool, approve: bool) -> None:
    """Show what erasing USER would do; erase with --propose by one person and --approve by another.

    USER is a number, or the text by which the shop's tokens name the customer.

    The customer's key is destroyed: names, phone numbers, addresses and messages of M-Pesa can never be read again, in
    any process within 3 seconds. Amounts, receipts, times and hashes stay.

    \b
    Examples
      daftari erase-customer 7
      daftari erase-customer 7 --propose --by 41 --reason "The customer asked by letter."
      daftari erase-customer 7 --approve --by 42
    """
    if propose and approve:
        raise click.UsageError("Give --propose or --approve, not both: two persons decide.")
    if (propose or approve) and by is None:
        raise click.UsageError("Say who decides: --by USER.")
    if propose and not reason:
        raise click.UsageError("Say why: --reason TEXT.")
    with _erasures(user) as (erasures, user_id):
        if propose:
            erasures.propose(user_id, by=f"cli:user:{by}", reason=reason or "")
            click.echo(
                f"Proposed. Another person approves it: daftari erase-customer {user} --approve --by USER"
            )
        elif approve:
            counts = erasures.approve(user_id, by=f"cli:user:{by}")
            click.echo("Erased: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
        else:
            _print_plan(erasures, user_id)


@click.command(name="legal-hold", short_help="Keep a customer's data from erasure.")
@user_argument
@click.option("--by", type=USER, metavar="USER", required=True, help="The number of the person who decides.")
@click.option("--reason", required=True, help="Why. It is kept for ever: give no phone number and no name.")
@click.option("--lift", is_flag=True, help="Lift the hold.")
def legal_hold(user: str, by: int, reason: str, *, lift: bool) -> None:
    """Place a legal hold on the data of USER, or lift it. While it stands, they cannot be erased.

    \b
    Examples
      daftari legal-hold 7 --by 41 --reason "Case 12 of 2026."
      daftari legal-hold 7 --by 41 --reason "Case closed." --lift
    """
    with _erasures(user) as (erasures, user_id):
        erasures.hold(user_id, by=f"cli:user:{by}", reason=reason, lift=lift)
    click.echo("The hold is lifted." if lift else "The hold is placed.")


def _print_plan(erasures: "Erasures", user: int) -> None:
    plan = erasures.plan(user)
    if plan.is_erased:
        raise Failure("This customer has been erased already.")
    click.echo("This would be erased: " + ", ".join(f"{name} {count}" for name, count in plan.counts.items()))
    for obstacle in plan.obstacles:
        click.echo(f"Not now: {obstacle}")
    if plan.proposed_by:
        click.echo(f"Proposed by {plan.proposed_by}; another person approves it with --approve.")


@contextmanager
def _erasures(user: str) -> Iterator[tuple["Erasures", int]]:
    from api.cli.opened import open_database
    from api.personal_data import build_erasures
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        yield build_erasures(settings, database, vault), number_of(user, database, vault)

"""`daftari refunds`: list refunds and decide about them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

if TYPE_CHECKING:
    from payments.refunds.decisions import RefundService
    from projections.refunds import PaymentRefund

STATES = ("due", "approved", "refused", "requested", "refunded")


@click.group(short_help="List refunds and decide about them.")
def refunds() -> None:
    """List refunds and decide about them.

    A refund is identified by its session and its number within the session. The worker sends each approved refund
    through M-Pesa, once; M-Pesa's result follows within minutes. A second decision is rejected and changes nothing.

    \b
    Examples
      daftari refunds list --state due
      daftari refunds approve 550e8400-e29b-41d4-a716-446655440000 1 --as 9
      daftari refunds refuse 550e8400-e29b-41d4-a716-446655440000 1 --reason "The buyer took the goods."
      daftari refunds returned 550e8400-e29b-41d4-a716-446655440000 1 --note "Paid out in cash at the counter."
    """


@refunds.command(name="list", short_help="List refunds, newest first.")
@click.option("--state", type=click.Choice(STATES), help="Only refunds in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def list_refunds(state: str | None, limit: int, as_json: bool) -> None:
    """List refunds: session, number, state, amount in shillings, receipt and reason.

    \b
    Example
      daftari refunds list --state due --json | jq '.[].session_id'
    """
    from ledger import clock
    from ledger.session.values import RefundState

    with _refund_service() as service:
        wanted = RefundState(state) if state else None
        count, found = service.list(state=wanted, limit=limit, offset=0, as_of=clock.now())
    if as_json:
        click.echo(json.dumps([_plain(refund) for refund in found], indent=2))
        return
    for refund in found:
        click.echo(_line(refund))
    if count > len(found):
        click.echo(f"{count - len(found)} more; --limit shows them.", err=True)


def _decision(name: str, *options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator for a command that decides about one refund."""

    def decorate(run: Callable[..., None]) -> click.Command:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print the refund as a JSON object."),
            click.option(
                "--as", "user", type=click.IntRange(1), metavar="USER", help="The operator's number."
            ),
            *options,
            click.argument("refund", type=click.IntRange(1)),
            click.argument("session", type=click.UUID),
        ):
            run = option(run)
        return refunds.command(name=name)(run)

    return decorate


_STAYS = "It stays in the log for ever: give no phone number and no name."
_NOTE = click.option("--note", required=True, help=f"What was done or found out. {_STAYS}")
_REASON = click.option("--reason", required=True, help=f"Why the refund is refused. {_STAYS}")


@_decision("approve")
def approve(session: UUID, refund: int, user: int | None, *, as_json: bool) -> None:
    """Approve a refund through M-Pesa; the worker sends it."""
    _decide(session, refund, user, lambda service, *of, by: service.approve(*of, by=by), as_json=as_json)


@_decision("refuse", _REASON)
def refuse(session: UUID, refund: int, reason: str, user: int | None, *, as_json: bool) -> None:
    """Refuse a refund for now; it can be approved later."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.refuse(*of, by=by, reason=reason),
        as_json=as_json,
    )


@_decision("returned", _NOTE)
def returned(session: UUID, refund: int, note: str, user: int | None, *, as_json: bool) -> None:
    """Record a refund paid by other means, in cash for instance."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.record_by_hand(*of, by=by, note=note),
        as_json=as_json,
    )


@_decision("not-sent", _NOTE)
def not_sent(session: UUID, refund: int, note: str, user: int | None, *, as_json: bool) -> None:
    """Record that a refund in doubt was not sent, so that it is due again. Check the statement first."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.record_not_sent(*of, by=by, note=note),
        as_json=as_json,
    )


def _decide(
    session: UUID,
    refund: int,
    user: int | None,
    decision: Callable[..., "PaymentRefund"],
    *,
    as_json: bool,
) -> None:
    from ledger.store import metadata
    from payments.refunds.decisions import COMMAND_LINE, operator

    metadata.add(actor=f"cli:user:{user}" if user else None)
    with _refund_service() as service:
        decided = decision(service, session, refund, by=operator(user) if user else COMMAND_LINE)
    click.echo(json.dumps(_plain(decided), indent=2) if as_json else _line(decided))


@contextmanager
def _refund_service() -> Iterator["RefundService"]:
    from api.cli.opened import open_database
    from ledger.application import Ledger
    from ledger.store.vault import Vault
    from payments.refunds.decisions import RefundService

    with open_database() as (settings, database):
        yield RefundService(Ledger(database, Vault(database, settings.daftari_master_key).keys))


def _line(refund: "PaymentRefund") -> str:
    whole, cents = divmod(refund.amount_cents, 100)
    state = f"{refund.state}, in doubt" if refund.in_doubt else refund.state
    failed = f"; failed: {refund.failure_code}" if refund.failures and refund.state == "due" else ""
    return (
        f"{refund.session_id} {refund.refund}  {state:<20} {whole}.{cents:02}  {refund.receipt or '-'}  "
        f"{refund.why}{failed}"
    )


def _plain(refund: "PaymentRefund") -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import datetime

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        return str(value) if isinstance(value, UUID) else value

    return {name: plain(value) for name, value in asdict(refund).items()}

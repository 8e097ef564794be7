"""`daftari refunds`: list refunds and decide about them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from api.cli.operators import by_option, operator, say_proposed

if TYPE_CHECKING:
    from payments.operators.proposals import Proposal
    from payments.refunds.decisions import RefundService
    from payments.refunds.order_refunds import OrderRefundService
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
      daftari refunds approve 550e8400-e29b-41d4-a716-446655440000 1 --by 9
      daftari refunds refuse 550e8400-e29b-41d4-a716-446655440000 1 --by 9 --reason "The buyer took the goods."
      daftari refunds returned 550e8400-e29b-41d4-a716-446655440000 1 --by 9 --note "Paid out in cash."
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
    from ledger.store.listing import Place

    with _services() as (service, _):
        wanted = RefundState(state) if state else None
        count, found = service.list(Place(clock.now(), limit), state=wanted)
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
            by_option,
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
def approve(session: UUID, refund: int, user: int, *, as_json: bool) -> None:
    """Approve a refund through M-Pesa; the worker sends it."""
    _decide(session, refund, user, lambda service, *of, by: service.approve(*of, by=by), as_json=as_json)


@_decision("refuse", _REASON)
def refuse(session: UUID, refund: int, reason: str, user: int, *, as_json: bool) -> None:
    """Refuse a refund for now; it can be approved later."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.refuse(*of, by=by, reason=reason),
        as_json=as_json,
    )


@_decision("returned", _NOTE)
def returned(session: UUID, refund: int, note: str, user: int, *, as_json: bool) -> None:
    """Record a refund paid by other means, in cash for instance."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.record_by_hand(*of, by=by, note=note),
        as_json=as_json,
    )


@_decision("not-sent", _NOTE)
def not_sent(session: UUID, refund: int, note: str, user: int, *, as_json: bool) -> None:
    """Record that a refund in doubt was not sent, so that it is due again. Check the statement first."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.record_not_sent(*of, by=by, note=note),
        as_json=as_json,
    )


@click.command(name="refund-order", short_help="Give money of an order back.")
@click.argument("session", type=click.UUID)
@click.option("--reason", required=True, help=f"Why money goes back. {_STAYS}")
@click.option("--amount", help="In shillings; by default all that is left of the order's money.")
@click.option(
    "--payout-receipt", metavar="RECEIPT", help="M-Pesa's receipt, if the money was sent outside Daftari."
)
@click.option("--restock", is_flag=True, help="Put the goods back on the shelf.")
@by_option
def refund_order(
    session: UUID, reason: str, amount: str | None, payout_receipt: str | None, user: int, *, restock: bool
) -> None:
    """Give money of the order of SESSION back.

    The whole is reversed through M-Pesa by the worker. A part you send yourself, and record with its receipt.

    \b
    Examples
      daftari refund-order 550e8400-e29b-41d4-a716-446655440000 --by 9 --reason "The goods were bad." --restock
      daftari refund-order 550e8400-e29b-41d4-a716-446655440000 --by 9 --reason "Two kg were bad." \\
        --amount 100 --payout-receipt UKG7Q2X9LM
    """
    from ledger.money import Money
    from payments.operators.proposals import Proposal
    from payments.refunds.order_refunds import OrderRefundRequest

    wanted = OrderRefundRequest(
        session_id=session,
        amount_cents=None if amount is None else Money.parse(amount).cents,
        payout_receipt=payout_receipt,
        reason=reason,
        restock=restock,
    )
    with _services() as (service, order_refunds):
        done = order_refunds.refund(wanted, by=operator(user))
        if isinstance(done, Proposal):
            say_proposed(done)
        else:
            click.echo(_line(service.find(session, done)))


def _decide(
    session: UUID, refund: int, user: int, decision: Callable[..., "Proposal | None"], *, as_json: bool
) -> None:
    with _services() as (service, _):
        proposal = decision(service, session, refund, by=operator(user))
        decided = service.find(session, refund)
    click.echo(json.dumps(_plain(decided), indent=2) if as_json else _line(decided))
    say_proposed(proposal)


@contextmanager
def _services() -> Iterator[tuple["RefundService", "OrderRefundService"]]:
    from api.cli.opened import open_database
    from api.wiring import build_order_refunds, build_refund_service
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        yield (
            build_refund_service(settings, database, vault),
            build_order_refunds(settings, database, vault),
        )


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

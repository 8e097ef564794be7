"""`daftari refunds`: money that must go back, and what is decided about it."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from api.cli.failures import read_settings

if TYPE_CHECKING:
    from payments.refunds.decisions import RefundService
    from projections.refunds import PaymentRefund

STATES = ("due", "approved", "refused", "requested", "refunded")


@click.group(short_help="Decide about money that must go back.")
def refunds() -> None:
    """List the sums that must go back to their payers, and decide about them.

    A refund is named by its session and its number in it. What is approved, the worker sends back through M-Pesa, once;
    M-Pesa's result follows within minutes. Whoever decides second is told so, and changes nothing.

    \b
    Examples
      daftari refunds list --state due
      daftari refunds approve 550e8400-e29b-41d4-a716-446655440000 1 --as 9
      daftari refunds refuse 550e8400-e29b-41d4-a716-446655440000 1 --reason "The buyer took the goods."
      daftari refunds returned 550e8400-e29b-41d4-a716-446655440000 1 --note "Paid out in cash at the counter."
    """


@refunds.command(name="list", short_help="List refunds, the newest first.")
@click.option("--state", type=click.Choice(STATES), help="Only refunds in this state.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def list_refunds(state: str | None, limit: int, as_json: bool) -> None:
    """List refunds: session, number, state, shillings, receipt, and why.

    \b
    Example
      daftari refunds list --state due --json | jq '.[].session_id'
    """
    from ledger import clock
    from ledger.session.values import RefundState

    with _desk() as service:
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
    """Return the decorator of a command that decides about one refund."""

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


_STAYS = "It stays in the log for ever: no phone number, no name."
_NOTE = click.option("--note", required=True, help=f"What was done or found out. {_STAYS}")
_REASON = click.option("--reason", required=True, help=f"Why the money is held. {_STAYS}")


@_decision("approve")
def approve(session: UUID, refund: int, user: int | None, *, as_json: bool) -> None:
    """Agree that a sum goes back through M-Pesa; the worker sends it."""
    _decide(session, refund, user, lambda service, *of, by: service.approve(*of, by=by), as_json=as_json)


@_decision("refuse", _REASON)
def refuse(session: UUID, refund: int, reason: str, user: int | None, *, as_json: bool) -> None:
    """Hold a sum for now; it may be approved later."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.refuse(*of, by=by, reason=reason),
        as_json=as_json,
    )


@_decision("returned", _NOTE)
def returned(session: UUID, refund: int, note: str, user: int | None, *, as_json: bool) -> None:
    """Record that a sum went back by other means, in cash for instance."""
    _decide(
        session,
        refund,
        user,
        lambda service, *of, by: service.record_by_hand(*of, by=by, note=note),
        as_json=as_json,
    )


@_decision("not-sent", _NOTE)
def not_sent(session: UUID, refund: int, note: str, user: int | None, *, as_json: bool) -> None:
    """Record that a sum in doubt did not go back, and is due again. Look at the statement first."""
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
    from payments.refunds.decisions import COMMAND_LINE, operator

    with _desk() as service:
        decided = decision(service, session, refund, by=operator(user) if user else COMMAND_LINE)
    click.echo(json.dumps(_plain(decided), indent=2) if as_json else _line(decided))


@contextmanager
def _desk() -> Iterator["RefundService"]:
    from api.cli.refund_decisions import refund_service
    from api.http.middleware.logging import configure_logging

    settings = read_settings()
    configure_logging(
        settings.daftari_log_format, lowest_level=logging.ERROR
    )  # What is printed is the refund.
    with refund_service(settings.database_url) as service:
        yield service


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

    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, UUID)
        else value
        for name, value in asdict(refund).items()
    }

"""Invariants of money: each receipt is credited once, and all that was received is accounted for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.application import RECEIPT
from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import Violation, Walk, stream

REFERENCES = "SELECT value, session_id, reserved_at FROM payment_refs WHERE kind = %s"
SETTLED_MOVEMENTS = """
SELECT receipt, session_id FROM mpesa_movements
WHERE kind = 'payment' AND verdict IN ('posted', 'credited', 'amount_differs')
"""
OPEN_MOVEMENTS = """
SELECT receipt FROM mpesa_movements
WHERE kind = 'payment' AND verdict = 'unknown' AND closed_at IS NULL AND first_seen_at < %s
"""
REVERSED_MOVEMENTS = """
SELECT linked_receipt FROM mpesa_movements
WHERE kind = 'reversal' AND settled_at IS NOT NULL AND linked_receipt IS NOT NULL AND first_seen_at < %s
"""
MONEY_OF_ROWS = """
SELECT coalesce(sum(received_cents), 0)::bigint AS received,
       coalesce(sum(total_cents) FILTER (WHERE session_status = 'order_created'), 0)::bigint AS orders,
       coalesce(sum(refunded_cents), 0)::bigint AS refunded,
       coalesce(sum(refund_due_cents), 0)::bigint
     + coalesce(sum(total_cents) FILTER (WHERE session_status = 'paid'), 0)::bigint AS held
FROM payment_sessions
"""

PAID_WITHOUT_END = """
SELECT session_id FROM payment_sessions AS session
WHERE session_status = 'paid'
  AND EXISTS (
      SELECT FROM payment_events AS paid
      WHERE paid.session_id = session.session_id AND paid.topic = 'payment_session.paid.v1' AND paid.recorded_at < %s
        AND paid.position <= %s)
  AND NOT EXISTS (
      SELECT FROM payment_cases AS missing
      WHERE missing.session_id = session.session_id AND missing.kind = 'order_missing')
  AND NOT EXISTS (
      SELECT FROM follower_failures AS failure
      WHERE failure.session_id = session.session_id AND failure.name = 'orders' AND failure.state = 'set_aside')
"""
PAID_MAY_TAKE = timedelta(minutes=15)
"""A payment has its order, goes back, or is a case in the work list by then."""

_RECEIVES = (events.Paid.TOPIC, events.SurplusReceived.TOPIC)


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """An order as the shop has it; amounts are cents."""

    session_id: UUID
    order_id: int
    total_cents: int


OrdersOf = Callable[[Connection[Any]], Iterable[ShopOrder]]


def paid_once(log: SessionLog) -> Iterator[Violation]:
    """The money that was asked for arrives once; what comes after it is surplus."""
    if sum(event.topic == events.Paid.TOPIC for event in log.recorded) > 1:
        yield log.violation("receipts", "it is Paid more than once")
    receipts = log.receipts()
    if len(receipts) != len(set(receipts)):
        yield log.violation("receipts", "one receipt is credited more than once")


def balances(log: SessionLog, session: PaymentSession) -> Iterator[Violation]:
    """What was received is an order's, or on its way to one, or going back: to the cent."""
    received = sum(event.state["amount_cents"] for event in log.recorded if event.topic in _RECEIVES)
    kept = session.totals.total_cents if session.status in (Status.PAID, Status.ORDER_CREATED) else 0
    of_order = sum(refund.amount_cents for refund in session.order_refunds if not refund.unasked)
    if of_order > (kept if session.order is not None else 0):
        yield log.violation("money", f"{of_order} cents of its order go back, of {kept} that it has")
    kept -= _gone_of_kept(session)
    owed = sum(refund.amount_cents for refund in session.refunds.values())
    if received != kept + owed:
        detail = f"{received} cents were received, {kept} kept for its order, {owed} owed or sent back"
        yield log.violation("money", detail)
    if (session.order is not None) != (session.status == Status.ORDER_CREATED):
        yield log.violation("money", f"it is {session.status}, and its order is {session.order}")


def _gone_of_kept(session: PaymentSession) -> int:
    """Return what of the money that is kept for an order goes back, or was taken back; of no order none is kept."""
    if session.status not in (Status.PAID, Status.ORDER_CREATED):
        return 0
    return sum(refund.amount_cents for refund in session.order_refunds)


def gather(log: SessionLog, session: PaymentSession, walk: Walk) -> Iterator[Violation]:
    """Note a session's receipts and order for the checks below. A receipt is of one session only."""
    for receipt in set(log.receipts()):
        if walk.receipts.setdefault(receipt, log.session_id) != log.session_id:
            yield log.violation("receipts", f"receipt {receipt} is credited to another session too")
    walk.returned.update(refund.receipt for refund in session.refunds.values() if refund.receipt is not None)
    walk.order_refunds_cents += _gone_of_kept(session)
    if session.order is not None:
        walk.orders[log.session_id] = session.order[0], session.totals.total_cents
    elif session.status == Status.PAID:
        walk.awaiting_order[log.session_id] = session.totals.total_cents


def references(connection: Connection[Any], walk: Walk) -> Iterator[Violation]:
    """Every receipt that is credited is reserved for its session, and every reserved one is credited in time."""
    unreserved = set(walk.receipts)
    for row in stream(connection, "references", REFERENCES, RECEIPT):
        holder = walk.receipts.get(row["value"])
        if holder == row["session_id"]:
            unreserved.discard(row["value"])
        elif holder is None and row["reserved_at"] < walk.settled_before:
            detail = f"receipt {row['value']} is reserved, and no event speaks of it"
            yield Violation("receipts", detail, row["session_id"])
    for receipt in sorted(unreserved):
        detail = f"receipt {receipt} is credited without being reserved"
        yield Violation("receipts", detail, walk.receipts[receipt])


def movements(connection: Connection[Any], walk: Walk) -> Iterator[Violation]:
    """Money that M-Pesa reported is booked on its session, or is an open case: one of the two."""
    for row in stream(connection, "movements", SETTLED_MOVEMENTS):
        if walk.receipts.get(row["receipt"]) != row["session_id"]:
            detail = f"receipt {row['receipt']} of M-Pesa was booked on it, and it has no such money"
            yield Violation("receipts", detail, row["session_id"])
    for row in stream(connection, "open_movements", OPEN_MOVEMENTS, walk.settled_before):
        if row["receipt"] in walk.receipts:
            detail = f"receipt {row['receipt']} is credited to it, and is an unmatched payment as well"
            yield Violation("money", detail, walk.receipts[row["receipt"]])
    for row in stream(connection, "reversals", REVERSED_MOVEMENTS, walk.settled_before):
        receipt = row["linked_receipt"]
        if receipt in walk.receipts and receipt not in walk.returned:
            detail = f"M-Pesa reversed receipt {receipt}, and no event says that this money goes back"
            yield Violation("money", detail, walk.receipts[receipt])


def orders(connection: Connection[Any], walk: Walk, orders_of: OrdersOf | None) -> Iterator[Violation]:
    """The shop has the orders that the events name, and none without its money."""
    if orders_of is None:
        return
    made = {order.session_id: order for order in orders_of(connection)}
    for session_id, order in made.items():
        known = walk.orders.get(session_id)
        if known is None and walk.awaiting_order.get(session_id) != order.total_cents:
            yield Violation("orders", f"order {order.order_id} was made without its money", session_id)
        elif known is not None and known != (order.order_id, order.total_cents):
            yield Violation("orders", f"order {order.order_id} is not what its events say", session_id)
    for session_id in walk.orders.keys() - made.keys():
        yield Violation("orders", "its order is not in the shop", session_id)


def paid_sessions_end(connection: Connection[Any], now: datetime, cases_position: int) -> Iterator[Violation]:
    """A paid session gets its order, or its money goes back, or an operator has a case that can do so.

    Beyond the position that the cases follow the log to, the work list makes the case up from the log.
    """
    values = now - PAID_MAY_TAKE, cases_position
    for row in stream(connection, "paid_without_end", PAID_WITHOUT_END, *values):
        detail = f"it was paid over {PAID_MAY_TAKE} ago, and has no order, no refund, and no case to end it"
        yield Violation("orders", detail, row["session_id"])


def sums(connection: Connection[Any], walk: Walk) -> Iterator[Violation]:
    """Over all sessions, received = orders + refunded + held; what of an order went or goes back is its own no more."""
    row = connection.execute(MONEY_OF_ROWS).fetchone()
    assert row is not None
    row["orders"] -= walk.order_refunds_cents
    if row["received"] != row["orders"] + row["refunded"] + row["held"]:
        sums_of_rows = ", ".join(f"{name} {cents}" for name, cents in row.items())
        yield Violation("sums", f"received is not orders + refunded + held, in cents: {sums_of_rows}")

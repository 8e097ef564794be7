"""Invariants of money: each receipt is credited once, and all that was received is accounted for."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from ledger.application import RECEIPT
from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from ledger.store.movement_macs import COLUMNS, is_genuine
from ledger.store.vault import Vault
from projections.integrity.session_log import CREDITS, SessionLog
from projections.integrity.violations import Violation, stream

HOLDERS = "SELECT value, session_id FROM payment_refs WHERE kind = %s AND value = ANY(%s)"
RESERVED_ONLY = """
SELECT ref.value, ref.session_id FROM payment_refs AS ref
WHERE ref.kind = %(kind)s AND ref.reserved_at < %(until)s AND ref.reserved_at >= %(since)s
  AND NOT EXISTS (SELECT FROM payment_events AS event
                  WHERE event.session_id = ref.session_id AND event.topic = ANY(%(credits)s)
                    AND event.state->>'receipt' = ref.value)
"""
# Whose a receipt is, is asked of its reservation: that it is credited there, and nowhere else, is asked above.
MISBOOKED = """
SELECT movement.receipt, movement.session_id FROM mpesa_movements AS movement
LEFT JOIN payment_refs AS ref ON ref.value = movement.receipt AND ref.kind = %(kind)s
WHERE movement.kind = 'payment' AND movement.verdict NOT IN ('new', 'unknown', 'known_elsewhere')
  AND (ref.session_id = movement.session_id) IS NOT TRUE
"""
CREDITED_AND_UNMATCHED = """
SELECT movement.receipt, ref.session_id FROM mpesa_movements AS movement
JOIN payment_refs AS ref ON ref.value = movement.receipt AND ref.kind = %(kind)s
WHERE movement.kind = 'payment' AND movement.verdict = 'unknown' AND movement.closed_at IS NULL
  AND movement.first_seen_at < %(until)s
"""
REVERSED_UNTOLD = """
SELECT movement.linked_receipt AS receipt, ref.session_id FROM mpesa_movements AS movement
JOIN payment_refs AS ref ON ref.value = movement.linked_receipt AND ref.kind = %(kind)s
WHERE movement.kind = 'reversal' AND movement.settled_at IS NOT NULL AND movement.first_seen_at < %(until)s
  AND NOT EXISTS (
      SELECT FROM payment_events AS event
      WHERE event.session_id = ref.session_id
        AND event.topic IN ('payment_session.refund_due.v1', 'payment_session.payment_reversed.v1')
        AND coalesce(event.state->>'receipt', (
                SELECT min(later.state->>'receipt') FROM payment_events AS later
                WHERE later.session_id = event.session_id AND later.topic = 'payment_session.receipt_recorded.v1'
                  AND later.state->'attempt' = event.state->'attempt')) = ref.value)
"""
MOVEMENTS = f"SELECT session_id, {COLUMNS} FROM mpesa_movements"  # noqa: S608 - made of names of our own
MONEY_OF_ROWS = """
WITH of_orders AS (
    SELECT coalesce(sum((event.state->'amount_cents')::bigint), 0)::bigint AS refunded
    FROM payment_events AS event JOIN payment_sessions AS session USING (session_id)
    WHERE session.session_status IN ('paid', 'order_created')
      AND (event.topic = 'payment_session.payment_reversed.v1'
           OR (event.topic = 'payment_session.refund_due.v1' AND event.state @> '{"of_order": true}'))
)
SELECT coalesce(sum(received_cents), 0)::bigint AS received,
       coalesce(sum(total_cents) FILTER (WHERE session_status = 'order_created'), 0)::bigint
     - (SELECT refunded FROM of_orders) AS orders,
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


def paid_once(log: SessionLog) -> Iterator[Violation]:
    """The money that was asked for arrives once; what comes after it is surplus."""
    if sum(event.topic == events.Paid.TOPIC for event in log.recorded) > 1:
        yield log.violation("receipts", "it is Paid more than once")
    receipts = log.receipts()
    if len(receipts) != len(set(receipts)):
        yield log.violation("receipts", "one receipt is credited more than once")


def balances(log: SessionLog) -> Iterator[Violation]:
    """What was received is an order's, or on its way to one, or going back: to the cent."""
    session = log.folded
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


def reserved(logs: Iterable[SessionLog], connection: Connection[Any]) -> Iterator[Violation]:
    """Every receipt that is credited is reserved for its session, so that it is of one session only."""
    credited = [(receipt, log) for log in logs if log.session is not None for receipt in set(log.receipts())]
    rows = connection.execute(HOLDERS, (RECEIPT, [receipt for receipt, _ in credited]))
    holders = {row["value"]: row["session_id"] for row in rows}
    for receipt, log in credited:
        holder = holders.get(receipt)
        if holder is None:
            yield log.violation("receipts", f"receipt {receipt} is credited without being reserved")
        elif holder != log.session_id:
            detail = f"receipt {receipt} is credited without being reserved for it: it is of session {holder}"
            yield log.violation("receipts", detail)


def references(connection: Connection[Any], since: datetime, until: datetime) -> Iterator[Violation]:
    """Every receipt that was reserved from `since` to `until` is credited to the session that holds it."""
    values = {"kind": RECEIPT, "since": since, "until": until, "credits": list(CREDITS)}
    for row in stream(connection, "references", RESERVED_ONLY, values):
        detail = f"receipt {row['value']} is reserved, and no event speaks of it"
        yield Violation("receipts", detail, row["session_id"])


def movements(connection: Connection[Any], until: datetime) -> Iterator[Violation]:
    """Money that M-Pesa reported is booked on its session, or is an open case: one of the two."""
    values = {"kind": RECEIPT, "until": until}
    for rule, statement, detail in (
        ("receipts", MISBOOKED, "receipt {} of M-Pesa is marked as booked, and no session has this money"),
        (
            "money",
            CREDITED_AND_UNMATCHED,
            "receipt {} is credited to it, and is an unmatched payment as well",
        ),
        ("money", REVERSED_UNTOLD, "M-Pesa reversed receipt {}, and no event says that this money goes back"),
    ):
        for row in stream(connection, "movements", statement, values):
            yield Violation(rule, detail.format(row["receipt"]), row["session_id"])


def genuine_movements(connection: Connection[Any], vault: Vault | None) -> Iterator[Violation]:
    """Each movement carries our MAC, so that nobody wrote it past the application."""
    if vault is None:
        return
    for row in stream(connection, "movement_macs", MOVEMENTS, {}):
        if not is_genuine(vault.keys, row):
            detail = f"movement {row['movement_key']} was not stored by Daftari, or was altered since"
            yield Violation("movements", detail, row["session_id"])


def paid_sessions_end(connection: Connection[Any], now: datetime, cases_position: int) -> Iterator[Violation]:
    """A paid session gets its order, or its money goes back, or an operator has a case that can do so.

    Beyond the position that the cases follow the log to, the work list makes the case up from the log.
    """
    values = now - PAID_MAY_TAKE, cases_position
    for row in stream(connection, "paid_without_end", PAID_WITHOUT_END, values):
        detail = f"it was paid over {PAID_MAY_TAKE} ago, and has no order, no refund, and no case to end it"
        yield Violation("orders", detail, row["session_id"])


def sums(connection: Connection[Any]) -> Iterator[Violation]:
    """Over all sessions, received = orders + refunded + held; what of an order went or goes back is its own no more."""
    row = connection.execute(MONEY_OF_ROWS).fetchone()
    assert row is not None
    if row["received"] != row["orders"] + row["refunded"] + row["held"]:
        sums_of_rows = ", ".join(f"{name} {cents}" for name, cents in row.items())
        yield Violation("sums", f"received is not orders + refunded + held, in cents: {sums_of_rows}")

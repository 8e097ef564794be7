"""The row of a session shows what its events say, column by column."""

from typing import Any

import pytest

from ledger.session.status_row import status_row
from ledger.session.values import Evidence
from tests.ledger.session.event_specs import (
    RECEIPT,
    SESSION_ID,
    TOTAL,
    Spec,
    clock,
    created,
    extended,
    failed,
    initiated,
    order_created,
    paid,
    refund_approved,
    refund_due,
    refund_requested,
    refunded,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

FRESH: dict[str, Any] = {
    "session_id": SESSION_ID,
    "user_id": 1,
    "session_status": "pending",
    "version": 1,
    "goods_cents": 300_00,
    "delivery_fee_cents": 50_00,
    "rounding_cents": 0,
    "total_cents": TOTAL,
    "received_cents": 0,
    "refund_due_cents": 0,
    "refunded_cents": 0,
    "attempts": 0,
    "open_attempts": 0,
    "last_attempt_state": None,
    "transaction_id": None,
    "receipt": None,
    "evidence": None,
    "failure_code": None,
    "failure_reason": None,
    "order_id": None,
    "order_number": None,
    "county_id": None,
    "subcounty_id": None,
    "reference_sealed": None,
    "shop": "builtin",
    "created_at": clock("10:30"),
    "expires_at": clock("10:45"),
    "last_requested_at": None,
    "initiated_at": None,
    "paid_at": None,
    "order_created_at": None,
    "ended_at": None,
    "updated_at": clock("10:30"),
}
PROMPT = [created(), requested(at="10:31"), initiated(at="10:31:05")]
PROMPTED: dict[str, Any] = {
    "session_status": "payment_initiated",
    "version": 3,
    "attempts": 1,
    "open_attempts": 1,
    "last_attempt_state": "initiated",
    "transaction_id": 456,
    "last_requested_at": clock("10:31"),
    "initiated_at": clock("10:31:05"),
    "updated_at": clock("10:31:05"),
}
ORDERED: dict[str, Any] = PROMPTED | {
    "session_status": "order_created",
    "version": 5,
    "received_cents": TOTAL,
    "open_attempts": 0,
    "last_attempt_state": "paid",
    "receipt": RECEIPT,
    "evidence": "c2b",
    "order_id": 789,
    "order_number": "ORD-20240115-001",
    "paid_at": clock("10:32"),
    "order_created_at": clock("10:33"),
    "ended_at": clock("10:33"),
    "updated_at": clock("10:33"),
}


@pytest.mark.parametrize(
    ("history", "changed"),
    [
        ([created()], {}),
        (
            [created(), extended("11:00", at="10:40")],
            {
                "version": 2,
                "expires_at": clock("11:00"),
                "updated_at": clock("10:40"),
            },
        ),
        (PROMPT, PROMPTED),
        (
            [*PROMPT, failed(at="10:32")],
            PROMPTED
            | {
                "session_status": "failed",
                "version": 4,
                "open_attempts": 0,
                "last_attempt_state": "failed",
                "failure_code": "CANCELLED",
                "failure_reason": "The prompt was cancelled.",
                "ended_at": clock("10:32"),
                "updated_at": clock("10:32"),
            },
        ),
        ([*PROMPT, paid(evidence=Evidence.C2B, at="10:32:30"), order_created(at="10:33")], ORDERED),
    ],
)
def test_each_column_is_what_the_events_say(history: list[Spec], changed: dict[str, Any]) -> None:
    assert status_row(given(*history).session) == FRESH | changed


def test_of_two_attempts_the_row_shows_the_one_that_paid_else_the_latest() -> None:
    two = [*PROMPT, requested(2, at="10:34"), initiated(2, at="10:34:05")]
    assert status_row(given(*two).session)["transaction_id"] == 457
    row = status_row(given(*two, paid()).session)
    assert (row["transaction_id"], row["attempts"], row["open_attempts"]) == (456, 2, 1)
    assert row["last_requested_at"] == clock("10:31")


def test_what_must_go_back_is_due_until_it_has_gone_back() -> None:
    two = [*PROMPT, requested(2), initiated(2), paid(), order_created()]
    owing = [*two, surplus(2), refund_due(attempt=2), surplus(2, receipt="UAF0000003", cents=1_00)]
    owing += [refund_due(2, attempt=2, receipt="UAF0000003", cents=1_00, why="second_payment")]
    due = status_row(given(*owing).session)
    assert (due["received_cents"], due["refund_due_cents"], due["refunded_cents"]) == (701_00, 351_00, 0)
    returned = status_row(given(*owing, refund_approved(), refund_requested(), refunded()).session)
    assert (returned["refund_due_cents"], returned["refunded_cents"]) == (1_00, 350_00)
    assert returned["receipt"] == RECEIPT

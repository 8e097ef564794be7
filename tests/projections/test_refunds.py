from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.application import Ledger
from ledger.session.values import RefundState
from ledger.store.database import Database
from ledger.store.listing import Place
from projections import refunds as payment_refunds
from projections.follower import Follower
from projections.integrity import invariants
from projections.rebuilds import rebuild
from projections.refunds import NAMES, UNSENT, PaymentRefund, PaymentRefunds, list_refunds, refunds_of
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

SOLD_OUT = "OUT_OF_STOCK"
ALL_IN_ORDER = f"SELECT {NAMES} FROM payment_refunds ORDER BY session_id, refund"
LATER = HALF_PAST_TEN + timedelta(days=30)


class Patient(Follower):
    """Waits first until tests beside this one do not hold it back."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, event_macs(database), PaymentRefunds(), batch_size=7)
        self._waits_for = database

    def catch_up(self) -> int:
        until_readable(self._waits_for)
        return super().catch_up()


@pytest.fixture
def refunds(database: Database) -> Follower:
    return Patient(database)


def rows(database: Database) -> list[PaymentRefund]:
    with database.connection() as connection:
        return [
            PaymentRefund(**row)
            for row in connection.execute(
                f"SELECT {NAMES} FROM payment_refunds ORDER BY session_id, refund".encode()
            ).fetchall()
        ]


def the_row(database: Database) -> PaymentRefund:
    [row] = rows(database)
    return row


def due(ledger: Ledger, receipt: str | None = "RCPTHELD01") -> Checkout:
    return Checkout(ledger).prompt().pay(receipt).refuse_order()


def change(database: Database, statement: str) -> None:
    with database.connection() as connection:
        connection.execute(statement.encode())


def differences(database: Database) -> list[str]:
    return [violation.detail for violation in invariants.check(database) if violation.rule == "refunds"]


def test_a_sum_that_falls_due_is_listed(ledger: Ledger, database: Database, refunds: Follower) -> None:
    checkout = due(ledger)
    refunds.catch_up()
    row = the_row(database)
    assert (row.session_id, row.refund, row.attempt) == (checkout.session_id, 1, 1)
    assert (row.state, row.amount_cents, row.receipt, row.why) == ("due", TOTAL_CENTS, "RCPTHELD01", SOLD_OUT)
    assert row.due_at == checkout.at


def test_a_receipt_that_comes_later_is_the_refunds_too(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    checkout = due(ledger, receipt=None)
    refunds.catch_up()
    assert the_row(database).receipt is None
    checkout.pay("RCPTHELD01")
    refunds.catch_up()
    assert the_row(database).receipt == "RCPTHELD01"


def test_a_refund_is_followed_step_by_step(ledger: Ledger, database: Database, refunds: Follower) -> None:
    checkout = due(ledger).request_refund()
    refunds.catch_up()
    row = the_row(database)
    assert (row.state, row.approved_by, row.requested_at) == ("requested", "operator 99", checkout.at)
    checkout.accept_refund().doubt_refund()
    refunds.catch_up()
    row = the_row(database)
    assert (row.conversation_id, row.in_doubt, row.doubt_reason, row.doubted_at) == (
        "AG_1",
        True,
        "time-out",
        checkout.at,
    )
    checkout.refund()
    refunds.catch_up()
    row = the_row(database)
    assert (row.state, row.in_doubt, row.means, row.reversal_receipt, row.done_at) == (
        "refunded",
        False,
        "reversal",
        "NLJ0REVERSE",
        checkout.at,
    )


def test_what_failed_is_due_again_under_no_conversation(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    checkout = due(ledger).request_refund().accept_refund().doubt_refund().fail_refund()
    refunds.catch_up()
    row = the_row(database)
    assert (row.state, row.conversation_id, row.in_doubt, row.failures) == ("due", None, False, 1)
    assert (row.failure_code, row.failure_text, row.failed_at) == ("R1", "No funds.", checkout.at)


def test_a_refused_refund_holds_who_refused_it_and_why(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    due(ledger).refuse_refund()
    refunds.catch_up()
    row = the_row(database)
    assert (row.state, row.refused_by, row.refused_reason) == (
        "refused",
        "operator 99",
        "Asked for an exchange.",
    )


def fail_unsent(checkout: Checkout, code: str = UNSENT) -> None:
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.record_refund_failure(
            1, attempt_number=session.refunds[1].attempt_number, code=code, text="Busy.", at=checkout.at
        ),
    )


def approve(checkout: Checkout, by: str) -> None:
    checkout.ledger.decide(
        checkout.session_id, lambda session: session.approve_refund(1, approved_by=by, at=checkout.at)
    )
    checkout.ledger.decide(
        checkout.session_id, lambda session: session.request_refund(1, requested_by="worker", at=checkout.at)
    )


@pytest.mark.parametrize(
    ("second_approval", "second_failure", "in_a_row"),
    [
        (payment_refunds.RETRY_POLICY, UNSENT, 2),
        ("operator 99", UNSENT, 1),
        (payment_refunds.RETRY_POLICY, "INSUFFICIENT_FUNDS", 0),
    ],
)
def test_only_requests_of_the_retry_policy_count_as_in_a_row(
    ledger: Ledger,
    database: Database,
    refunds: Follower,
    second_approval: str,
    second_failure: str,
    in_a_row: int,
) -> None:
    checkout = due(ledger).request_refund()
    fail_unsent(checkout)
    approve(checkout, second_approval)
    fail_unsent(checkout, second_failure)
    refunds.catch_up()
    row = the_row(database)
    assert (row.unsent_in_a_row, row.failures) == (in_a_row, 2)


def test_rows_are_right_after_every_kind_of_event_and_whatever_the_batches(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    checkouts = one_of_every_kind(ledger)
    refunds.catch_up()
    folded: dict[UUID, Any] = {
        checkout.session_id: refunds_of(database, checkout.session_id) for checkout in checkouts
    }
    assert {(row.session_id, row.refund): row for row in rows(database)} == {
        (session_id, number): row
        for session_id, by_number in folded.items()
        for number, row in by_number.items()
    }
    for checkout in checkouts:
        assert {
            number: (
                row.state,
                row.amount_cents,
                row.receipt,
                row.in_doubt,
                row.failures,
                row.conversation_id,
            )
            for number, row in folded[checkout.session_id].items()
        } == {
            number: (r.state, r.amount_cents, r.receipt, r.in_doubt, r.failures, r.conversation_id)
            for number, r in checkout.session.refunds.items()
        }


def test_pages_are_newest_first_and_stand_still(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    for number in range(3):
        Checkout(ledger, at=HALF_PAST_TEN + timedelta(hours=number)).prompt().pay(
            f"RCPT{number}"
        ).refuse_order()
    refunds.catch_up()
    as_of = HALF_PAST_TEN + timedelta(hours=2)
    count, page = list_refunds(database, Place(as_of, 1), state=None)
    assert (count, [row.receipt for row in page]) == (2, ["RCPT1"])
    count, page = list_refunds(database, Place(as_of, 1, 1), state=None)
    assert [row.receipt for row in page] == ["RCPT0"]


def test_a_list_may_be_of_one_state(ledger: Ledger, database: Database, refunds: Follower) -> None:
    due(ledger, "RCPT1")
    due(ledger, "RCPT2").refuse_refund()
    refunds.catch_up()
    count, page = list_refunds(database, Place(LATER, 10), state=RefundState.REFUSED)
    assert (count, [row.receipt for row in page]) == (1, ["RCPT2"])


def test_the_invariants_see_a_row_that_is_not_what_the_log_says(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    one_of_every_kind(ledger)
    refunds.catch_up()
    assert differences(database) == []
    change(
        database, "UPDATE payment_refunds SET amount_cents = amount_cents + 1 WHERE receipt = 'RCPTHELD01'"
    )
    assert differences(database) == ["payment_refunds is not what its events come to"]
    change(database, "DELETE FROM payment_refunds WHERE receipt = 'RCPTHELD01'")
    assert differences(database) == ["payment_refunds lacks its rows"]


def test_the_invariants_see_a_row_that_no_event_speaks_of(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    due(ledger)
    refunds.catch_up()
    for session_id in (UUID(int=0), UUID(int=2**128 - 1)):
        change(
            database,
            "INSERT INTO payment_refunds (session_id, refund, attempt, state, amount_cents, why, due_at, in_doubt,"
            f" failures, unsent_in_a_row) VALUES ('{session_id}', 1, 1, 'due', 1, 'x', now(), false, 0, 0)",
        )
    assert differences(database) == ["payment_refunds has rows that no event speaks of"] * 2


def test_a_rebuild_corrects_wrong_rows_and_counts_them(
    ledger: Ledger, database: Database, refunds: Follower
) -> None:
    one_of_every_kind(ledger)
    refunds.catch_up()
    before = rows(database)
    assert rebuild(database, event_macs(database), payment_refunds.TABLE).wrong_rows == 0
    change(
        database,
        "UPDATE payment_refunds SET state = 'refunded' WHERE receipt IN ('RCPTHELD01', 'RCPTHELD04')",
    )
    assert rebuild(database, event_macs(database), payment_refunds.TABLE, at_once=9).wrong_rows == 2
    assert rows(database) == before

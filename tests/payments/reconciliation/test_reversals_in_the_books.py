"""Reversals in M-Pesa's books: of refunds of ours, and of payments that were taken back without us."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from freezegun import freeze_time

from daraja import PulledTransaction
from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence, RefundState
from ledger.store.database import Database
from payments.reconciliation.matcher import UNPROCESSED_AFTER, Matcher
from payments.reconciliation.movements import MatchVerdict, Movement, MovementKind
from payments.reconciliation.transactions import of_pulled
from projections.history import history
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout

RECEIPT = "OAF7Q2X9LM"
LATER = HALF_PAST_TEN + timedelta(minutes=2)


def _reversal(original: str, receipt: str = "OAF7Q2X9RV", **changed: Any) -> Movement:
    values: dict[str, Any] = {
        "amount_cents": TOTAL_CENTS,
        "happened_at": LATER,
        "evidence": Evidence.STATEMENT,
        "linked_receipt": original,
        "money_in": False,
    }
    return Movement(kind=MovementKind.REVERSAL, receipt=receipt, **values | changed)


def _ingest(matcher: Matcher, *movements: Movement) -> list[MatchVerdict]:
    return [result.verdict for result in matcher.ingest(movements)]


def _facts(checkout: Checkout) -> list[str]:
    return [
        entry.name for entry in history(checkout.ledger.database, checkout.ledger.macs, checkout.session_id)
    ]


def _refused(ledger: Ledger) -> Checkout:
    return Checkout(ledger).prompt().pay(RECEIPT).refuse_order()


@pytest.mark.parametrize(
    "decide",
    [
        lambda checkout: checkout,
        Checkout.request_refund,
        Checkout.refuse_refund,
        lambda checkout: checkout.request_refund().accept_refund().doubt_refund(),
    ],
)
def test_a_reversal_in_the_statement_settles_the_refund(
    ledger: Ledger, matcher: Matcher, decide: Callable[[Checkout], Checkout]
) -> None:
    checkout = decide(_refused(ledger))
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.REFUND_SETTLED]
    assert checkout.session.refunds[1].state == RefundState.REFUNDED
    before = _facts(checkout)
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.POSTED]
    assert _facts(checkout) == before


def test_a_reversal_that_mpesa_had_reported_changes_nothing(ledger: Ledger, matcher: Matcher) -> None:
    checkout = _refused(ledger).request_refund().refund()
    before = _facts(checkout)
    assert _ingest(matcher, _reversal(RECEIPT, "NLJ0REVERSE")) == [MatchVerdict.REFUND_SETTLED]
    assert _facts(checkout) == before


def test_a_refund_by_hand_and_by_reversal_is_a_case(ledger: Ledger, matcher: Matcher) -> None:
    checkout = _refused(ledger)
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.record_refund_by_hand(1, recorded_by="operator 9", note="Cash.", at=LATER),
    )
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.REVERSAL_UNEXPECTED]


@pytest.mark.parametrize("changed", [{}, {"amount_cents": 1_00}])
def test_a_reversal_of_a_payment_with_an_order_is_recorded_and_is_a_case(
    ledger: Ledger, matcher: Matcher, changed: dict[str, Any]
) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT).order()
    reversal = _reversal(RECEIPT, **changed)
    for _ in range(2):
        [result] = matcher.ingest([reversal])
        assert (result.verdict, result.session_id) == (MatchVerdict.REVERSAL_UNEXPECTED, checkout.session_id)
        assert _facts(checkout)[-2:] == ["OrderCreated", "PaymentReversed"]


def test_a_reversal_told_by_several_sources_is_one_event_and_one_case(
    ledger: Ledger, matcher: Matcher
) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT).order()
    pulled = _reversal(RECEIPT, RECEIPT, evidence=Evidence.C2B, reason_type="reversal")
    told = [pulled, _reversal(RECEIPT), _reversal(RECEIPT, reason_type="Pay Bill Reversal")]
    for reversal in told + told:
        matcher.ingest([reversal])
    assert _facts(checkout).count("PaymentReversed") == 1
    with ledger.database.connection() as connection:
        rows = connection.execute(
            "SELECT verdict, count(*) AS rows FROM mpesa_movements GROUP BY 1"
        ).fetchall()
    assert {row["verdict"]: row["rows"] for row in rows} == {"reversal_unexpected": 1, "posted": 2}


def test_a_crash_before_the_result_is_stored_loses_no_case(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT).order()
    reversal = _reversal(RECEIPT)
    matcher.ingest([reversal])
    with ledger.database.connection() as connection:
        connection.execute("UPDATE mpesa_movements SET verdict = 'new'")
    with freeze_time(clock.now() + 2 * UNPROCESSED_AFTER):
        assert matcher.act_on_unprocessed() == 1
    assert _ingest(matcher, reversal) == [MatchVerdict.REVERSAL_UNEXPECTED]
    assert _facts(checkout).count("PaymentReversed") == 1


def test_a_reversal_that_is_known_before_its_payment_is_recorded_once_that_is(
    ledger: Ledger, matcher: Matcher
) -> None:
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.NOT_OURS]
    assert matcher.act_on_claimed() == 0
    checkout = Checkout(ledger).prompt()
    assert ledger.reserve_receipt(RECEIPT, checkout.session_id)
    assert matcher.act_on_claimed() == 0
    checkout.pay(RECEIPT).order()
    assert matcher.act_on_claimed() == 1
    assert _facts(checkout)[-1] == "PaymentReversed"
    assert matcher.act_on_claimed() == 0


def test_a_reversal_in_the_list_of_payments_is_no_payment(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT).order()
    for receipt in (RECEIPT, "OAF7Q2X9RV"):
        pulled = PulledTransaction(
            receipt,
            TOTAL_CENTS,
            "",
            LATER,
            "c2b-reversal",
            f"D{checkout.session.attempts[1].transaction_id}",
            None,
        )
        movement = of_pulled(pulled, LATER)
        assert movement is not None
        matcher.ingest([movement])
    assert _facts(checkout)[-2:] == ["OrderCreated", "PaymentReversed"]


def test_the_reversal_of_an_unmatched_payment_closes_its_case(matcher: Matcher, database: Database) -> None:
    payment = Movement(MovementKind.PAYMENT, RECEIPT, TOTAL_CENTS, LATER, Evidence.C2B)
    found = matcher.ingest([_reversal(RECEIPT), payment])
    assert {result.verdict for result in found} == {MatchVerdict.UNKNOWN, MatchVerdict.NOT_OURS}
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT closed_by FROM mpesa_movements WHERE verdict = 'unknown'"
        ).fetchall()
    assert [row["closed_by"] for row in rows] == ["statement"]


def test_a_reversal_that_was_only_a_case_before_is_recorded_and_stays_a_case(
    ledger: Ledger, matcher: Matcher
) -> None:
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.NOT_OURS]
    checkout = Checkout(ledger).prompt()
    assert ledger.reserve_receipt(RECEIPT, checkout.session_id)
    checkout.pay(RECEIPT).order()
    with ledger.database.connection() as connection:
        connection.execute("UPDATE mpesa_movements SET verdict = 'reversal_unexpected', settled_at = NULL")
    assert (matcher.act_on_claimed(), matcher.act_on_claimed()) == (1, 0)
    assert _facts(checkout)[-1] == "PaymentReversed"
    assert _ingest(matcher, _reversal(RECEIPT)) == [MatchVerdict.REVERSAL_UNEXPECTED]

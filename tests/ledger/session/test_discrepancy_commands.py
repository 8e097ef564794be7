"""Sources that disagree, and better sources."""

import pytest

from ledger.session.values import Evidence, Status
from tests.ledger.session.commands import (
    close_discrepancy,
    miss_payment,
    prove_payment,
    record_attempt_failure,
    record_payment,
)
from tests.ledger.session.event_specs import (
    RECEIPT,
    TOTAL,
    created,
    discrepancy_closed,
    discrepancy_found,
    evidence_upgraded,
    failed,
    initiated,
    paid,
    receipt_recorded,
    refund_due,
    reopened,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

PROMPT = [created(), requested(), initiated()]
PAID = [*PROMPT, paid()]


@pytest.mark.parametrize("source", [Evidence.C2B, Evidence.STATEMENT])
def test_a_better_source_of_the_same_money_is_recorded_once(source: Evidence) -> None:
    scenario = given(*PAID).when(record_payment(evidence=source)).then(evidence_upgraded(evidence=source))
    assert scenario.session.paid is not None
    assert scenario.session.paid.evidence == source
    assert scenario.session.received_cents == TOTAL
    scenario.when(record_payment(evidence=source)).then_no_change()


def test_a_weaker_source_of_the_same_money_changes_nothing() -> None:
    given(*PAID, evidence_upgraded(evidence=Evidence.STATEMENT)).when(
        record_payment(evidence=Evidence.C2B)
    ).then_no_change()


def test_the_evidence_of_a_surplus_is_upgraded_and_that_of_the_payment_is_not() -> None:
    history = [*PAID, surplus(), refund_due()]
    scenario = given(*history).when(record_payment(receipt="UAF0000002", evidence=Evidence.STATEMENT))
    scenario.then(evidence_upgraded(receipt="UAF0000002", evidence=Evidence.STATEMENT))
    assert scenario.session.paid is not None
    assert scenario.session.paid.evidence == Evidence.CALLBACK
    assert scenario.session.credits["UAF0000002"].evidence == Evidence.STATEMENT


def test_a_receipt_may_come_from_the_books_of_the_paybill() -> None:
    proved = paid(receipt=None, evidence=Evidence.QUERY)
    scenario = given(*PROMPT, proved).when(record_payment(evidence=Evidence.C2B))
    scenario.then(receipt_recorded(evidence=Evidence.C2B))
    assert scenario.session.credits[RECEIPT].amount_cents == TOTAL


def test_another_amount_of_known_money_is_a_discrepancy_and_no_upgrade() -> None:
    detail = "100 cents, where 35000 cents are known."
    scenario = given(*PAID).when(record_payment(cents=1_00, evidence=Evidence.STATEMENT))
    scenario.then(
        discrepancy_found(
            about="amount", evidence=Evidence.STATEMENT, told=detail, receipt=RECEIPT, cents=1_00
        )
    ).status(Status.PAID)
    assert scenario.session.received_cents == TOTAL


def test_a_receipt_that_comes_with_another_amount_than_was_proved_is_recorded_and_looked_at() -> None:
    scenario = given(*PROMPT).when(prove_payment()).when(record_payment(cents=1_00))
    detail = "100 cents, where 35000 cents are known."
    scenario.then(
        receipt_recorded(), discrepancy_found(about="amount", told=detail, receipt=RECEIPT, cents=1_00)
    )


def test_each_amount_that_differs_is_recorded_once_also_after_a_person_closed_another() -> None:
    one_shilling = record_payment(cents=1_00, evidence=Evidence.C2B)
    looked_at = given(*PAID).when(one_shilling).when(close_discrepancy())
    detail = "200 cents, where 35000 cents are known."
    looked_at.when(one_shilling).then_no_change()
    looked_at.when(record_payment(cents=2_00, evidence=Evidence.STATEMENT)).then(
        discrepancy_found(
            2, about="amount", evidence=Evidence.STATEMENT, told=detail, receipt=RECEIPT, cents=2_00
        )
    )


def test_money_after_a_failure_reopens_the_session_and_is_a_discrepancy() -> None:
    scenario = given(*PROMPT, failed()).when(record_payment())
    scenario.then(paid(previous=Status.FAILED), reopened()).status(Status.PAID)


def test_a_payment_that_the_books_lack_stands_and_is_one_discrepancy() -> None:
    detail = "It has no such payment."
    scenario = given(*PAID).when(miss_payment())
    scenario.then(
        discrepancy_found(
            about="books", evidence=Evidence.STATEMENT, told=detail, receipt=RECEIPT, cents=TOTAL
        )
    ).status(Status.PAID)
    scenario.when(close_discrepancy()).when(miss_payment()).then_no_change()


def test_a_discrepancy_is_closed_once_by_a_person() -> None:
    disputed = given(*PAID, discrepancy_found())
    closed = disputed.when(close_discrepancy()).then(discrepancy_closed())
    assert not closed.session.discrepancies[1].is_open
    closed.when(close_discrepancy()).refused("CASE_NOT_OPEN")
    disputed.when(close_discrepancy(2)).refused("CASE_NOT_OPEN")


def test_a_closed_discrepancy_is_not_found_again() -> None:
    given(*PAID, discrepancy_found(), discrepancy_closed()).when(record_attempt_failure()).then_no_change()

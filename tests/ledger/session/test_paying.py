"""Money that was asked for arrives: once, and whatever the state."""

import pytest

from ledger.session.values import AttemptState, Evidence, Status
from tests.ledger.session.commands import (
    prove_payment,
    record_attempt_failure,
    record_payment,
    record_uncertainty,
)
from tests.ledger.session.event_specs import (
    RECEIPT,
    SECOND_RECEIPT,
    TOTAL,
    Spec,
    clock,
    created,
    expired,
    failed,
    initiated,
    order_created,
    paid,
    receipt_recorded,
    refund_due,
    refused,
    reopened,
    requested,
    surplus,
    uncertain,
)
from tests.ledger.session.scenario import given

PROMPT = [requested(1, at="10:31"), initiated(1)]


def test_a_payment_settles_the_session() -> None:
    scenario = given(created(), *PROMPT).when(record_payment(at="10:33"))
    scenario.then(paid(at="10:33", previous=Status.PAYMENT_INITIATED)).status(Status.PAID)
    session = scenario.session
    assert (session.received_cents, session.receipts) == (TOTAL, {RECEIPT})
    assert (session.attempts[1].state, session.attempts[1].receipt) == (AttemptState.PAID, RECEIPT)
    assert session.paid is not None
    assert (session.paid.evidence, session.paid.paid_at) == (Evidence.CALLBACK, clock("10:32"))
    assert session.refunds == {}


def test_a_payment_carries_the_creation_of_its_session_so_that_it_can_be_counted_by_itself() -> None:
    (event,) = given(created(at="10:30"), *PROMPT).when(record_payment()).written
    assert event.session_created_at == clock("10:30")


@pytest.mark.parametrize("evidence", list(Evidence))
def test_the_evidence_of_a_payment_is_recorded(evidence: Evidence) -> None:
    given(created(), *PROMPT).when(record_payment(evidence=evidence)).then(paid(evidence=evidence))


@pytest.mark.parametrize("evidence", [Evidence.QUERY, Evidence.CALLBACK])
def test_a_repeated_payment_changes_nothing_whatever_its_source(evidence: Evidence) -> None:
    given(created(), *PROMPT, paid()).when(record_payment(evidence=evidence)).then_no_change()


def test_a_repeated_payment_after_the_order_changes_nothing() -> None:
    given(created(), *PROMPT, paid(), order_created()).when(record_payment()).then_no_change().status(
        Status.ORDER_CREATED
    )


def test_a_known_receipt_changes_nothing_even_for_another_attempt() -> None:
    history = [*PROMPT, requested(2, at="10:34"), initiated(2), paid(1)]
    given(created(), *history).when(record_payment(2)).then_no_change()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [([], [paid()]), ([uncertain()], [paid()]), ([refused()], [paid(), reopened()])],
    ids=["requested", "uncertain", "refused"],
)
def test_a_payment_counts_whatever_we_know_of_the_prompt(answer: list[Spec], expected: list[Spec]) -> None:
    given(created(), requested(), *answer).when(record_payment()).then(*expected).status(Status.PAID)


def test_a_payment_before_the_push_has_answered_needs_no_answer_any_more() -> None:
    given(created(), requested()).when(record_payment()).then(paid(previous=Status.PENDING)).when(
        record_uncertainty()
    ).then_no_change()


@pytest.mark.parametrize(
    ("history", "before"),
    [([requested(), refused(), expired()], Status.EXPIRED), ([*PROMPT, failed()], Status.FAILED)],
)
def test_money_that_arrives_after_the_end_is_still_a_payment(history: list[Spec], before: Status) -> None:
    scenario = given(created(), *history).when(record_payment(at="11:30"))
    scenario.then(paid(previous=before, at="11:30"), reopened()).status(Status.PAID)
    assert scenario.session.failure is None
    assert scenario.session.ended_at is None


def test_money_that_arrives_past_the_expiry_is_a_payment_though_the_expiry_is_not_recorded() -> None:
    given(created(), *PROMPT).when(record_payment(at="12:00")).then(paid())


def test_a_cancellation_and_then_a_success_of_the_same_attempt_is_a_payment() -> None:
    given(created(), *PROMPT).when(record_attempt_failure()).when(record_payment()).then(
        paid(previous=Status.FAILED), reopened()
    )


def test_a_query_proves_a_payment_without_its_receipt() -> None:
    scenario = given(created(), *PROMPT).when(prove_payment())
    scenario.then(paid(receipt=None, evidence=Evidence.QUERY)).status(Status.PAID)
    assert (scenario.session.received_cents, scenario.session.receipts) == (TOTAL, set())


@pytest.mark.parametrize("receipt", [None, RECEIPT])
def test_a_query_after_the_payment_changes_nothing(receipt: str | None) -> None:
    given(created(), *PROMPT, paid(receipt=receipt)).when(prove_payment()).then_no_change()


def test_the_callback_after_the_query_brings_the_receipt_and_no_surplus() -> None:
    proved = paid(receipt=None, evidence=Evidence.QUERY)
    scenario = given(created(), *PROMPT, proved).when(record_payment(at="10:40"))
    scenario.then(receipt_recorded(at="10:40")).status(Status.PAID)
    session = scenario.session
    assert (session.received_cents, session.receipts) == (TOTAL, {RECEIPT})
    assert session.paid is not None
    assert (session.paid.receipt, session.paid.evidence) == (RECEIPT, Evidence.CALLBACK)


def test_the_receipt_may_come_after_the_order_and_does_not_move_the_status() -> None:
    proved = paid(receipt=None, evidence=Evidence.QUERY)
    given(created(), *PROMPT, proved, order_created()).when(record_payment()).then(receipt_recorded()).status(
        Status.ORDER_CREATED
    )


def test_a_receipt_is_recorded_once_and_the_next_one_is_a_surplus() -> None:
    history = [*PROMPT, paid(receipt=None, evidence=Evidence.QUERY), receipt_recorded()]
    given(created(), *history).when(record_payment()).then_no_change()
    given(created(), *history).when(record_payment(receipt=SECOND_RECEIPT)).then(surplus(), refund_due())

"""Money beyond what was owed: recorded, never credited twice, always due back."""

import pytest

from ledger.session.events import RefundDue, SurplusReceived
from ledger.session.values import AttemptState, Evidence, Status
from tests.ledger.session.commands import prove_payment, record_payment
from tests.ledger.session.event_specs import (
    RECEIPT,
    SECOND_RECEIPT,
    TOTAL,
    Spec,
    created,
    expired,
    failed,
    initiated,
    mismatched,
    order_created,
    paid,
    receipt_recorded,
    refund_due,
    refused,
    reopened,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

PROMPT = [requested(1, at="10:31"), initiated(1)]
TWO_PROMPTS = [*PROMPT, requested(2, at="10:34"), initiated(2)]
SOLD_OUT = [
    paid(),
    failed(code="OUT_OF_STOCK", money_held=True),
    refund_due(receipt=RECEIPT, why="OUT_OF_STOCK"),
]


@pytest.mark.parametrize(
    ("history", "status"), [([paid()], Status.PAID), ([paid(), order_created()], Status.ORDER_CREATED)]
)
def test_a_second_receipt_is_a_surplus_and_not_a_second_payment(history: list[Spec], status: Status) -> None:
    scenario = given(created(), *PROMPT, *history).when(record_payment(receipt=SECOND_RECEIPT))
    scenario.then(surplus(), refund_due()).status(status)
    assert scenario.session.received_cents == 2 * TOTAL
    assert scenario.session.receipts == {RECEIPT, SECOND_RECEIPT}


def test_both_of_two_prompts_may_be_paid_and_the_second_is_due_back() -> None:
    scenario = given(created(), *TWO_PROMPTS, paid(1)).when(record_payment(2, receipt=SECOND_RECEIPT))
    scenario.then(surplus(2), refund_due(attempt=2)).status(Status.PAID)
    assert scenario.session.attempts[2].state == AttemptState.PAID


def test_a_surplus_leaves_the_payment_and_its_attempt_with_their_own_receipt() -> None:
    session = given(created(), *PROMPT, paid(), surplus(), refund_due()).session
    assert session.attempts[1].receipt == RECEIPT
    assert session.paid is not None
    assert session.paid.receipt == RECEIPT


def test_a_repeated_surplus_changes_nothing() -> None:
    given(created(), *PROMPT, paid(), surplus(), refund_due()).when(
        record_payment(receipt=SECOND_RECEIPT)
    ).then_no_change()


def test_every_surplus_is_due_back_under_a_number_of_its_own() -> None:
    given(created(), *PROMPT, paid(), surplus(), refund_due()).when(
        record_payment(receipt="UAF0000003")
    ).then(surplus(receipt="UAF0000003"), refund_due(2, receipt="UAF0000003"))


def test_a_payment_that_comes_after_the_order_was_refused_is_due_back_too() -> None:
    given(created(), *PROMPT, *SOLD_OUT).when(record_payment(receipt=SECOND_RECEIPT)).then(
        surplus(), refund_due(2)
    ).status(Status.FAILED)


@pytest.mark.parametrize("cents", [1, 1_00, TOTAL - 1, TOTAL + 1, 650_00])
def test_a_wrong_amount_is_held_and_due_back_and_fails_the_session(cents: int) -> None:
    scenario = given(created(), *PROMPT).when(record_payment(cents=cents))
    scenario.then(
        surplus(receipt=RECEIPT, cents=cents, why="wrong_amount"),
        refund_due(receipt=RECEIPT, cents=cents, why="wrong_amount"),
        mismatched(previous=Status.PAYMENT_INITIATED),
    ).status(Status.FAILED)
    assert scenario.session.received_cents == cents
    assert scenario.session.paid is None


def test_money_whose_source_names_no_amount_is_held_as_what_the_prompt_asked_for() -> None:
    given(created(), *PROMPT).when(record_payment(cents=None)).then(
        surplus(receipt=RECEIPT, why="amount_not_named"),
        refund_due(receipt=RECEIPT, why="amount_not_named"),
        mismatched(),
    )


def test_a_repeated_wrong_amount_changes_nothing() -> None:
    once = given(created(), *PROMPT).when(record_payment(cents=1_00))
    once.when(record_payment(cents=1_00)).then_no_change()


def test_a_wrong_amount_leaves_the_session_open_while_another_prompt_is() -> None:
    scenario = given(created(), *TWO_PROMPTS).when(record_payment(1, cents=1_00))
    scenario.then(
        surplus(receipt=RECEIPT, cents=1_00, why="wrong_amount"),
        refund_due(receipt=RECEIPT, cents=1_00, why="wrong_amount"),
    ).status(Status.PAYMENT_INITIATED)
    scenario.when(record_payment(2, receipt=SECOND_RECEIPT)).then(paid(2, receipt=SECOND_RECEIPT))


@pytest.mark.parametrize(
    ("history", "status"),
    [
        ([requested(), refused(), expired()], Status.EXPIRED),
        ([*PROMPT, failed()], Status.FAILED),
        ([*PROMPT, paid(receipt="UAF0000003")], Status.PAID),
        ([*PROMPT, paid(receipt="UAF0000003"), order_created()], Status.ORDER_CREATED),
    ],
)
def test_a_wrong_amount_never_moves_a_settled_session(history: list[Spec], status: Status) -> None:
    scenario = given(created(), *history).when(record_payment(cents=1_00)).status(status)
    assert [type(event) for event in scenario.written][:2] == [SurplusReceived, RefundDue]


def test_the_right_amount_after_a_wrong_one_pays_the_session() -> None:
    wrong = given(created(), *PROMPT).when(record_payment(cents=1_00))
    scenario = wrong.when(record_payment(receipt=SECOND_RECEIPT))
    scenario.then(paid(receipt=SECOND_RECEIPT, previous=Status.FAILED)).status(Status.PAID)
    assert scenario.session.received_cents == TOTAL + 1_00
    assert sum(refund.amount_cents for refund in scenario.session.refunds.values()) == 1_00


def test_the_wrong_amount_for_a_prompt_that_was_thought_refused_is_held_all_the_same() -> None:
    given(created(), requested(), refused()).when(record_payment(cents=1_00)).then(
        surplus(receipt=RECEIPT, cents=1_00, why="wrong_amount"),
        refund_due(receipt=RECEIPT, cents=1_00, why="wrong_amount"),
        mismatched(previous=Status.PENDING),
        reopened(cents=1_00),
    )


def test_a_second_payment_that_a_query_proves_is_due_back_though_its_receipt_is_unknown() -> None:
    given(created(), *TWO_PROMPTS, paid(1)).when(prove_payment(2)).then(
        surplus(2, receipt=None, evidence=Evidence.QUERY), refund_due(attempt=2, receipt=None)
    )


def test_a_refund_learns_the_receipt_of_its_money_when_the_callback_brings_it() -> None:
    proved = [surplus(2, receipt=None, evidence=Evidence.QUERY), refund_due(attempt=2, receipt=None)]
    scenario = given(created(), *TWO_PROMPTS, paid(1), *proved).when(
        record_payment(2, receipt=SECOND_RECEIPT)
    )
    scenario.then(receipt_recorded(2, receipt=SECOND_RECEIPT))
    assert scenario.session.refunds[1].receipt == SECOND_RECEIPT
    assert scenario.session.received_cents == 2 * TOTAL
    assert scenario.session.paid is not None
    assert scenario.session.paid.receipt == RECEIPT


def test_of_two_refunds_without_receipt_each_learns_its_own() -> None:
    history = [
        paid(1, receipt=None, evidence=Evidence.QUERY),
        surplus(2, receipt=None, evidence=Evidence.QUERY),
        refund_due(1, attempt=2, receipt=None),
        failed(1, code="OUT_OF_STOCK", money_held=True),
        refund_due(2, attempt=1, receipt=None, why="OUT_OF_STOCK"),
    ]
    session = (
        given(created(), *TWO_PROMPTS, *history).when(record_payment(1)).then(receipt_recorded(1)).session
    )
    assert {number: refund.receipt for number, refund in session.refunds.items()} == {1: None, 2: RECEIPT}

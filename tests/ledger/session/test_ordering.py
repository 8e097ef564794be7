"""What the shop made of a paid session: an order, or a refusal."""

import pytest

from ledger.session.values import Evidence, RefundState, Status
from tests.ledger.session.commands import record_order, record_payment, refuse_order
from tests.ledger.session.event_specs import (
    RECEIPT,
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
    requested,
)
from tests.ledger.session.scenario import given

PROMPT = [requested(1, at="10:31"), initiated(1)]
SOLD_OUT = [
    failed(code="OUT_OF_STOCK", text="Fresh Tomatoes are sold out.", money_held=True, result_code=None),
    refund_due(receipt=RECEIPT, why="OUT_OF_STOCK"),
]
UNPAID = [
    pytest.param([], id="pending"),
    pytest.param(PROMPT, id="initiated"),
    pytest.param([*PROMPT, failed()], id="failed"),
    pytest.param([expired()], id="expired"),
]


def test_an_order_ends_a_paid_session() -> None:
    scenario = given(created(), *PROMPT, paid()).when(record_order(at="10:33"))
    scenario.then(order_created(at="10:33", previous=Status.PAID)).status(Status.ORDER_CREATED)
    session = scenario.session
    assert session.order == (789, "ORD-20240115-001")
    assert session.order_created_at == session.ended_at == clock("10:33")


def test_a_repeated_order_changes_nothing() -> None:
    given(created(), *PROMPT, paid(), order_created()).when(record_order()).then_no_change()


@pytest.mark.parametrize("history", UNPAID)
def test_there_is_no_order_without_money(history: list[Spec]) -> None:
    given(created(), *history).when(record_order()).refused("SESSION_NOT_PAID")


def test_there_is_no_order_once_the_money_is_due_back() -> None:
    given(created(), *PROMPT, paid(), *SOLD_OUT).when(record_order()).refused("SESSION_NOT_PAID")


def test_late_money_may_still_become_an_order() -> None:
    given(created(), requested(), refused(), expired(), paid()).when(record_order()).then(order_created())


def test_a_refused_order_fails_the_session_and_its_money_is_due_back() -> None:
    scenario = given(created(), *PROMPT, paid()).when(refuse_order()).then(*SOLD_OUT).status(Status.FAILED)
    session = scenario.session
    assert session.failure == ("OUT_OF_STOCK", "Fresh Tomatoes are sold out.")
    assert session.refunds[1].state == RefundState.DUE
    assert session.refunds[1].amount_cents == TOTAL
    assert session.received_cents == TOTAL


def test_a_repeatedly_refused_order_is_owed_once() -> None:
    given(created(), *PROMPT, paid(), *SOLD_OUT).when(refuse_order()).then_no_change()


def test_an_order_that_was_made_can_no_longer_be_refused() -> None:
    given(created(), *PROMPT, paid(), order_created()).when(refuse_order()).then_no_change().status(
        Status.ORDER_CREATED
    )


@pytest.mark.parametrize("history", UNPAID)
def test_the_order_of_an_unpaid_session_cannot_be_refused(history: list[Spec]) -> None:
    given(created(), *history).when(refuse_order()).then_no_change()


def test_a_repeated_callback_after_a_refused_order_does_not_pay_again() -> None:
    given(created(), *PROMPT, paid(), *SOLD_OUT).when(record_payment()).then_no_change().status(Status.FAILED)


def test_the_refund_of_a_refused_order_learns_its_receipt_when_the_callback_brings_it() -> None:
    proved = paid(receipt=None, evidence=Evidence.QUERY)
    refused_order = given(created(), *PROMPT, proved).when(refuse_order())
    assert refused_order.session.refunds[1].receipt is None
    scenario = refused_order.when(record_payment()).then(receipt_recorded()).status(Status.FAILED)
    assert scenario.session.refunds[1].receipt == RECEIPT

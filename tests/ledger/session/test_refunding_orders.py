"""Money of an order that a person gives back: the whole by reversal, a part by the receipt of its payout."""

import pytest

from ledger.session.status_row import money_of, money_of_order
from ledger.session.values import Evidence, MoneyBack, RefundState, RefundStatus, Status
from tests.ledger.session.commands import approve_refund, record_refund, refund_order
from tests.ledger.session.event_specs import (
    Spec,
    created,
    initiated,
    order_created,
    order_refund_due,
    paid,
    paid_out,
    refund_approved,
    refund_due,
    refunded,
    requested,
    surplus,
)
from tests.ledger.session.scenario import given

ORDERED = [created(), requested(), initiated(), paid(), order_created()]


def test_the_whole_is_decided_and_approved_at_once() -> None:
    scenario = given(*ORDERED).when(refund_order(restock=True))
    scenario.then(order_refund_due(restock=True), refund_approved()).status(Status.ORDER_CREATED)
    assert scenario.session.refunds[1].state == RefundState.APPROVED
    assert money_of(scenario.session).status == RefundStatus.DUE


def test_the_session_stays_ordered_when_the_money_has_gone_back() -> None:
    sent = [*ORDERED, order_refund_due(), refund_approved()]
    scenario = given(*sent).when(record_refund()).then(refunded()).status(Status.ORDER_CREATED)
    assert money_of_order(scenario.session) == MoneyBack(350_00, 0, 350_00)
    assert money_of(scenario.session).status == RefundStatus.REFUNDED


def test_a_repeated_request_changes_nothing() -> None:
    given(*ORDERED, order_refund_due(), refund_approved()).when(refund_order()).then_no_change()


def test_a_part_is_recorded_by_the_receipt_of_its_payout() -> None:
    scenario = given(*ORDERED).when(refund_order(100_00, payout="UAF0000007"))
    scenario.then(order_refund_due(cents=100_00), paid_out())
    assert money_of(scenario.session).status == RefundStatus.PARTLY_REFUNDED


@pytest.mark.parametrize(
    ("history", "command", "code"),
    [
        ([], refund_order(100_00), "REFUND_IN_PART"),
        ([], refund_order(350_01, payout="UAF0000007"), "REFUND_EXCEEDS_ORDER"),
        ([], refund_order(0, payout="UAF0000007"), "REFUND_EXCEEDS_ORDER"),
        ([], refund_order(-1, payout="UAF0000007"), "REFUND_EXCEEDS_ORDER"),
        ([order_refund_due(), refund_approved()], refund_order(request="2"), "REFUND_EXCEEDS_ORDER"),
        ([order_refund_due(cents=100_00), paid_out()], refund_order(request="2"), "REFUND_IN_PART"),
        (
            [order_refund_due(cents=100_00), paid_out()],
            refund_order(250_01, payout="UAF0000008", request="2"),
            "REFUND_EXCEEDS_ORDER",
        ),
        (
            [order_refund_due(cents=100_00), paid_out()],
            refund_order(50_00, payout="UAF0000007", request="2"),
            "PAYOUT_KNOWN",
        ),
    ],
)
def test_never_more_goes_back_than_the_order_has(history: list[Spec], command: object, code: str) -> None:
    given(*ORDERED, *history).when(command).refused(code)  # type: ignore[arg-type]  # a Command


@pytest.mark.parametrize("history", [[created()], [created(), requested(), initiated(), paid()]])
def test_there_must_be_an_order(history: list[Spec]) -> None:
    given(*history).when(refund_order()).refused("ORDER_NOT_MADE")


def test_without_a_receipt_it_is_due_until_the_receipt_is_known() -> None:
    proved = paid(receipt=None, evidence=Evidence.QUERY)
    ordered = [created(), requested(), initiated(), proved, order_created()]
    scenario = given(*ordered).when(refund_order()).then(order_refund_due(receipt=None))
    assert scenario.session.refunds[1].state == RefundState.DUE
    scenario.when(approve_refund()).refused("REFUND_WITHOUT_RECEIPT")


def test_a_second_payment_is_no_money_of_the_order() -> None:
    twice = [*ORDERED, surplus(), refund_due(), refund_approved(), refunded()]
    scenario = given(*twice).when(refund_order())
    assert money_of_order(scenario.session) == MoneyBack(350_00, 350_00, 0)
    assert money_of(scenario.session) == MoneyBack(700_00, 350_00, 350_00)

"""Operators are told what to do next about every kind of case, status and refund."""

import pytest

from ledger.application import Ledger
from ledger.session.values import RefundState, Status
from payments.exceptions.next_steps import (
    KIND_NAMES,
    OF_REFUND,
    OF_STATUS,
    ORDER_REFUNDED,
    REFUND_IN_DOUBT,
    WHAT_CAN_BE_DONE,
    Kind,
    next_steps,
)
from tests.support.checkouts import Checkout


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (Status, OF_STATUS),
        (RefundState, OF_REFUND),
        (Kind, {kind: advice.description for kind, advice in WHAT_CAN_BE_DONE.items()}),
    ],
)
def test_every_state_has_a_next_step_of_its_own(states: type, words: dict[str, str]) -> None:
    assert set(words) == set(states)  # type: ignore[call-overload]  # an enumeration is iterable
    assert len(set(words.values())) == len(words)
    assert all(text.endswith(".") and text[0].isupper() for text in words.values())


def test_every_kind_of_case_has_a_name_for_people() -> None:
    assert set(KIND_NAMES) == set(Kind)
    assert len(set(KIND_NAMES.values())) == len(KIND_NAMES)


def test_a_payment_whose_money_goes_back_tells_of_the_refund_alone(ledger: Ledger) -> None:
    checkout = Checkout(ledger).prompt()
    session = checkout.session
    assert list(next_steps(session, session.status)) == [OF_STATUS[Status.PAYMENT_INITIATED]]
    session = checkout.pay().refuse_order().session
    assert list(next_steps(session, session.status)) == [f"Refund 1: {OF_REFUND[RefundState.DUE]}"]


def test_an_order_with_a_refund_tells_of_both(ledger: Ledger) -> None:
    session = Checkout(ledger).prompt().pay().order().pay("UKGSECOND1").session
    assert list(next_steps(session, session.status)) == [
        OF_STATUS[Status.ORDER_CREATED],
        f"Refund 1: {OF_REFUND[RefundState.DUE]}",
    ]


def test_an_order_whose_money_is_back_is_not_said_to_be_refunded_below(ledger: Ledger) -> None:
    session = Checkout(ledger).prompt().pay("UKGTAKEN01").order().take_back("UKGTAKEN01").session
    assert list(next_steps(session, session.status)) == [
        ORDER_REFUNDED,
        f"Refund 1: {OF_REFUND[RefundState.REFUNDED]}",
    ]


def test_a_refund_in_doubt_is_not_said_to_be_under_way(ledger: Ledger) -> None:
    checkout = Checkout(ledger).prompt().pay().refuse_order().request_refund()
    assert list(next_steps(checkout.session, Status.FAILED)) == [
        f"Refund 1: {OF_REFUND[RefundState.REQUESTED]}"
    ]
    session = checkout.doubt_refund().session
    assert list(next_steps(session, session.status)) == [f"Refund 1: {REFUND_IN_DOUBT}"]

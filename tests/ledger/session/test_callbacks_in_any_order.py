"""The sources of one attempt may speak in any order; the end is the same."""

from itertools import permutations

import pytest

from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Status
from tests.ledger.session.commands import (
    Command,
    prove_payment,
    record_attempt_failure,
    record_order,
    record_payment,
)
from tests.ledger.session.event_specs import SECOND_RECEIPT, TOTAL, created, initiated, requested
from tests.ledger.session.scenario import given

SUCCESS = record_payment()
SUCCESS_AGAIN = record_payment()
OTHER_SUCCESS = record_payment(receipt=SECOND_RECEIPT)
CANCELLED = record_attempt_failure(code="CANCELLED")
TIMED_OUT = record_attempt_failure(code="TIMED_OUT")
CALLBACKS = (SUCCESS, SUCCESS_AGAIN, CANCELLED, TIMED_OUT, OTHER_SUCCESS)

Ending = tuple[Status, int, frozenset[str], tuple[int, ...]]


def ending(order: tuple[Command, ...], *, with_shop: bool) -> Ending:
    """How a session ends that hears these, where the shop makes the order as soon as it is paid, or not."""
    session = given(created(), requested(), initiated()).session
    for command in order:
        command(session)
        if with_shop and session.status == Status.PAID:
            record_order()(session)
    return _ending(session)


def _ending(session: PaymentSession) -> Ending:
    owed = tuple(refund.amount_cents for refund in session.refunds.values())
    return session.status, session.received_cents, frozenset(session.receipts), owed


@pytest.mark.parametrize(("with_shop", "status"), [(False, Status.PAID), (True, Status.ORDER_CREATED)])
def test_five_callbacks_of_one_attempt_end_the_same_in_all_120_orders(
    *, with_shop: bool, status: Status
) -> None:
    endings = {ending(order, with_shop=with_shop) for order in permutations(CALLBACKS)}
    assert endings == {(status, 2 * TOTAL, frozenset({"UAF0000001", SECOND_RECEIPT}), (TOTAL,))}


def test_a_query_among_the_callbacks_changes_nothing_in_all_720_orders() -> None:
    endings = {ending(order, with_shop=True) for order in permutations((*CALLBACKS, prove_payment()))}
    assert endings == {(Status.ORDER_CREATED, 2 * TOTAL, frozenset({"UAF0000001", SECOND_RECEIPT}), (TOTAL,))}


def test_a_wrong_amount_among_the_callbacks_is_held_in_all_orders() -> None:
    wrong = record_payment(receipt="UAF0000003", cents=1_00)
    endings = {
        ending(order, with_shop=True) for order in permutations((SUCCESS, SUCCESS_AGAIN, CANCELLED, wrong))
    }
    assert endings == {(Status.ORDER_CREATED, TOTAL + 1_00, frozenset({"UAF0000001", "UAF0000003"}), (1_00,))}


def test_a_payment_typed_by_hand_never_passes_for_the_prompts_payment_in_any_order() -> None:
    by_hand = record_payment(receipt="UAF0000003", cents=1_00, evidence=Evidence.C2B)
    in_the_books = record_payment(evidence=Evidence.STATEMENT)
    sources = (SUCCESS, prove_payment(), by_hand, by_hand, in_the_books)
    endings = {ending(order, with_shop=True) for order in permutations(sources)}
    assert endings == {(Status.ORDER_CREATED, TOTAL + 1_00, frozenset({"UAF0000001", "UAF0000003"}), (1_00,))}


def test_another_sum_typed_by_hand_ends_no_prompt_in_any_order() -> None:
    by_hand = record_payment(receipt="UAF0000003", cents=1_00, evidence=Evidence.C2B)
    in_the_books = record_payment(receipt="UAF0000003", cents=1_00, evidence=Evidence.STATEMENT)
    endings = {ending(order, with_shop=True) for order in permutations((CANCELLED, by_hand, in_the_books))}
    assert endings == {(Status.FAILED, 1_00, frozenset({"UAF0000003"}), (1_00,))}
    session = given(created(), requested(), initiated()).when(by_hand).session
    assert (session.status, len(session.open_attempts)) == (Status.PAYMENT_INITIATED, 1)


def test_a_prompt_that_was_answered_with_another_sum_ends_the_same_in_all_orders() -> None:
    answered = record_payment(receipt="UAF0000003", cents=1_00)
    notice = record_payment(receipt="UAF0000003", cents=1_00, evidence=Evidence.C2B)
    in_the_books = record_payment(receipt="UAF0000003", cents=1_00, evidence=Evidence.STATEMENT)
    orders = permutations((answered, answered, notice, in_the_books))
    assert {ending(order, with_shop=True) for order in orders} == {
        (Status.FAILED, 1_00, frozenset({"UAF0000003"}), (1_00,))
    }


def test_without_a_success_the_session_fails_in_any_order() -> None:
    endings = {ending(order, with_shop=True) for order in permutations((CANCELLED, TIMED_OUT, CANCELLED))}
    assert endings == {(Status.FAILED, 0, frozenset(), ())}

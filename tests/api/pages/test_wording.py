"""How the pages say things."""

from api.pages import wording
from daraja import REVERSAL_FAILURES
from ledger.session.events import PUBLIC_NAMES
from ledger.session.values import Status
from payments.inbox.inbox import Channel
from shop.port import CART_ALREADY_BOUGHT, LISTING_WITHDRAWN, ORDER_NOT_MADE, OUT_OF_STOCK


def test_every_event_and_every_status_has_a_name_for_people() -> None:
    assert set(wording.EVENT_NAMES) == set(PUBLIC_NAMES.values())
    assert set(wording.STATUS_NAMES) == set(Status)


def test_amounts_and_quantities_read_as_people_write_them() -> None:
    assert wording.shillings(1_234_50) == "KES 1,234.50"
    assert wording.measure(2_500, "kg") == "2.5 kg"
    assert wording.measure(100_000, "piece") == "100 pieces"
    assert wording.measure(1_000, "bunch") == "1 bunch"
    assert wording.measure(3_000, "bunch") == "3 bunches"


def test_a_case_is_described_in_sentences() -> None:
    for code in (
        "second_payment",
        "wrong_amount",
        "amount_not_named",
        OUT_OF_STOCK,
        CART_ALREADY_BOUGHT,
        LISTING_WITHDRAWN,
        ORDER_NOT_MADE,
    ):
        assert wording.case_detail(code).endswith(".")
    assert wording.case_detail("paid without an order") == "Paid without an order"
    assert wording.case_detail("its account reference D446") == "Its account reference D446"


def test_a_message_that_nothing_came_of_is_named_in_words() -> None:
    assert wording.case_detail("stk: too_large") == "Result of a prompt: too large"
    assert set(wording.MESSAGE_NAMES) == set(Channel)


def test_why_a_refund_failed_or_is_in_doubt_is_a_sentence() -> None:
    reasons = [
        "DARAJA_ANSWER_LOST",
        "RESULT_LATE",
        "RESULT_UNCLEAR",
        "QUEUE_TIMEOUT",
        "SENDER_LOST",
        "DARAJA_UNCERTAIN",
    ]
    for detail in (*reasons, *(f"failed: {reason.upper()}" for reason in REVERSAL_FAILURES)):
        assert wording.case_detail(detail) != detail
        assert wording.case_detail(detail).endswith(".")
    assert "holds too little" in wording.case_detail("failed: INSUFFICIENT_FUNDS")

"""The audit finds planted violations: otherwise its silence would mean nothing."""

from typing import Any

import pytest

from tests.torture.acknowledgements import (
    Acknowledgement,
    Acknowledgements,
    Created,
    Extended,
    Ordered,
    Prompted,
)
from tests.torture.auditing import Books, broken_acknowledgements, payment_differences, reversal_differences
from tests.torture.simulator_control import Payment, Reversal

SESSION, OTHER = "5e5510a1-0000-4000-8000-000000000001", "5e5510a1-0000-4000-8000-000000000002"
CHECKOUT = "ws_CO_24112026113000000000000"
UNTIL = "2026-11-24T11:45:00"
RECEIPT = "UKO1AB2CD3"
TRUTH = [Payment(RECEIPT, 350_00, 9)]


def digest(checkout_request_id: str) -> str:
    return f"digest of {checkout_request_id}"


def ordered() -> dict[str, list[dict[str, Any]]]:
    """Return the events of a session that ended in its order, by kind."""
    return {
        "created": [{"user_id": 1, "totals": {"total_cents": 350_00}}],
        "extended": [{"expires_at": f"{UNTIL}.123456Z"}],
        "payment_requested": [{"attempt": 1, "transaction_id": 9}],
        "payment_initiated": [{"attempt": 1, "checkout_digest": digest(CHECKOUT)}],
        "paid": [{"attempt": 1, "receipt": RECEIPT, "amount_cents": 350_00}],
        "order_created": [{"order_id": 7, "order_number": "ORD-20261124-007"}],
    }


def books_of(events: dict[str, list[dict[str, Any]]], session_id: str = SESSION) -> Books:
    books = Books()
    for kind, stated in events.items():
        books.events[session_id][kind].extend(stated)
    if "order_created" in events:
        books.orders[session_id].append((7, "ORD-20261124-007"))
    return books


def acknowledgements(*made: Acknowledgement) -> Acknowledgements:
    acknowledged = Acknowledgements()
    acknowledged.use_key_for_session(1)
    acknowledged.use_key(SESSION, "initiate")
    acknowledged.use_key(SESSION, "extend")
    for acknowledgement in made:
        acknowledged.record(acknowledgement)
    return acknowledged


ALL_ACKNOWLEDGED: tuple[Acknowledgement, ...] = (
    Created(SESSION, 1, 350_00),
    Extended(SESSION, f"{UNTIL}Z"),
    Prompted(SESSION, 9, CHECKOUT),
    Prompted(SESSION, 9, None),
    Ordered(SESSION, 7, "ORD-20261124-007"),
)


def test_acknowledgements_that_hold_are_no_violation() -> None:
    assert (
        list(broken_acknowledgements(books_of(ordered()), acknowledgements(*ALL_ACKNOWLEDGED), digest)) == []
    )


@pytest.mark.parametrize(
    "acknowledgement", ALL_ACKNOWLEDGED, ids=lambda acknowledgement: type(acknowledgement).__name__
)
def test_an_acknowledgement_of_a_missing_session_is_a_violation(acknowledgement: Acknowledgement) -> None:
    assert len(list(broken_acknowledgements(Books(), acknowledgements(acknowledgement), digest))) == 1


@pytest.mark.parametrize(
    "acknowledgement",
    [
        Created(SESSION, 2, 350_00),
        Created(SESSION, 1, 349_00),
        Extended(SESSION, "2026-11-24T12:00:00Z"),
        Prompted(SESSION, 10, CHECKOUT),
        Prompted(SESSION, 9, "ws_CO_another"),
        Ordered(SESSION, 8, "ORD-20261124-008"),
    ],
)
def test_an_acknowledgement_that_differs_from_the_log_is_a_violation(
    acknowledgement: Acknowledgement,
) -> None:
    assert (
        len(list(broken_acknowledgements(books_of(ordered()), acknowledgements(acknowledgement), digest)))
        == 1
    )


def test_an_attempt_that_was_paid_before_m_pesa_answered_needs_no_checkout_id() -> None:
    events = ordered() | {"payment_initiated": []}
    prompted = Prompted(SESSION, 9, CHECKOUT)
    assert list(broken_acknowledgements(books_of(events), acknowledgements(prompted), digest)) == []
    assert (
        len(
            list(broken_acknowledgements(books_of(events | {"paid": []}), acknowledgements(prompted), digest))
        )
        == 1
    )


def test_a_second_order_of_a_session_is_a_violation() -> None:
    books = books_of(ordered())
    books.orders[SESSION].append((8, "ORD-20261124-008"))
    assert len(list(broken_acknowledgements(books, acknowledgements(ALL_ACKNOWLEDGED[-1]), digest))) == 1


@pytest.mark.parametrize(("command", "kind"), [("initiate", "payment_requested"), ("extend", "extended")])
def test_a_key_that_took_effect_twice_is_a_violation(command: str, kind: str) -> None:
    events = ordered()
    events[kind] *= 2
    [violation] = broken_acknowledgements(books_of(events), acknowledgements(), digest)
    assert f"{command} took effect 2 times under 1 keys" in violation


def test_a_refused_prompt_does_not_use_up_its_key() -> None:
    events = ordered()
    events["payment_requested"] *= 2
    events["payment_refused"] = [{"attempt": 1}]
    assert list(broken_acknowledgements(books_of(events), acknowledgements(), digest)) == []


def test_two_sessions_under_one_key_are_a_violation() -> None:
    books = books_of(ordered())
    books.events[OTHER]["created"].append({"user_id": 1, "totals": {"total_cents": 350_00}})
    [violation] = broken_acknowledgements(books, acknowledgements(), digest)
    assert violation == "user 1 has 2 sessions under 1 keys"


def test_books_that_agree_with_m_pesa_are_no_violation() -> None:
    assert list(payment_differences(books_of(ordered()), TRUTH)) == []


def test_a_payment_that_is_not_credited_is_a_violation() -> None:
    events = ordered() | {"paid": []}
    assert any(RECEIPT in violation for violation in payment_differences(books_of(events), TRUTH))


def test_a_credit_that_m_pesa_does_not_know_is_a_violation() -> None:
    assert any(RECEIPT in violation for violation in payment_differences(books_of(ordered()), []))


def test_a_credit_of_another_amount_is_a_violation() -> None:
    [violation] = payment_differences(books_of(ordered()), [Payment(RECEIPT, 351_00, 9)])
    assert "another amount" in violation


def test_a_receipt_credited_to_two_sessions_is_a_violation() -> None:
    books = books_of(ordered())
    books.events[OTHER]["surplus_received"].append({"attempt": 1, "receipt": RECEIPT, "amount_cents": 350_00})
    assert any("2 sessions" in violation for violation in payment_differences(books, TRUTH))


def test_a_receipt_credited_to_the_wrong_session_is_a_violation() -> None:
    events = ordered()
    books = books_of(events | {"paid": []})
    books.events[OTHER]["paid"].extend(events["paid"])
    assert any(RECEIPT in violation for violation in payment_differences(books, TRUTH))


def test_a_payment_without_receipt_is_credited_once_the_receipt_is_recorded() -> None:
    events = ordered()
    events["paid"][0]["receipt"] = None
    assert any(RECEIPT in violation for violation in payment_differences(books_of(events), TRUTH))
    events["receipt_recorded"] = [{"attempt": 1, "receipt": RECEIPT}]
    assert list(payment_differences(books_of(events), TRUTH)) == []


def refunded(*, times: int = 1, receipt: str | None = RECEIPT) -> Books:
    events = ordered()
    events["receipt_recorded"] = [{"attempt": 1, "receipt": RECEIPT}]
    events["refund_due"] = [{"refund": 1, "attempt": 1, "receipt": receipt}]
    events["refunded"] = [{"refund": 1}] * times
    return books_of(events)


@pytest.mark.parametrize("receipt", [RECEIPT, None])
def test_a_refund_with_one_reversal_is_no_violation(receipt: str | None) -> None:
    books = refunded(receipt=receipt)
    assert list(reversal_differences(books, [Reversal(RECEIPT, 350_00)])) == []


@pytest.mark.parametrize(("here", "there"), [(1, 0), (0, 1), (1, 2), (2, 2)])
def test_a_refund_without_exactly_one_reversal_is_a_violation(here: int, there: int) -> None:
    books = refunded(times=here)
    assert list(reversal_differences(books, [Reversal(RECEIPT, 350_00)] * there))

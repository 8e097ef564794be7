"""The audit finds planted violations: otherwise its silence would mean nothing."""

from typing import Any

import pytest

from tests.torture.acknowledgements import Created, Extended, Ordered, Promise, Promises, Prompted
from tests.torture.auditing import Books, broken_promises, money_that_differs, reversals_that_differ
from tests.torture.mpesa import Payment, Reversal

SESSION, OTHER = "5e5510a1-0000-4000-8000-000000000001", "5e5510a1-0000-4000-8000-000000000002"
CHECKOUT = "ws_CO_24112026113000000000000"
UNTIL = "2026-11-24T11:45:00"
RECEIPT = "UKO1AB2CD3"
TRUTH = [Payment(RECEIPT, 350_00, 9)]


def digest(checkout_request_id: str) -> str:
    return f"digest of {checkout_request_id}"


def whole() -> dict[str, list[dict[str, Any]]]:
    """Return the facts of a session that went all the way, by kind."""
    return {
        "created": [{"user_id": 1, "totals": {"total_cents": 350_00}}],
        "extended": [{"expires_at": f"{UNTIL}.123456Z"}],
        "payment_requested": [{"attempt": 1, "transaction_id": 9}],
        "payment_initiated": [{"attempt": 1, "checkout_digest": digest(CHECKOUT)}],
        "paid": [{"attempt": 1, "receipt": RECEIPT, "amount_cents": 350_00}],
        "order_created": [{"order_id": 7, "order_number": "ORD-20261124-007"}],
    }


def books_of(facts: dict[str, list[dict[str, Any]]], session_id: str = SESSION) -> Books:
    books = Books()
    for kind, stated in facts.items():
        books.facts[session_id][kind].extend(stated)
    if "order_created" in facts:
        books.orders[session_id].append((7, "ORD-20261124-007"))
    return books


def promised(*made: Promise) -> Promises:
    promises = Promises()
    promises.use_key_for_session(1)
    promises.use_key(SESSION, "initiate")
    promises.use_key(SESSION, "extend")
    for promise in made:
        promises.keep(promise)
    return promises


ALL_PROMISES: tuple[Promise, ...] = (
    Created(SESSION, 1, 350_00),
    Extended(SESSION, f"{UNTIL}Z"),
    Prompted(SESSION, 9, CHECKOUT),
    Prompted(SESSION, 9, None),
    Ordered(SESSION, 7, "ORD-20261124-007"),
)


def test_promises_that_were_kept_are_no_complaint() -> None:
    assert list(broken_promises(books_of(whole()), promised(*ALL_PROMISES), digest)) == []


@pytest.mark.parametrize("promise", ALL_PROMISES, ids=lambda promise: type(promise).__name__)
def test_a_promise_about_a_session_that_is_gone_is_broken(promise: Promise) -> None:
    assert len(list(broken_promises(Books(), promised(promise), digest))) == 1


@pytest.mark.parametrize(
    "promise",
    [
        Created(SESSION, 2, 350_00),
        Created(SESSION, 1, 349_00),
        Extended(SESSION, "2026-11-24T12:00:00Z"),
        Prompted(SESSION, 10, CHECKOUT),
        Prompted(SESSION, 9, "ws_CO_another"),
        Ordered(SESSION, 8, "ORD-20261124-008"),
    ],
)
def test_a_promise_that_says_something_else_is_broken(promise: Promise) -> None:
    assert len(list(broken_promises(books_of(whole()), promised(promise), digest))) == 1


def test_an_attempt_whose_money_was_known_before_m_pesa_answered_has_no_id_to_look_for() -> None:
    facts = whole() | {"payment_initiated": []}
    prompted = Prompted(SESSION, 9, CHECKOUT)
    assert list(broken_promises(books_of(facts), promised(prompted), digest)) == []
    assert len(list(broken_promises(books_of(facts | {"paid": []}), promised(prompted), digest))) == 1


def test_an_order_that_the_shop_has_twice_is_a_broken_promise() -> None:
    books = books_of(whole())
    books.orders[SESSION].append((8, "ORD-20261124-008"))
    assert len(list(broken_promises(books, promised(ALL_PROMISES[-1]), digest))) == 1


@pytest.mark.parametrize(("command", "kind"), [("initiate", "payment_requested"), ("extend", "extended")])
def test_what_one_key_did_twice_is_told(command: str, kind: str) -> None:
    facts = whole()
    facts[kind] *= 2
    [told] = broken_promises(books_of(facts), promised(), digest)
    assert f"{command} took effect 2 times under 1 keys" in told


def test_a_prompt_that_was_refused_leaves_its_key_good_for_another() -> None:
    facts = whole()
    facts["payment_requested"] *= 2
    facts["payment_refused"] = [{"attempt": 1}]
    assert list(broken_promises(books_of(facts), promised(), digest)) == []


def test_two_sessions_under_one_key_are_told() -> None:
    books = books_of(whole())
    books.facts[OTHER]["created"].append({"user_id": 1, "totals": {"total_cents": 350_00}})
    [told] = broken_promises(books, promised(), digest)
    assert told == "user 1 has 2 sessions under 1 keys"


def test_books_that_agree_with_m_pesa_are_no_complaint() -> None:
    assert list(money_that_differs(books_of(whole()), TRUTH)) == []


def test_a_payment_that_is_not_here_is_told() -> None:
    facts = whole() | {"paid": []}
    assert any(RECEIPT in told for told in money_that_differs(books_of(facts), TRUTH))


def test_a_payment_that_m_pesa_does_not_know_is_told() -> None:
    assert any(RECEIPT in told for told in money_that_differs(books_of(whole()), []))


def test_a_payment_of_another_amount_is_told() -> None:
    [told] = money_that_differs(books_of(whole()), [Payment(RECEIPT, 351_00, 9)])
    assert "another amount" in told


def test_a_receipt_on_two_sessions_is_told() -> None:
    books = books_of(whole())
    books.facts[OTHER]["surplus_received"].append({"attempt": 1, "receipt": RECEIPT, "amount_cents": 350_00})
    assert any("2 sessions" in told for told in money_that_differs(books, TRUTH))


def test_a_receipt_on_another_session_than_its_own_is_told() -> None:
    facts = whole()
    books = books_of(facts | {"paid": []})
    books.facts[OTHER]["paid"].extend(facts["paid"])
    assert any(RECEIPT in told for told in money_that_differs(books, TRUTH))


def test_money_that_is_known_without_its_receipt_counts_once_the_receipt_is_found() -> None:
    facts = whole()
    facts["paid"][0]["receipt"] = None
    assert any(RECEIPT in told for told in money_that_differs(books_of(facts), TRUTH))
    facts["receipt_recorded"] = [{"attempt": 1, "receipt": RECEIPT}]
    assert list(money_that_differs(books_of(facts), TRUTH)) == []


def given_back(*, times: int = 1, receipt: str | None = RECEIPT) -> Books:
    facts = whole()
    facts["receipt_recorded"] = [{"attempt": 1, "receipt": RECEIPT}]
    facts["refund_due"] = [{"refund": 1, "attempt": 1, "receipt": receipt}]
    facts["refunded"] = [{"refund": 1}] * times
    return books_of(facts)


@pytest.mark.parametrize("receipt", [RECEIPT, None])
def test_money_that_went_back_once_is_no_complaint(receipt: str | None) -> None:
    books = given_back(receipt=receipt)
    assert list(reversals_that_differ(books, [Reversal(RECEIPT, 350_00)])) == []


@pytest.mark.parametrize(("here", "there"), [(1, 0), (0, 1), (1, 2), (2, 2)])
def test_money_that_went_back_more_or_less_often_is_told(here: int, there: int) -> None:
    books = given_back(times=here)
    assert list(reversals_that_differ(books, [Reversal(RECEIPT, 350_00)] * there))

"""Every event and movement of money posts what docs/books.md says, once, in any order."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.database import Database
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movement_log import post_movements
from payments.reconciliation.movements import Movement, MovementCategory, MovementKind
from projections import journal
from projections.books import period, trial_balance
from projections.follower import Follower
from projections.integrity.invariants import check
from projections.journal import Journal
from projections.rebuilds import rebuild
from tests.projections.integrity.test_invariants import tamper
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

RECEIPT = "OAF7Q2X9LM"
REVERSAL = "OAF7Q2X9RV"
LATER = HALF_PAST_TEN + timedelta(minutes=2)


def movement(kind: str, receipt: str = RECEIPT, cents: int = TOTAL_CENTS, **changed: Any) -> Movement:
    values: dict[str, Any] = {"happened_at": LATER, "evidence": Evidence.STATEMENT} | changed
    money_in = values.pop("money_in", kind == "payment")
    return Movement(kind=MovementKind(kind), receipt=receipt, amount_cents=cents, money_in=money_in, **values)


def follow(database: Database) -> None:
    until_readable(database)
    Follower(database, event_macs(database), Journal(key_ring(database)), batch_size=7).catch_up()


def balances(database: Database) -> dict[str, int]:
    """Return the balances that are not zero, debits less credits, in cents."""
    everything = trial_balance(database, period(None, None, clock.now() + timedelta(days=1)))
    assert everything.debit_cents == everything.credit_cents
    return {str(each.account): each.closing_cents for each in everything.accounts if each.closing_cents}


def posted(database: Database) -> dict[str, int]:
    follow(database)
    post_movements(database, key_ring(database))
    return balances(database)


def rows(database: Database) -> list[tuple[str, str, str, int, str | None]]:
    with database.connection() as connection:
        found = connection.execute("SELECT * FROM journal_entries ORDER BY entry_id").fetchall()
    return [
        (row["what"], row["debit_account"], row["credit_account"], row["amount_cents"], row["receipt"])
        for row in found
    ]


def paid(ledger: Ledger, receipt: str | None = RECEIPT) -> Checkout:
    return Checkout(ledger).prompt().pay(receipt)


def test_a_payment_is_held_until_its_order_earns_it(ledger: Ledger, database: Database) -> None:
    checkout = paid(ledger)
    follow(database)
    assert rows(database) == [("Paid", "mpesa_clearing", "customer_funds", TOTAL_CENTS, RECEIPT)]
    checkout.order()
    follow(database)
    assert rows(database)[1:] == [
        ("OrderCreated", "customer_funds", "sales", 300_00, None),
        ("OrderCreated", "customer_funds", "delivery", 50_00, None),
    ]
    assert balances(database) == {"mpesa_clearing": 350_00, "sales": -300_00, "delivery": -50_00}


HELD = {"mpesa_clearing": TOTAL_CENTS}
NOTHING: dict[str, int] = {}


def by_hand(checkout: Checkout) -> Checkout:
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.record_refund_by_hand(
            1, recorded_by="operator 9", note="Paid in cash.", at=checkout.at
        ),
    )
    return checkout


def refund_order(checkout: Checkout, **wanted: Any) -> Checkout:
    values = {"amount_cents": None, "payout_receipt": None, "request": "r", "restock": False} | wanted
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.refund_order(
            decided_by="operator 9", reason="Broken.", at=checkout.at, **values
        ),
    )
    return checkout


SALE = {"mpesa_clearing": TOTAL_CENTS, "sales": -300_00, "delivery": -50_00}


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (lambda c: c.prompt().pay(None), {"receipts_awaited": TOTAL_CENTS, "customer_funds": -TOTAL_CENTS}),
        (lambda c: c.prompt().pay(None).pay(RECEIPT), HELD | {"customer_funds": -TOTAL_CENTS}),
        (lambda c: c.expire(), NOTHING),
        (lambda c: c.prompt().cancel().pay(RECEIPT).order(), SALE),
        (lambda c: c.prompt().pay(RECEIPT).refuse_order(), HELD | {"refunds_due": -TOTAL_CENTS}),
        (
            lambda c: c.prompt().pay(RECEIPT).refuse_order().refuse_refund(),
            HELD | {"refunds_due": -TOTAL_CENTS},
        ),
        (
            lambda c: c.prompt().pay(RECEIPT).refuse_order().request_refund().accept_refund().doubt_refund(),
            HELD | {"reversal_clearing": -TOTAL_CENTS},
        ),
        (
            lambda c: c.prompt().pay(RECEIPT).refuse_order().request_refund().fail_refund(),
            HELD | {"refunds_due": -TOTAL_CENTS},
        ),
        (lambda c: c.prompt().pay(RECEIPT).refuse_order().request_refund().refund(), NOTHING),
        (lambda c: c.prompt().pay(RECEIPT).refuse_order().refund(), NOTHING),
        (
            lambda c: by_hand(c.prompt().pay(RECEIPT).refuse_order()),
            HELD | {"refunded_otherwise": -TOTAL_CENTS},
        ),
        (
            lambda c: c.prompt().pay(RECEIPT, amount_cents=1_00),
            {"mpesa_clearing": 1_00, "refunds_due": -1_00},
        ),
        (
            lambda c: c.prompt().pay(RECEIPT).order().wait(seconds=90).pay(REVERSAL),
            SALE | {"mpesa_clearing": 2 * TOTAL_CENTS, "refunds_due": -TOTAL_CENTS},
        ),
        (
            lambda c: c.prompt().pay(RECEIPT).order().take_back(RECEIPT),
            {"sales": -300_00, "delivery": -50_00, "sales_returns": TOTAL_CENTS},
        ),
        (lambda c: c.prompt().pay(RECEIPT).take_back(RECEIPT), NOTHING),
        (lambda c: c.prompt().pay(RECEIPT).take_back(RECEIPT).refuse_order(), NOTHING),
        (
            lambda c: refund_order(c.prompt().pay(RECEIPT).order()),
            SALE | {"sales_returns": TOTAL_CENTS, "refunds_due": -TOTAL_CENTS},
        ),
        (
            lambda c: refund_order(
                c.prompt().pay(RECEIPT).order(), amount_cents=5_00, payout_receipt=REVERSAL
            ),
            SALE | {"sales_returns": 5_00, "refunded_otherwise": -5_00},
        ),
        (
            lambda c: refund_order(c.prompt().pay(RECEIPT).order(), payout_receipt=REVERSAL).take_back(
                RECEIPT
            ),
            {
                "sales": -300_00,
                "delivery": -50_00,
                "sales_returns": TOTAL_CENTS,
                "other_movements": TOTAL_CENTS,
                "refunded_otherwise": -TOTAL_CENTS,
            },
        ),
    ],
)
def test_what_happens_to_a_session_is_posted(
    ledger: Ledger, database: Database, happens: Callable[[Checkout], Checkout], expected: dict[str, int]
) -> None:
    happens(Checkout(ledger))
    assert posted(database) == expected


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (movement("payment"), {"mpesa_clearing": TOTAL_CENTS, "unmatched_receipts": -TOTAL_CENTS}),
        (
            movement("other", cents=22_00, category=MovementCategory.CHARGE),
            {"charges": 22_00, "mpesa_clearing": -22_00},
        ),
        (
            movement("other", category=MovementCategory.SETTLEMENT),
            {"bank_settlement": TOTAL_CENTS, "mpesa_clearing": -TOTAL_CENTS},
        ),
        (
            movement("other", money_in=True),
            {"mpesa_clearing": TOTAL_CENTS, "other_movements": -TOTAL_CENTS},
        ),
        (
            movement("reversal", linked_receipt="OAF7NOBODY"),
            {"reversal_clearing": TOTAL_CENTS, "mpesa_clearing": -TOTAL_CENTS},
        ),
        (movement("other", cents=0), {}),
    ],
)
def test_what_no_event_accounts_for_is_posted_from_the_movements(
    matcher: Matcher, database: Database, what: Movement, expected: dict[str, int]
) -> None:
    matcher.ingest([what])
    assert posted(database) == expected
    matcher.ingest([what])
    assert posted(database) == expected


def test_a_movement_that_a_session_was_credited_with_posts_nothing(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    paid(ledger)
    matcher.ingest([movement("payment")])
    assert posted(database) == HELD | {"customer_funds": -TOTAL_CENTS}


def test_an_unmatched_receipt_is_allocated_when_its_session_is_known(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    matcher.ingest([movement("payment")])
    assert posted(database)["unmatched_receipts"] == -TOTAL_CENTS
    paid(ledger)
    assert posted(database) == HELD | {"customer_funds": -TOTAL_CENTS}
    assert rows(database)[-1] == ("Paid", "unmatched_receipts", "customer_funds", TOTAL_CENTS, RECEIPT)


@pytest.mark.parametrize("account", ["customer_funds", "surplus", "charges", "nonsense"])
def test_a_forged_entry_of_a_receipt_does_not_stop_the_books(
    ledger: Ledger, matcher: Matcher, database: Database, account: str
) -> None:
    matcher.ingest([movement("payment")])
    assert posted(database)
    tamper(database, f"UPDATE journal_entries SET credit_account = '{account}'")
    paid(ledger)
    follow(database)
    assert len(rows(database)) == 2


def test_an_event_that_is_posted_before_its_movement_leaves_nothing_to_it(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    matcher.ingest([movement("payment")])
    paid(ledger)
    assert posted(database) == HELD | {"customer_funds": -TOTAL_CENTS}
    assert len(rows(database)) == 1


def test_an_unmatched_receipt_that_went_back_is_owed_no_more(matcher: Matcher, database: Database) -> None:
    matcher.ingest([movement("payment")])
    assert posted(database)
    matcher.ingest([movement("reversal", REVERSAL, linked_receipt=RECEIPT)])
    assert posted(database) == NOTHING


def test_a_receipt_that_a_query_had_proved_is_found_among_the_unmatched(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    checkout = paid(ledger, None)
    matcher.ingest([movement("payment")])
    assert posted(database) == {
        "receipts_awaited": TOTAL_CENTS, "customer_funds": -TOTAL_CENTS,
        "mpesa_clearing": TOTAL_CENTS, "unmatched_receipts": -TOTAL_CENTS,
    }  # fmt: skip
    checkout.pay(RECEIPT)
    assert posted(database) == HELD | {"customer_funds": -TOTAL_CENTS}


def test_a_reversal_of_ours_is_posted_once_by_its_event(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    paid(ledger).refuse_order().request_refund().refund()
    matcher.ingest([movement("reversal", "NLJ0REVERSE", linked_receipt=RECEIPT)])
    assert posted(database) == NOTHING


def test_a_payment_that_was_taken_back_is_posted_once(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    paid(ledger).order()
    matcher.ingest([movement("reversal", REVERSAL, linked_receipt=RECEIPT)])
    assert post_movements(database, key_ring(database)) == 1
    assert posted(database)["sales_returns"] == TOTAL_CENTS
    assert "mpesa_clearing" not in balances(database)


def test_the_lock_of_the_journal_is_left_alone_while_no_movement_waits(
    matcher: Matcher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[str] = []
    matcher.ingest([movement("reversal", REVERSAL)])
    assert post_movements(database, key_ring(database)) == 1
    monkeypatch.setattr(database, "transaction", lambda: locked.append("journal"))
    assert post_movements(database, key_ring(database)) == 0
    assert not locked


def test_a_reversal_that_a_person_made_clears_the_refund_that_was_recorded_by_hand(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    by_hand(paid(ledger).refuse_order())
    matcher.ingest([movement("reversal", REVERSAL, linked_receipt=RECEIPT)])
    assert posted(database) == NOTHING
    assert [violation for violation in check(database) if violation.rule == "books"] == []


@pytest.mark.parametrize("statement_first", [True, False])
def test_a_payout_of_an_order_and_its_row_of_the_statement_settle(
    ledger: Ledger, matcher: Matcher, database: Database, *, statement_first: bool
) -> None:
    checkout = paid(ledger).order()
    steps: list[Callable[[], object]] = [
        lambda: matcher.ingest([movement("other", REVERSAL, 5_00)]),
        lambda: refund_order(checkout, amount_cents=5_00, payout_receipt=REVERSAL),
    ]
    for step in steps if statement_first else reversed(steps):
        step()
        posted(database)
    assert balances(database) == SALE | {"mpesa_clearing": 345_00, "sales_returns": 5_00}


def test_a_rebuild_comes_to_the_same_entries_in_the_same_order(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    matcher.ingest([movement("payment"), movement("payment", "OAF7UNMATCH")])
    one_of_every_kind(ledger)
    posted(database)
    paid(ledger)
    matcher.ingest([movement("other", "OAF7CHARGE1", 22_00, category=MovementCategory.CHARGE)])
    posted(database)
    before = rows(database)
    assert [violation for violation in check(database) if violation.rule == "books"] == []
    macs = event_macs(database)
    rebuilt = rebuild(database, macs, journal.TABLE, at_once=5)
    assert (rebuilt.wrong_rows, rows(database)) == (0, before)
    with database.connection() as connection:
        connection.execute("DELETE FROM journal_entries WHERE entry_id % 3 = 0")
    assert rebuild(database, macs, journal.TABLE).wrong_rows > 0
    assert rows(database) == before


@pytest.mark.usefixtures("ledger")
def test_one_receipt_is_in_the_books_once(matcher: Matcher, database: Database) -> None:
    matcher.ingest([movement("payment")])
    posted(database)
    again = """
    INSERT INTO journal_entries SELECT 9, what, debit_account, credit_account, amount_cents, occurred_at, recorded_at,
        NULL, 9, receipt, session_id FROM journal_entries
    """
    with psycopg.connect(database.url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(again)

from datetime import timedelta

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from projections.work_list import Case, Kind, open_cases, tally
from tests.support.checkouts import HALF_PAST_TEN, Checkout

ASIDE = """
INSERT INTO daraja_inbox (inbox_id, received_at, session_id, key_owner, sealed_body, body_bytes, body_sha256, state,
                          reason, tries)
VALUES (gen_random_uuid(), %s, NULL, 0, 'v1.x', 2, 'x', 'set_aside', 'not_json', 1)
"""
GIVEN_UP = """
INSERT INTO follower_failures (name, session_id, version, topic, error, tries, next_try_at, first_failed_at, state)
VALUES ('orders', %s, 4, 'payment_session.paid.v1', 'KeyError', 12, NULL, %s, 'set_aside')
"""


def cases(database: Database, checkout: Checkout, **later: int) -> list[Case]:
    return open_cases(database, checkout.at + timedelta(**later))


def test_an_order_in_good_time_leaves_nothing_to_do(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay().order()
    assert cases(database, checkout, days=1) == []


def test_money_that_is_due_back_is_a_case_until_it_has_gone_back(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay().refuse_order()
    (case,) = cases(database, checkout, seconds=30)
    assert (case.kind, case.money_cents, case.session_id) == (Kind.REFUND_DUE, 350_00, checkout.session_id)
    assert (case.age, case.detail) == (timedelta(seconds=30), "OUT_OF_STOCK")
    assert case.what_can_be_done.startswith("Send the money back")
    checkout.request_refund()
    assert len(cases(database, checkout)) == 1
    checkout.refund()
    assert cases(database, checkout) == []


def test_a_second_payment_is_due_back_while_the_order_stands(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().wait(seconds=100).prompt().pay("RCPT000001").order()
    checkout.pay("RCPT000002", attempt=2)
    (case,) = cases(database, checkout)
    assert (case.kind, case.money_cents, case.detail) == (Kind.REFUND_DUE, 350_00, "surplus")


def test_an_attempt_open_for_too_long_is_in_doubt(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).request()
    assert cases(database, checkout, minutes=9) == []
    (case,) = cases(database, checkout, minutes=10)
    assert (case.kind, case.money_cents) == (Kind.ATTEMPT_IN_DOUBT, 350_00)


def test_a_payment_without_a_receipt_is_a_case_after_a_while(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay(None).order()
    assert cases(database, checkout, minutes=29) == []
    (case,) = cases(database, checkout, minutes=30)
    assert (case.kind, case.detail) == (Kind.RECEIPT_MISSING, "known by query")
    checkout.pay("NLJ7RT61SV")
    assert cases(database, checkout, minutes=30) == []


def test_a_paid_session_whose_order_does_not_come_is_a_case(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay()
    assert cases(database, checkout, seconds=119) == []
    (case,) = cases(database, checkout, seconds=120)
    assert (case.kind, case.money_cents) == (Kind.ORDER_MISSING, 350_00)


@pytest.fixture
def busy(ledger: Ledger, database: Database) -> Checkout:
    """One case of each of four kinds, an hour apart."""
    checkout = Checkout(ledger).prompt().pay()
    with database.connection() as connection:
        connection.execute(ASIDE, (HALF_PAST_TEN - timedelta(hours=1),))
        connection.execute(GIVEN_UP, (checkout.session_id, checkout.at + timedelta(hours=1)))
    Checkout(ledger, at=HALF_PAST_TEN + timedelta(hours=2)).prompt().pay("RCPT000002").refuse_order()
    return checkout


def test_cases_of_all_kinds_come_oldest_first(database: Database, busy: Checkout) -> None:
    found = cases(database, busy, days=1)
    kinds = [Kind.LETTER_SET_ASIDE, Kind.ORDER_MISSING, Kind.REACTION_SET_ASIDE, Kind.REFUND_DUE]
    assert [case.kind for case in found] == kinds
    assert [case.money_cents for case in found] == [None, 350_00, 350_00, 350_00]
    assert all(case.what_can_be_done for case in found)


def test_the_list_comes_by_pages_and_by_kind(database: Database, busy: Checkout) -> None:
    now = busy.at + timedelta(days=1)
    whole = open_cases(database, now)
    assert open_cases(database, now, page_size=3) + open_cases(database, now, page=2, page_size=3) == whole
    assert [case.kind for case in open_cases(database, now, kind=Kind.REFUND_DUE)] == [Kind.REFUND_DUE]


def test_a_tally_counts_every_kind(database: Database, busy: Checkout) -> None:
    counted = {
        kind: (t.cases, t.money_cents) for kind, t in tally(database, busy.at + timedelta(days=1)).items()
    }
    assert counted == {
        Kind.LETTER_SET_ASIDE: (1, 0),
        Kind.REACTION_SET_ASIDE: (1, 350_00),
        Kind.REFUND_DUE: (1, 350_00),
        Kind.ATTEMPT_IN_DOUBT: (0, 0),
        Kind.RECEIPT_MISSING: (0, 0),
        Kind.ORDER_MISSING: (1, 350_00),
    }

"""Invariants of money and of its sources notice what somebody breaks by hand."""

from ledger.store.database import Database
from projections.follower import Follower
from projections.integrity.invariants import check
from projections.refunds import PaymentRefunds
from tests.projections.integrity.test_invariants import tamper
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

REVERSAL = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, linked_receipt,
                             verdict, session_id, first_seen_at, settled_at)
VALUES ('row 1', 'reversal', 'NLJ0TAKENB', false, 35000, now(), 'statement', 'NLJ7RT61SV', %s, %s, now(), now())
"""


def test_a_reversal_in_the_books_that_no_event_tells_of_is_reported(
    checkout: Checkout, database: Database
) -> None:
    for verdict in ("not_ours", "reversal_unexpected"):
        tamper(database, REVERSAL, verdict, checkout.session_id)
        [violation] = check(database)
        assert (violation.rule, violation.session_id) == ("money", checkout.session_id)
        assert "reversed receipt NLJ7RT61SV" in violation.detail
        tamper(database, "DELETE FROM mpesa_movements")
    checkout.take_back("NLJ7RT61SV")
    tamper(database, REVERSAL, "reversal_unexpected", checkout.session_id)
    until_readable(database)
    Follower(database, event_macs(database), PaymentRefunds()).catch_up()
    assert check(database) == []


def test_a_payment_taken_back_that_the_books_lack_is_reported(checkout: Checkout, database: Database) -> None:
    checkout.take_back("NLJ7RT61SV")
    told = [
        violation.detail for violation in check(database, with_messages=True) if violation.rule == "sources"
    ]
    assert "version 6 is known by a statement, and what proves it is not stored" in told


def refund_of_order(checkout: Checkout) -> None:
    """Refund a part of the order, which was sent outside."""
    checkout.ledger.decide(
        checkout.session_id,
        lambda session: session.refund_order(
            amount_cents=100_00,
            payout_receipt="NLJ0PAYOUT",
            decided_by="operator 9",
            reason="Two were bad.",
            restock=False,
            request="1",
            at=checkout.at,
        ),
    )


def test_more_of_an_order_going_back_than_it_has_is_reported(checkout: Checkout, database: Database) -> None:
    refund_of_order(checkout)
    assert "money" not in {violation.rule for violation in check(database)}
    tamper(
        database,
        "UPDATE payment_events SET state = jsonb_set(state, '{amount_cents}', '35001')"
        " WHERE topic = 'payment_session.refund_due.v1'",
    )
    told = [violation.detail for violation in check(database) if violation.rule == "money"]
    assert told == ["35001 cents of its order go back, of 35000 that it has"]


def test_a_refund_of_an_order_that_the_rows_do_not_count_is_reported(
    checkout: Checkout, database: Database
) -> None:
    refund_of_order(checkout)
    assert "sums" not in {violation.rule for violation in check(database)}
    tamper(database, "UPDATE payment_sessions SET refunded_cents = 0")
    assert "sums" in {violation.rule for violation in check(database)}

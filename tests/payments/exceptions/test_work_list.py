from collections.abc import Callable
from datetime import timedelta

import pytest

from daraja import RESULT_MEANINGS
from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.database import Database
from payments.exceptions.next_steps import WHAT_CAN_BE_DONE, Kind
from payments.exceptions.work_list import SET_UP_REASONS, Case, open_cases, tally
from payments.reconciliation.pull_progress import PullProgressStore
from projections.cases import CaseKind, PaymentCases
from projections.follower import Follower
from projections.integrity import invariants
from projections.rebuilds import rebuild
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

ASIDE = """
INSERT INTO daraja_inbox (inbox_id, received_at, session_id, key_owner, sealed_body, body_bytes, body_sha256, state,
                          reason, tries)
VALUES (gen_random_uuid(), %s, NULL, 0, 'v1.x', 2, 'x', 'set_aside', 'not_json', 1)
"""
MOVED = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at)
VALUES ('payment OAF7Q2X9LM', 'payment', 'OAF7Q2X9LM', true, 5000, now(), 'c2b', %s, %s)
"""
GIVEN_UP = """
INSERT INTO follower_failures (name, session_id, version, topic, error, tries, next_try_at, first_failed_at, state)
VALUES ('orders', %s, 4, 'payment_session.paid.v1', 'KeyError', 12, NULL, %s, 'set_aside')
"""


def follow(database: Database) -> None:
    """Let the projection see every event."""
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases()).catch_up()


def cases(database: Database, checkout: Checkout, **later: int) -> list[Case]:
    follow(database)
    return open_cases(database, checkout.at + timedelta(**later))


def test_an_order_made_in_time_leaves_no_case(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay().order()
    assert cases(database, checkout, days=1) == []


def test_a_refund_due_is_a_case_until_it_is_made(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay().refuse_order()
    (case,) = cases(database, checkout, seconds=30)
    assert (case.kind, case.money_cents, case.session_id) == (Kind.REFUND_DUE, 350_00, checkout.session_id)
    assert (case.age, case.detail) == (timedelta(seconds=30), "OUT_OF_STOCK")
    assert case.what_can_be_done.startswith("Approve it")
    assert case.number == 1
    checkout.request_refund()
    assert cases(database, checkout, minutes=29) == []
    (slow,) = cases(database, checkout, minutes=30)
    assert (slow.kind, slow.age >= timedelta(minutes=30)) == (Kind.REFUND_UNDER_WAY, True)
    checkout.doubt_refund()
    assert [case.kind for case in cases(database, checkout)] == [Kind.REFUND_IN_DOUBT]
    checkout.fail_refund()
    (failed,) = cases(database, checkout)
    assert (failed.kind, failed.detail, failed.since) == (Kind.REFUND_DUE, "failed: R1", case.since)
    checkout.refuse_refund()
    (held,) = cases(database, checkout)
    assert (held.kind, held.detail) == (Kind.REFUND_HELD, "Asked for an exchange.")
    checkout.refund()
    assert cases(database, checkout) == []


def test_a_second_payment_is_refunded_while_the_order_stands(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().wait(seconds=100).prompt().pay("RCPT000001").order()
    checkout.pay("RCPT000002", attempt=2)
    (case,) = cases(database, checkout)
    assert (case.kind, case.money_cents, case.detail) == (Kind.REFUND_DUE, 350_00, "second_payment")


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


def test_a_paid_session_without_an_order_is_a_case(ledger: Ledger, database: Database) -> None:
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
    follow(database)
    return checkout


def test_cases_of_all_kinds_come_oldest_first(database: Database, busy: Checkout) -> None:
    found = cases(database, busy, days=1)
    kinds = [Kind.MESSAGE_DEAD_LETTERED, Kind.ORDER_MISSING, Kind.EVENT_DEAD_LETTERED, Kind.REFUND_DUE]
    assert [case.kind for case in found] == kinds
    assert [case.money_cents for case in found] == [None, 350_00, 350_00, 350_00]
    assert all(case.what_can_be_done for case in found)


def test_the_list_is_paged_and_filtered_by_kind(database: Database, busy: Checkout) -> None:
    now = busy.at + timedelta(days=1)
    whole = open_cases(database, now)
    assert open_cases(database, now, page_size=3) + open_cases(database, now, page=2, page_size=3) == whole
    assert [case.kind for case in open_cases(database, now, kind=Kind.REFUND_DUE)] == [Kind.REFUND_DUE]


def test_a_tally_counts_every_kind(database: Database, busy: Checkout) -> None:
    counted = {
        kind: (t.cases, t.money_cents) for kind, t in tally(database, busy.at + timedelta(days=1)).items()
    }
    assert {kind: counts for kind, counts in counted.items() if counts[0]} == {
        Kind.MESSAGE_DEAD_LETTERED: (1, 0),
        Kind.EVENT_DEAD_LETTERED: (1, 350_00),
        Kind.REFUND_DUE: (1, 350_00),
        Kind.ORDER_MISSING: (1, 350_00),
    }
    assert set(counted) == set(Kind)


def test_a_discrepancy_is_a_case_until_it_is_closed(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().cancel().pay().order()
    (case,) = cases(database, checkout)
    assert (case.kind, case.money_cents, case.number) == (Kind.CONTRADICTION, 350_00, 1)
    assert case.detail.startswith("attempt 1, outcome: the callback says: ")
    checkout.close_discrepancy()
    assert cases(database, checkout) == []


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        ("unknown", Kind.MONEY_UNKNOWN),
        ("known_elsewhere", Kind.MONEY_CLAIMED_TWICE),
        ("reversal_unexpected", Kind.MONEY_WENT_BACK),
        ("credited", None),
        ("new", None),
    ],
)
def test_an_unmatched_payment_is_a_case(database: Database, verdict: str, kind: Kind | None) -> None:
    with database.connection() as connection:
        connection.execute(MOVED, (verdict, HALF_PAST_TEN))
    found = open_cases(database, HALF_PAST_TEN)
    assert [(case.kind, case.case_id, case.money_cents) for case in found] == (
        [(kind, "payment.OAF7Q2X9LM", 50_00)] if kind else []
    )
    with database.connection() as connection:
        connection.execute("UPDATE mpesa_movements SET closed_at = now()")
    assert open_cases(database, HALF_PAST_TEN) == []


def test_a_gap_of_the_pull_is_a_case(database: Database) -> None:
    pull_progress, day = PullProgressStore(database), timedelta(days=1)
    pull_progress.done(
        "174379", HALF_PAST_TEN, HALF_PAST_TEN, gap=(HALF_PAST_TEN - 9 * day, HALF_PAST_TEN - 2 * day)
    )
    (case,) = open_cases(database, HALF_PAST_TEN)
    assert (case.kind, case.money_cents) == (Kind.PULL_GAP, None)
    assert case.case_id == str(pull_progress.gaps()[0].gap_id)


def _fails(ledger: Ledger, code: str) -> Checkout:
    checkout = Checkout(ledger).prompt()
    ledger.decide(
        checkout.session_id,
        lambda session: session.record_attempt_failure(
            1, evidence=Evidence.CALLBACK, code=code, text="So it is.", at=checkout.at
        ),
    )
    return checkout


def _is_refused(ledger: Ledger, code: str) -> Checkout:
    checkout = Checkout(ledger).request()
    ledger.decide(
        checkout.session_id,
        lambda session: session.record_refusal(1, code=code, message="So it is.", at=checkout.at),
    )
    return checkout


@pytest.mark.parametrize(
    ("happens", "code"), [(_fails, "PRODUCT_MISMATCH"), (_is_refused, "DARAJA_NOT_AUTHORISED")]
)
def test_a_burst_of_set_up_refusals_is_a_case_until_a_buyer_pays(
    ledger: Ledger, database: Database, happens: Callable[[Ledger, str], Checkout], code: str
) -> None:
    for _ in range(2):
        happens(ledger, code)
    last = happens(ledger, "WRONG_PIN")
    assert cases(database, last) == []
    (case,) = cases(database, happens(ledger, code))
    assert (case.kind, case.case_id, case.detail) == (Kind.MPESA_SET_UP, code, f"{code}: 3 times")
    assert cases(database, Checkout(ledger).prompt().wait(minutes=1).pay().order()) == []


def test_every_set_up_reason_is_a_documented_result() -> None:
    of_results = {meaning.reason.upper() for meaning in RESULT_MEANINGS}
    assert {reason for reason in SET_UP_REASONS if not reason.startswith("DARAJA_")} <= of_results


def test_every_kind_says_what_can_be_done() -> None:
    assert set(WHAT_CAN_BE_DONE) == set(Kind)
    assert {str(kind) for kind in CaseKind} <= {str(kind) for kind in Kind}


def test_the_rows_equal_a_fold_of_the_log_whatever_the_batches(ledger: Ledger, database: Database) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases(), batch_size=3).catch_up()
    assert wrong(database) == []
    assert rebuild(database, event_macs(database), "payment_cases").wrong_rows == 0


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM payment_cases", "payment_cases lacks its rows"),
        ("UPDATE payment_cases SET money_cents = 1", "payment_cases is not what its events come to"),
        ("UPDATE payment_cases SET session_id = gen_random_uuid()", "has rows that no event speaks of"),
    ],
)
def test_the_invariants_find_rows_that_differ_from_the_log(
    ledger: Ledger, database: Database, statement: str, finding: str
) -> None:
    Checkout(ledger).prompt().pay().refuse_order()
    follow(database)
    with database.connection() as connection:
        connection.execute(statement.encode())
    assert any(finding in description for description in wrong(database))
    assert rebuild(database, event_macs(database), "payment_cases").wrong_rows > 0
    assert wrong(database) == []


def wrong(database: Database) -> list[str]:
    return [violation.detail for violation in invariants.check(database) if violation.rule == "cases"]

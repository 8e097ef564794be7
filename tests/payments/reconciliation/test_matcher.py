"""A movement is matched to its attempt once, whichever channel reports it and however often."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected
from ledger.session.values import AttemptState, Evidence, Status
from ledger.store.database import Database
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import open_cases
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import UNPROCESSED_AFTER, Matcher
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from payments.reconciliation.transactions import transaction_named
from projections.history import history
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.phone_locks import lock_phone
from tests.support.prompt_limits import AMPLE

RECEIPT = "OAF7Q2X9LM"
LATER = HALF_PAST_TEN + timedelta(minutes=2)


def _payment(
    checkout: Checkout | None = None, receipt: str = RECEIPT, *, attempt: int = 1, **changed: Any
) -> Movement:
    """What a C2B notice tells; it names the attempt of a checkout, where one is given."""
    values: dict[str, Any] = {"amount_cents": TOTAL_CENTS, "happened_at": LATER, "evidence": Evidence.C2B}
    if checkout is not None:
        values["transaction_id"] = checkout.session.attempts[attempt].transaction_id
    return Movement(kind=MovementKind.PAYMENT, receipt=receipt, **values | changed)


def _ingest(matcher: Matcher, *movements: Movement) -> list[MatchVerdict]:
    return [result.verdict for result in matcher.ingest(movements)]


def _facts(checkout: Checkout) -> list[str]:
    return [
        entry.name for entry in history(checkout.ledger.database, checkout.ledger.macs, checkout.session_id)
    ]


@pytest.mark.parametrize(
    ("typed", "transaction_id"),
    [
        ("D456", 456),
        ("d456", 456),
        (" d 456 ", 456),
        ("D-456", 456),
        ("D\u00a0000456", 456),
        ("456", None),
        ("D", None),
        ("D0", None),
        ("D456x", None),
        ("XD456", None),
        ("D\u0664\u0665\u0666", None),
        ("D" + "9" * 40, None),
        ("D00000000000000004561", None),
        ("D0000000000000000456", 456),
        ("D456…", None),
        ("=D456", None),
        ("", None),
    ],
)
def test_our_reference_is_recognised_however_it_was_typed(typed: str, transaction_id: int | None) -> None:
    assert transaction_named(typed) == transaction_id


@pytest.mark.parametrize("begin", [Checkout.prompt, lambda checkout: checkout.request().lose_push_answer()])
@pytest.mark.parametrize("evidence", [Evidence.C2B, Evidence.STATEMENT])
def test_an_attempt_without_an_outcome_is_settled(
    ledger: Ledger, matcher: Matcher, begin: Callable[[Checkout], Checkout], evidence: Evidence
) -> None:
    checkout = begin(Checkout(ledger))
    assert _ingest(matcher, _payment(checkout, evidence=evidence)) == [MatchVerdict.CREDITED]
    session = checkout.session
    assert session.status == Status.PAID
    assert session.paid is not None
    assert (session.paid.receipt, session.paid.evidence, session.paid.paid_at) == (RECEIPT, evidence, LATER)


def test_the_phone_may_be_prompted_again_once_the_attempt_is_settled(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    checkout, phone_locks = Checkout(ledger).prompt(), PhoneLocks(database, AMPLE)
    number, until = checkout.session.attempts[1].transaction_id, LATER + timedelta(hours=1)
    lock_phone(
        database, phone_locks, "phone", checkout.session_id, 1, now=LATER, until=until, transaction_id=number
    )
    _ingest(matcher, _payment(checkout))
    assert phone_locks.refused_until([(2, "phone", uuid4())], LATER) == {}


def test_a_repeated_movement_changes_nothing(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt()
    assert _ingest(matcher, _payment(checkout)) == [MatchVerdict.CREDITED]
    before = _facts(checkout)
    assert _ingest(matcher, _payment(checkout), _payment(checkout)) == [
        MatchVerdict.POSTED,
        MatchVerdict.POSTED,
    ]
    assert _facts(checkout) == before


def test_a_better_source_is_recorded_once(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT)
    for evidence in (Evidence.C2B, Evidence.STATEMENT, Evidence.C2B, Evidence.STATEMENT):
        assert _ingest(matcher, _payment(None, evidence=evidence)) == [MatchVerdict.POSTED]
    assert _facts(checkout).count("EvidenceUpgraded") == 2
    assert checkout.session.credits[RECEIPT].evidence == Evidence.STATEMENT


def test_a_payment_proved_by_a_query_gets_its_receipt(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(None)
    assert _ingest(matcher, _payment(checkout)) == [MatchVerdict.CREDITED]
    assert _facts(checkout)[-1] == "ReceiptRecorded"
    assert checkout.session.receipts == {RECEIPT}


def test_a_payment_wins_over_a_failed_attempt(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().cancel()
    assert _ingest(matcher, _payment(checkout)) == [MatchVerdict.CREDITED]
    assert checkout.session.status == Status.PAID
    assert len(checkout.session.discrepancies) == 1


def test_a_second_payment_of_an_attempt_is_refunded(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT).order()
    assert _ingest(matcher, _payment(checkout, "OAF7Q2X9XX")) == [MatchVerdict.CREDITED]
    assert checkout.session.refunds[1].receipt == "OAF7Q2X9XX"
    assert checkout.session.status == Status.ORDER_CREATED


def test_another_amount_than_asked_for_is_refunded(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt()
    assert _ingest(matcher, _payment(checkout, amount_cents=1_00)) == [MatchVerdict.CREDITED]
    assert checkout.session.refunds[1].amount_cents == 1_00
    assert checkout.session.status == Status.PAYMENT_INITIATED  # A reference typed by hand ends no prompt.
    assert checkout.pay("OAF7Q2X9NB").session.status == Status.PAID


def test_another_amount_under_a_known_receipt_is_one_discrepancy_and_changes_nothing(
    ledger: Ledger, matcher: Matcher
) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT)
    for _ in range(2):
        [result] = matcher.ingest([_payment(checkout, amount_cents=1_00)])
        assert result.verdict == MatchVerdict.AMOUNT_DIFFERS
        assert result.detail == "100 cents, where 35000 cents are known."
    assert _facts(checkout).count("ContradictionFound") == 1
    assert checkout.session.credits[RECEIPT].amount_cents == TOTAL_CENTS


@pytest.mark.parametrize(
    "stray",
    [{"reference": "my rent"}, {"transaction_id": 10**17}, {"reference": "=cmd|' /C calc'!A0"}, {}],
)
def test_a_payment_that_names_no_attempt_is_unmatched(
    ledger: Ledger, matcher: Matcher, database: Database, stray: dict[str, Any]
) -> None:
    checkout = Checkout(ledger).prompt()
    before = _facts(checkout)
    assert _ingest(matcher, _payment(None, **stray)) == [MatchVerdict.UNKNOWN]
    assert _facts(checkout) == before
    with database.connection() as connection:
        [row] = connection.execute("SELECT * FROM mpesa_movements").fetchall()
    assert (row["amount_cents"], row["closed_at"]) == (TOTAL_CENTS, None)
    assert stray.get("reference", "nothing was typed") not in str(row)


def test_the_amount_and_the_time_alone_never_choose_a_session(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt()
    assert _ingest(matcher, _payment(None, happened_at=checkout.at)) == [MatchVerdict.UNKNOWN]
    assert checkout.session.status == Status.PAYMENT_INITIATED


def test_a_payment_older_than_the_attempt_it_names_is_unmatched(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt()
    old = _payment(checkout, happened_at=HALF_PAST_TEN - timedelta(days=30), evidence=Evidence.STATEMENT)
    assert _ingest(matcher, old) == [MatchVerdict.UNKNOWN]
    assert checkout.session.received_cents == 0


def test_a_receipt_of_another_session_is_a_case_and_credited_once(ledger: Ledger, matcher: Matcher) -> None:
    first, second = Checkout(ledger).prompt().pay(RECEIPT), Checkout(ledger, user_id=8).prompt()
    [result] = matcher.ingest([_payment(second)])
    assert (result.verdict, result.session_id) == (MatchVerdict.KNOWN_ELSEWHERE, first.session_id)
    assert str(second.session_id) in str(result.detail)
    assert second.session.status == Status.PAYMENT_INITIATED
    assert first.session.received_cents == TOTAL_CENTS


def test_an_unmatched_payment_is_credited_by_a_source_that_names_its_attempt(
    ledger: Ledger, matcher: Matcher
) -> None:
    checkout = Checkout(ledger).prompt()
    assert _ingest(matcher, _payment(None)) == [MatchVerdict.UNKNOWN]
    assert _ingest(matcher, _payment(checkout, evidence=Evidence.STATEMENT)) == [MatchVerdict.CREDITED]


def test_an_operator_closes_a_case_once(matcher: Matcher, movements: Movements) -> None:
    [result] = matcher.ingest([_payment(None)])
    movements.close(result.movement.key, closed_by="operator 9", note="Rent of the stall.", now=LATER)
    with pytest.raises(Rejected, match="CASE_NOT_OPEN"):
        movements.close(result.movement.key, closed_by="operator 9", note="Again.", now=LATER)


def test_movements_stored_before_a_crash_are_matched_by_the_worker(
    ledger: Ledger, matcher: Matcher, movements: Movements
) -> None:
    checkout = Checkout(ledger).prompt()
    long_ago = clock.now() - 2 * UNPROCESSED_AFTER
    movements.store([_payment(checkout), _payment(None, "OAF7Q2X9ZZ", reference="rent")], long_ago)
    assert matcher.act_on_unprocessed() == 2
    assert checkout.session.status == Status.PAID
    assert matcher.act_on_unprocessed() == 0


def test_an_unmatched_payment_is_posted_once_a_callback_has_claimed_it(
    database: Database, ledger: Ledger, matcher: Matcher
) -> None:
    assert (
        _ingest(matcher, _payment(reference=""), _payment(receipt="OAF7Q2X9NB")) == [MatchVerdict.UNKNOWN] * 2
    )
    assert matcher.act_on_claimed() == 0
    checkout = Checkout(ledger).prompt().pay(RECEIPT)
    assert matcher.act_on_claimed() == 1
    assert checkout.session.credits[RECEIPT].evidence == Evidence.C2B
    assert [case.detail[:10] for case in open_cases(database, LATER, kind=Kind.MONEY_UNKNOWN)] == [
        "OAF7Q2X9NB"
    ]
    assert matcher.act_on_claimed() == 0


def test_a_claimed_receipt_that_is_not_recorded_yet_stays_unmatched(ledger: Ledger, matcher: Matcher) -> None:
    assert _ingest(matcher, _payment()) == [MatchVerdict.UNKNOWN]
    assert ledger.reserve_receipt(RECEIPT, Checkout(ledger).prompt().session_id)
    assert matcher.act_on_claimed() == 0


def test_a_receipt_that_was_reserved_before_a_crash_is_recorded(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt()
    assert ledger.reserve_receipt(RECEIPT, checkout.session_id)
    assert _ingest(matcher, _payment(checkout)) == [MatchVerdict.CREDITED]
    assert checkout.session.receipts == {RECEIPT}


def test_all_channels_and_the_callback_at_the_same_moment_make_one_payment(
    ledger: Ledger, matcher: Matcher
) -> None:
    for number in range(10):
        receipt = f"OAF7Q2X9{number:02}"
        checkout = Checkout(ledger).prompt()
        tell: list[Callable[[], object]] = [
            lambda checkout=checkout, receipt=receipt: checkout.pay(receipt),  # type: ignore[misc]
            lambda checkout=checkout, receipt=receipt: matcher.ingest([_payment(checkout, receipt)]),  # type: ignore[misc]
            lambda checkout=checkout, receipt=receipt: matcher.ingest(  # type: ignore[misc]
                [_payment(checkout, receipt, evidence=Evidence.STATEMENT)]
            ),
        ]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda call: call(), tell))
        session = checkout.session
        assert (session.received_cents, session.receipts, session.refunds) == (TOTAL_CENTS, {receipt}, {})
        assert session.attempts[1].state == AttemptState.PAID


def _refused(ledger: Ledger) -> Checkout:
    return Checkout(ledger).prompt().pay(RECEIPT).refuse_order()


def test_charges_and_settlements_are_not_ours(ledger: Ledger, matcher: Matcher) -> None:
    checkout = Checkout(ledger).prompt().pay(RECEIPT)
    before = _facts(checkout)
    charge = Movement(
        kind=MovementKind.OTHER,
        receipt=RECEIPT,
        amount_cents=5_00,
        happened_at=LATER,
        evidence=Evidence.STATEMENT,
        money_in=False,
        reason_type="Pay Bill Charge",
    )
    assert _ingest(matcher, charge) == [MatchVerdict.NOT_OURS]
    assert _facts(checkout) == before


def test_a_session_that_cannot_be_read_does_not_hold_up_others(
    ledger: Ledger, matcher: Matcher, database: Database
) -> None:
    broken, whole = Checkout(ledger).prompt(), Checkout(ledger).prompt()
    movements = [_payment(broken, "OAF7Q2X9AA"), _payment(whole, "OAF7Q2X9BB")]
    with database.transaction() as connection:
        connection.execute("SET LOCAL ROLE NONE")
        connection.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE payment_events SET state = '{}' WHERE session_id = %s AND version = 1",
            (broken.session_id,),
        )
    found = {result.movement.receipt: result.verdict for result in matcher.ingest(movements)}
    assert found == {"OAF7Q2X9AA": MatchVerdict.NEW, "OAF7Q2X9BB": MatchVerdict.CREDITED}


def test_the_moment_of_a_movement_may_have_any_time_zone(matcher: Matcher) -> None:
    found: list[MatchResult] = matcher.ingest(
        [_payment(None, happened_at=LATER.astimezone(timezone(timedelta(hours=14))))]
    )
    assert found[0].verdict == MatchVerdict.UNKNOWN

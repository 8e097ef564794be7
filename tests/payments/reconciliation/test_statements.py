"""Statements are matched with the ledger, differences are reported, and a second import changes nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.outcome_commands import NO_PAYMENT_FOUND
from ledger.session.values import Evidence, RefundState, Status
from ledger.store.database import Database
from ledger.store.listing import Place
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import PAID_WITHIN, MissingPayments
from payments.reconciliation.movements import MatchResult, Movement
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statements import MEANINGS, Reconciler, StatementRefused
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.keys import key_ring
from tests.support.statements import HEADER, PREAMBLE, Booking, cells, statement, written

PAID_AT = HALF_PAST_TEN + timedelta(minutes=1)
OPENING = Booking("OAF0000001", paid_in=10_00, at=HALF_PAST_TEN - timedelta(hours=12), account="rent")
CLOSING = Booking(
    "OAF0000002", withdrawn=10_00, at=HALF_PAST_TEN + timedelta(hours=12), reason="Organization Settlement"
)
"""The ends of a day, so that what lies between them is well inside the period."""


def _booking(checkout: Checkout, receipt: str, attempt: int = 1, **changed: object) -> Booking:
    transaction_id = checkout.session.attempts[attempt].transaction_id
    booking = Booking(receipt, paid_in=TOTAL_CENTS, at=PAID_AT, account=f"D{transaction_id}")
    return replace(booking, **changed)  # type: ignore[arg-type]


def _day(*bookings: Booking) -> bytes:
    return statement([OPENING, *bookings, CLOSING])


def _counts(done: Reconciliation) -> dict[str, int]:
    """The counts that are not zero, without those of the day's two ends."""
    counts = dict(done.found["counts"])
    counts["not_ours"] -= 1
    counts["unknown"] -= 1
    assert set(counts) == set(MEANINGS)
    return {kind: count for kind, count in counts.items() if count}


def test_each_row_is_reported_by_its_kind(ledger: Ledger, reconciler: Reconciler) -> None:
    known = Checkout(ledger).prompt().pay("OAFKNOWN01")
    lost = Checkout(ledger).request().lose_push_answer()
    nameless = Checkout(ledger).prompt().pay(None)
    returned = Checkout(ledger).prompt().pay("OAFBACK001").refuse_order().request_refund()
    gone = Checkout(ledger).prompt().pay("OAFGONE001").order()
    other = Checkout(ledger).prompt().pay("OAFODD0001")
    only_here = Checkout(ledger).prompt().pay("OAFHERE001")
    content = _day(
        _booking(known, "OAFKNOWN01"),
        _booking(lost, "OAFLOST001"),
        _booking(nameless, "OAFNAME001"),
        _booking(returned, "OAFBACK001"),
        Booking(
            "OAFBACK0RV", withdrawn=TOTAL_CENTS, at=PAID_AT, reason="Pay Bill Reversal", linked="OAFBACK001"
        ),
        _booking(gone, "OAFGONE001"),
        Booking(
            "OAFGONE0RV", withdrawn=TOTAL_CENTS, at=PAID_AT, reason="Pay Bill Reversal", linked="OAFGONE001"
        ),
        _booking(other, "OAFODD0001", paid_in=1_00),
        Booking("OAFKNOWN01", withdrawn=5_00, at=PAID_AT, reason="Pay Bill Charge", linked="OAFKNOWN01"),
        Booking("OAFFAILED1", paid_in=TOTAL_CENTS, at=PAID_AT, status="Failed", account="D1"),
    )
    done = reconciler.reconcile(content)
    assert _counts(done) == {
        "posted": 3,
        "credited": 2,
        "refund_settled": 1,
        "reversal_unexpected": 1,
        "amount_differs": 1,
        "not_ours": 1,
        "missing_there": 1,
        "not_completed": 1,
    }
    assert done.found["wants_a_person"]
    assert lost.session.status == Status.PAID
    assert nameless.session.receipts == {"OAFNAME001"}
    assert returned.session.refunds[1].state == RefundState.REFUNDED
    assert known.session.credits["OAFKNOWN01"].evidence == Evidence.STATEMENT
    [missing] = [each for each in done.found["differences"] if each["kind"] == "missing_there"]
    assert (missing["receipt"], missing["session_id"]) == ("OAFHERE001", str(only_here.session_id))
    assert [found.about for found in only_here.session.discrepancies.values()] == ["books"]
    assert only_here.session.received_cents == TOTAL_CENTS

    again = reconciler.reconcile(content)
    assert len(only_here.session.discrepancies) == 1
    assert _counts(again) == {
        "posted": 6,
        "reversal_unexpected": 1,
        "amount_differs": 1,
        "not_ours": 1,
        "missing_there": 1,
        "not_completed": 1,
    }


def test_a_payment_with_our_reference_typed_by_hand_is_credited(
    ledger: Ledger, reconciler: Reconciler
) -> None:
    checkout = Checkout(ledger).prompt().cancel()
    number = checkout.session.attempts[1].transaction_id
    reconciler.reconcile(
        _day(_booking(checkout, "OAFTYPED01", account="", details=f"Pay Bill Acc. d{number}"))
    )
    assert checkout.session.status == Status.PAID


@pytest.mark.parametrize("reason", ["", "Pay Bill Online", "Customer Buy Goods Online", "Something New"])
def test_money_in_of_any_kind_is_matched(ledger: Ledger, reconciler: Reconciler, reason: str) -> None:
    checkout = Checkout(ledger).prompt()
    done = reconciler.reconcile(
        _day(
            _booking(checkout, "OAFKIND001", reason=reason),
            Booking("OAFKIND002", paid_in=5_00, at=PAID_AT, reason=reason),
        )
    )
    assert _counts(done) == {"credited": 1, "unknown": 1}


def test_payments_at_the_edges_of_a_period_are_not_missing(ledger: Ledger, reconciler: Reconciler) -> None:
    Checkout(ledger).prompt().pay("OAFEDGE001")
    around = [replace(OPENING, at=PAID_AT), replace(CLOSING, at=PAID_AT + timedelta(minutes=5))]
    assert _counts(reconciler.reconcile(statement(around))) == {}


def test_a_payment_proved_only_by_a_query_can_be_missing(ledger: Ledger, reconciler: Reconciler) -> None:
    Checkout(ledger).prompt().pay(None)
    done = reconciler.reconcile(_day())
    assert _counts(done) == {"missing_there": 1}


def test_an_attempt_in_doubt_whose_time_is_covered_ends_unpaid(
    ledger: Ledger, reconciler: Reconciler
) -> None:
    lost = Checkout(ledger).request().lose_push_answer()
    twice = Checkout(ledger).prompt().wait(seconds=100).prompt()
    done = reconciler.reconcile(_day())
    assert _counts(done) == {"found_unpaid": 3}
    for checkout in (lost, twice):
        assert (checkout.session.status, checkout.session.failure) == (
            Status.FAILED,
            ("NOT_PAID", NO_PAYMENT_FOUND),
        )
    assert _counts(reconciler.reconcile(_day())) == {}
    late = _day(_booking(lost, "OAFLATE001"))
    assert _counts(reconciler.reconcile(late)) == {"credited": 1}
    assert lost.session.status == Status.PAID
    assert [found.about for found in lost.session.discrepancies.values()] == ["outcome"]


@pytest.mark.parametrize(
    "content",
    [
        lambda: _day(Booking("OAFSAME001", paid_in=TOTAL_CENTS, at=PAID_AT, account="")),
        lambda: statement([OPENING, replace(CLOSING, at=HALF_PAST_TEN + PAID_WITHIN)]),
        lambda: statement([replace(OPENING, at=PAID_AT), CLOSING]),
        lambda: statement([OPENING, CLOSING], preamble=[]),
    ],
)
def test_an_attempt_that_a_statement_does_not_decide_stays_in_doubt(
    ledger: Ledger, reconciler: Reconciler, content: Callable[[], bytes]
) -> None:
    checkout = Checkout(ledger).prompt()
    assert reconciler.reconcile(content()).found["counts"]["found_unpaid"] == 0
    assert checkout.session.open_attempts


def test_an_empty_day_is_a_statement(reconciler: Reconciler) -> None:
    done = reconciler.reconcile(written([*PREAMBLE, HEADER]))
    assert (done.found["rows"], done.found["wants_a_person"]) == (0, False)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda rows: rows[6].__setitem__(7, "1.00"), "STATEMENT_BALANCE_BROKEN"),
        (lambda rows: rows.__delitem__(6), "STATEMENT_BALANCE_BROKEN"),
        (lambda rows: rows[7].__setitem__(1, "yesterday"), "STATEMENT_UNREADABLE"),
        (lambda rows: rows.__delitem__(4), "NOT_A_STATEMENT"),
        (lambda rows: rows[1].__setitem__(1, "600100"), "STATEMENT_OF_ANOTHER"),
    ],
)
def test_an_unreliable_file_changes_nothing(
    ledger: Ledger, reconciler: Reconciler, database: Database, spoil: object, code: str
) -> None:
    checkout = Checkout(ledger).prompt()
    rows = [
        list(row) for row in (*PREAMBLE, HEADER, *cells([OPENING, _booking(checkout, "OAFGOOD001"), CLOSING]))
    ]
    spoil(rows)  # type: ignore[operator]
    with pytest.raises(StatementRefused) as refusal:
        reconciler.reconcile(written(rows))
    assert refusal.value.code == code
    assert checkout.session.status == Status.PAYMENT_INITIATED
    with database.connection() as connection:
        assert connection.execute("SELECT FROM mpesa_movements").rowcount == 0
    assert Reconciliations(database, key_ring(database)).page(Place(clock.now(), 10)) == (0, [])


def test_what_was_found_can_be_read_later(ledger: Ledger, reconciler: Reconciler, database: Database) -> None:
    Checkout(ledger).prompt().pay("OAFHERE001")
    done = reconciler.reconcile(_day())
    assert Reconciliations(database, key_ring(database)).find(done.reconciliation_id) == done
    assert Reconciliations(database, key_ring(database)).page(Place(clock.now(), 10)) == (1, [done])


def test_no_text_of_a_payer_is_in_what_was_found(reconciler: Reconciler) -> None:
    evil = "=HYPERLINK(0)"
    done = reconciler.reconcile(
        statement([Booking("OAFEVIL001", paid_in=5_00, account=evil, details=evil, reason=evil, payer=evil)])
    )
    assert done.found["counts"]["unknown"] == 1
    assert evil not in str(done.found)


def test_two_imports_at_once_record_everything_once(ledger: Ledger, reconciler: Reconciler) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(20)]
    bookings = [_booking(checkout, f"OAFTWICE{number:02}") for number, checkout in enumerate(checkouts)]
    contents = [_day(*bookings), _day(*bookings[::-1])]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(reconciler.reconcile, contents))
    for checkout in checkouts:
        assert (checkout.session.received_cents, checkout.session.refunds) == (TOTAL_CENTS, {})
    for each in done:
        counts = _counts(each)
        assert counts.get("credited", 0) + counts.get("posted", 0) == 20


class _Dies(Matcher):
    """Loses its database after a few movements."""

    left = 4

    def _match_one(self, movement: Movement, batch: object) -> MatchResult:
        self.left -= 1
        if self.left < 0:
            raise Unavailable
        return super()._match_one(movement, batch)  # type: ignore[arg-type]


def test_an_import_that_was_interrupted_is_finished_by_another(
    ledger: Ledger,
    matcher: Matcher,
    reconciler: Reconciler,
    database: Database,
    pull_progress: PullProgressStore,
    missing_payments: MissingPayments,
) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(10)]
    content = _day(*(_booking(checkout, f"OAFCRASH{n:02}") for n, checkout in enumerate(checkouts)))
    dying = _Dies(ledger, matcher._phone_locks, matcher._movements, max_workers=1, batch_size=2)
    with pytest.raises(Unavailable):
        Reconciler(
            {"174379"},
            database,
            dying,
            pull_progress,
            Reconciliations(database, key_ring(database)),
            missing_payments,
        ).reconcile(content)
    assert {checkout.session.status for checkout in checkouts} == {Status.PAID, Status.PAYMENT_INITIATED}

    done = reconciler.reconcile(content)
    assert _counts(done).get("credited", 0) + _counts(done).get("posted", 0) == 10
    for checkout in checkouts:
        assert (checkout.session.received_cents, checkout.session.refunds) == (TOTAL_CENTS, {})


def test_a_gap_of_the_pull_is_closed_by_a_statement_that_covers_it(
    reconciler: Reconciler, pull_progress: PullProgressStore
) -> None:
    for began in (timedelta(hours=3), timedelta(days=3)):
        pull_progress.done("174379", PAID_AT, PAID_AT, gap=(PAID_AT - began, PAID_AT))
    reconciler.reconcile(_day())
    assert [gap.since for gap in pull_progress.gaps()] == [PAID_AT - timedelta(days=3)]

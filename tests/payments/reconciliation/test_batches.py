"""A statement imported in batches leaves the same events, verdicts and cases as one imported row by row."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from ledger import clock
from ledger.application import Append, Ledger
from ledger.errors import ConnectionLost
from ledger.session.values import Status
from ledger.store.database import Database
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statements import Progress, Reconciler
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout
from tests.support.keys import key_ring
from tests.support.phone_locks import lock_phone
from tests.support.prompt_limits import AMPLE
from tests.support.statements import Booking, statement

OF_EACH_KIND, ROWS_WITHOUT_SESSION = 6, 1_000
PAID_AT = HALF_PAST_TEN + timedelta(minutes=1)
_TOLD = """
SELECT kind, verdict, told, count(*) AS count FROM mpesa_movements
WHERE receipt LIKE %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_EVENTS = """
SELECT topic, state - 'timestamp' AS state, metadata - 'source' AS metadata
FROM payment_events WHERE session_id = %s AND version > 3 ORDER BY version
"""
"""All but those of the prompt."""


class Group:
    """Sessions of every kind that a statement meets, and the rows about them; receipts begin with its prefix."""

    def __init__(self, ledger: Ledger, prefix: str) -> None:
        self.ledger, self.prefix = ledger, prefix
        self.checkouts: list[Checkout] = []
        self.bookings: list[Booking] = []
        self._receipts = (f"{prefix}{number:08}" for number in range(10**8))
        for _ in range(OF_EACH_KIND):
            for kind in (
                self._known,
                self._lost,
                self._twice,
                self._odd,
                self._back,
                self._gone,
                self._nameless,
            ):
                self.bookings += kind()
        for number in range(ROWS_WITHOUT_SESSION // 2):
            stray = next(self._receipts)
            self.bookings += [
                Booking(stray, paid_in=50, at=PAID_AT, account=f"rent {number}"),
                Booking(stray, withdrawn=50, at=PAID_AT, reason="Pay Bill Charge", linked=stray),
            ]

    def _known(self) -> Iterator[Booking]:
        receipt = next(self._receipts)
        yield self._paid_in(self._new().pay(receipt).order(), receipt)

    def _lost(self) -> Iterator[Booking]:
        checkout, database = self._new(), self.ledger.database
        lock_phone(
            database,
            PhoneLocks(database, AMPLE),
            f"phone of {checkout.session_id}",
            checkout.session_id,
            checkout.session.user_id,
            now=HALF_PAST_TEN,
            until=HALF_PAST_TEN + timedelta(days=1),
            transaction_id=checkout.session.attempts[1].transaction_id,
        )
        yield self._paid_in(checkout, next(self._receipts))

    def _twice(self) -> Iterator[Booking]:
        checkout, receipt = self._new(), next(self._receipts)
        yield self._paid_in(checkout.pay(receipt), receipt)
        yield self._paid_in(checkout, next(self._receipts))

    def _odd(self) -> Iterator[Booking]:
        receipt = next(self._receipts)
        yield self._paid_in(self._new().pay(receipt), receipt, paid_in=1_00)

    def _back(self) -> Iterator[Booking]:
        receipt = next(self._receipts)
        yield self._paid_in(self._new().pay(receipt).refuse_order().request_refund(), receipt)
        yield self._reversed(receipt)

    def _gone(self) -> Iterator[Booking]:
        receipt = next(self._receipts)
        yield self._paid_in(self._new().pay(receipt).order(), receipt)
        yield self._reversed(receipt)

    def _nameless(self) -> Iterator[Booking]:
        yield self._paid_in(self._new().pay(None), next(self._receipts))

    def _new(self) -> Checkout:
        self.checkouts.append(Checkout(self.ledger).prompt())
        return self.checkouts[-1]

    def _reversed(self, receipt: str) -> Booking:
        back = next(self._receipts)
        return Booking(back, withdrawn=TOTAL_CENTS, at=PAID_AT, reason="Pay Bill Reversal", linked=receipt)

    @staticmethod
    def _paid_in(checkout: Checkout, receipt: str, paid_in: int = TOTAL_CENTS) -> Booking:
        number = checkout.session.attempts[1].transaction_id
        return Booking(receipt, paid_in=paid_in, at=PAID_AT, account=f"D{number}")

    def left(self) -> list[list[dict[str, Any]]]:
        """Return the events of each session, without what is its own: ids, receipts, moments."""
        with self.ledger.database.connection() as connection:
            return [
                [
                    json.loads(
                        re.sub(rf"{checkout.session_id}|{self.prefix}[0-9]{{8}}", "its own", json.dumps(row))
                    )
                    for row in connection.execute(_EVENTS, (checkout.session_id,)).fetchall()
                ]
                for checkout in self.checkouts
            ]

    def told(self) -> list[dict[str, Any]]:
        """Return how many movements there are of each kind, verdict and sentence."""
        with self.ledger.database.connection() as connection:
            rows = connection.execute(_TOLD, (f"{self.prefix}%",)).fetchall()
        return json.loads(json.dumps(rows).replace(self.prefix, "XX"))  # type: ignore[no-any-return]


@pytest.fixture
def reconcile(
    database: Database,
    ledger: Ledger,
    movements: Movements,
    pull_progress: PullProgressStore,
    missing_payments: MissingPayments,
) -> Callable[..., Reconciliation]:
    def run(
        bookings: Sequence[Booking],
        batch_size: int,
        ledger: Ledger = ledger,
        on_progress: Progress | None = None,
    ) -> Reconciliation:
        # By one thread: of two rows of a session the first is decided on first.
        locks = PhoneLocks(database, AMPLE)
        matcher = Matcher(ledger, locks, movements, max_workers=1, batch_size=batch_size)
        reconciler = Reconciler(
            {"174379"},
            database,
            matcher,
            pull_progress,
            Reconciliations(database, key_ring(database)),
            missing_payments,
        )
        # Without the preamble nothing is known to be missing: the other group's payments are not in this file.
        content = statement(bookings, preamble=[])
        return reconciler.reconcile(content, on_progress or (lambda _, __: None))

    return run


def test_batches_leave_what_rows_one_by_one_leave(
    ledger: Ledger, reconcile: Callable[..., Reconciliation]
) -> None:
    one_by_one, together = Group(ledger, "AB"), Group(ledger, "CD")
    alone, batched = reconcile(one_by_one.bookings, 1), reconcile(together.bookings, 500)
    assert batched.found["counts"] | {"missing_there": 0} == alone.found["counts"] | {"missing_there": 0}
    assert together.left() == one_by_one.left()
    assert together.told() == one_by_one.told()
    with ledger.database.connection() as connection:
        assert not connection.execute("SELECT FROM live_prompts").fetchall()
    again = reconcile(together.bookings, 500)
    assert again.found["counts"]["credited"] == 0
    assert together.left() == one_by_one.left()


class _Overtaken(Ledger):
    """Another writer is faster with one session, whenever that is about to be written for the first time."""

    overtaken: Checkout | None = None

    def append_together(self, appends: Sequence[Append]) -> None:
        """Let a callback come first."""
        if self.overtaken is not None:
            checkout, self.overtaken = self.overtaken, None
            checkout.pay("AB00000000")
        super().append_together(appends)


def test_a_session_that_was_written_meanwhile_is_decided_on_again(
    ledger: Ledger, database: Database, reconcile: Callable[..., Reconciliation]
) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(5)]
    bookings = [Group._paid_in(checkout, f"AB{number:08}") for number, checkout in enumerate(checkouts)]
    overtaken = _Overtaken(database, ledger.macs.keys)
    overtaken.overtaken = checkouts[0]
    done = reconcile(bookings, 500, ledger=overtaken)
    assert {kind: count for kind, count in done.found["counts"].items() if count} == {
        "posted": 1,
        "credited": 4,
    }
    for checkout in checkouts:
        assert (checkout.session.status, checkout.session.received_cents) == (Status.PAID, TOTAL_CENTS)


class _AnswerLost(Ledger):
    """The connection is lost with the answer of the first write of a batch, after its commit."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        insert, tries = self.recorder._insert_together, Counter[str]()

        def lose_first_answer(*values: Any) -> Sequence[int]:
            positions = insert(*values)
            tries["all"] += 1
            if tries["all"] == 1:
                raise ConnectionLost
            return positions

        self.recorder._insert_together = lose_first_answer  # type: ignore[method-assign, assignment]


def test_a_batch_whose_answer_was_lost_is_not_written_twice(
    ledger: Ledger, database: Database, reconcile: Callable[..., Reconciliation]
) -> None:
    checkouts = [Checkout(ledger).prompt() for _ in range(3)]
    bookings = [Group._paid_in(checkout, f"AB{number:08}") for number, checkout in enumerate(checkouts)]
    losing = _AnswerLost(database, ledger.macs.keys)
    done = reconcile(bookings, 500, ledger=losing)
    assert done.found["counts"]["credited"] == 3
    assert [checkout.session.received_cents for checkout in checkouts] == [TOTAL_CENTS] * 3
    assert [checkout.session.version for checkout in checkouts] == [4] * 3
    losing.close()


def test_progress_is_told_after_each_batch(reconcile: Callable[..., Reconciliation]) -> None:
    told: list[tuple[int, int]] = []
    bookings = [Booking(f"AB{number:08}", paid_in=50, at=clock.now(), account="rent") for number in range(7)]
    reconcile(bookings, 3, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(3, 7), (6, 7), (7, 7)]

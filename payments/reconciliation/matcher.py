"""The one matcher: a movement of money finds the attempt that it answers, by receipt or by our own reference.

Never by the amount alone: two buyers who owe the same are common, and money given to the wrong one is lost to both.
What matches nothing is kept and shown to a person.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import Payment, Refund, RefundState
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation import lookups
from payments.reconciliation.lookups import NamedAttempt
from payments.reconciliation.movements import FINAL, Movement, MovementKind, Movements, Settled, Verdict

AT_ONCE = 500
"""So many movements are kept, acted on and settled together."""

MAX_WORKERS = 6
"""Sessions are written side by side, because each waits for the disk by itself."""

EARLIER_BY_AT_MOST = timedelta(hours=4)
"""A payment older than the attempt it names is another's: numbers of transactions begin anew with a new database.

Wide enough for the zone of a pulled time, which nobody has confirmed."""

UNPROCESSED_AFTER = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the movements of a batch may belong."""

    receipts: dict[str, UUID]
    attempts: dict[int, NamedAttempt]
    held: set[str]


class Matcher:
    """Brings movements to their sessions. Safe to share between threads, and every step may be repeated.

    `hands` is how many movements are acted on at once: with one, nothing runs in another thread.
    """

    def __init__(
        self, ledger: Ledger, phone_locks: PhoneLocks, movements: Movements, *, max_workers: int = MAX_WORKERS
    ) -> None:
        self._max_workers = max_workers
        self._ledger = ledger
        self._phone_locks = phone_locks
        self._movements = movements

    def ingest(self, movements: Iterable[Movement]) -> list[Settled]:
        """Keep movements, act on what is news, and return what was made of each, in no order.

        What was known and agrees is POSTED again and touches nothing. Raises Unavailable where the database does not
        answer; then what was not acted on is kept, and is acted on by a repeat or by the worker.
        """
        found: list[Settled] = []
        for batch in _batches(movements):
            left = batch
            while left:
                by_key = {movement.key: movement for movement in reversed(left)}
                found += self._ingest(list(by_key.values()))
                left = [movement for movement in left if by_key[movement.key] is not movement]
        return found

    def act_on_unprocessed(self, limit: int = AT_ONCE) -> int:
        """Act on movements that a process kept and died over; return for how many that worked."""
        left = self._movements.unprocessed(clock.now() - UNPROCESSED_AFTER, limit)
        settled = self._settle(left) if left else []
        return sum(each.verdict != Verdict.NEW for each in settled)

    def act_on_claimed(self, limit: int = AT_ONCE) -> int:
        """Settle money that nobody claimed when it was seen, and a callback has since; return for how many that worked.

        A till's notice names no attempt of ours, and it may be quicker than the callback.
        """
        claimed = self._movements.claimed_meanwhile(limit)
        settled = self._settle(claimed) if claimed else []
        return sum(each.verdict not in (Verdict.NEW, Verdict.UNKNOWN) for each in settled)

    def assign(self, key: str, transaction_id: int, *, by: str, note: str) -> Settled:
        """Bring money of nobody to the attempt that a person names, as if its payer had; return what was made of it.

        Its receipt and its sum are M-Pesa's own, so nothing is believed of the person but whose it is. Raises Rejected
        CASE_NOT_OPEN; of two who assign it at once one gets that.
        """
        [settled] = self._settle([self._movements.assign(key, transaction_id, by=by, note=note)])
        return settled

    def _ingest(self, movements: Sequence[Movement]) -> list[Settled]:
        known = self._movements.note(movements, clock.now())
        repeated = [
            _again(known[movement.key]) for movement in movements if _changes_nothing(movement, known)
        ]
        news = [movement for movement in movements if not _changes_nothing(movement, known)]
        return repeated + (self._settle(news) if news else [])

    def _settle(self, movements: Sequence[Movement]) -> list[Settled]:
        places = self._places(movements)
        act = partial(self._try_to_act_on, places=places)
        if min(len(movements), self._max_workers) < 2:
            settled = [act(movement) for movement in movements]
        else:
            with ThreadPoolExecutor(min(self._max_workers, len(movements))) as pool:
                settled = list(pool.map(act, movements))
        self._movements.settle(settled, clock.now())
        left = Counter(str(each.verdict) for each in settled if each.verdict not in FINAL)
        if left:
            _log.warning("money_not_posted", **left)
        return settled

    def _places(self, movements: Sequence[Movement]) -> _Places:
        database = self._ledger.database
        linked = [movement.linked_receipt for movement in movements if movement.linked_receipt]
        named = {m.transaction_id for m in movements if m.transaction_id is not None}
        return _Places(
            receipts=lookups.sessions_of_receipts(database, [m.receipt for m in movements] + linked),
            attempts=lookups.attempts_named(database, named),
            held=self._movements.held(linked) if linked else set(),
        )

    def _try_to_act_on(self, movement: Movement, places: _Places) -> Settled:
        """Act on one movement; a session that cannot be written now must not keep the others from their money."""
        try:
            return self._act_on(movement, places)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - it is kept as new, and said; the worker meets it again
            _log.exception("money_not_acted_on", receipt=movement.receipt)
            return Settled(
                movement, Verdict.NEW, None, "It could not be recorded now, and will be tried again."
            )

    def _act_on(self, movement: Movement, places: _Places) -> Settled:
        if movement.kind == MovementKind.PAYMENT:
            return self._act_on_payment(movement, places)
        if movement.kind == MovementKind.REVERSAL:
            return self._act_on_reversal(movement, places)
        return Settled(movement, Verdict.NOT_OURS)

    def _act_on_payment(self, movement: Movement, places: _Places) -> Settled:
        holder = places.receipts.get(movement.receipt)
        named = places.attempts.get(movement.transaction_id) if movement.transaction_id is not None else None
        if holder is None and named is None:
            return Settled(movement, Verdict.UNKNOWN, None, "No session has this receipt or this reference.")
        if holder is not None and named is not None and named.session_id != holder:
            return _of_another(movement, holder, named)
        session = self._ledger.session(holder or named.session_id)  # type: ignore[union-attr]  # one of them is there
        credit = session.credits.get(movement.receipt)
        if credit is not None:
            return self._record(movement, session, credit.attempt, Verdict.POSTED)
        if named is None:
            return Settled(
                movement, Verdict.UNKNOWN, session.id, "Its receipt is claimed, and no attempt is named."
            )
        return self._credit(movement, session, named)

    def _credit(self, movement: Movement, session: PaymentSession, named: NamedAttempt) -> Settled:
        requested_at = session.attempts[named.attempt].requested_at
        if movement.happened_at < requested_at - EARLIER_BY_AT_MOST:
            return Settled(
                movement, Verdict.UNKNOWN, None, "It was paid before the attempt that it names was made."
            )
        if not self._ledger.reserve_receipt(movement.receipt, session.id):
            holders = lookups.sessions_of_receipts(self._ledger.database, [movement.receipt])
            return _of_another(movement, holders[movement.receipt], named)
        return self._record(movement, session, named.attempt, Verdict.CREDITED)

    def _record(self, movement: Movement, session: PaymentSession, attempt: int, verdict: Verdict) -> Settled:
        payment = Payment(
            attempt, movement.receipt, movement.amount_cents, movement.evidence, movement.happened_at
        )
        was_open = session.attempts[attempt].is_open
        session, _ = self._ledger.decide(
            session.id, lambda session: session.record_payment(payment, at=clock.now()), known=session
        )
        if was_open and not session.attempts[attempt].is_open:
            self._phone_locks.release(session.id, session.attempts[attempt].transaction_id)
        known_cents = session.credits[movement.receipt].amount_cents
        if known_cents != movement.amount_cents:
            told = f"{movement.amount_cents} cents, where {known_cents} cents are known."
            return Settled(movement, Verdict.AMOUNT_DIFFERS, session.id, told)
        return Settled(movement, verdict, session.id)

    def _act_on_reversal(self, movement: Movement, places: _Places) -> Settled:
        original = movement.linked_receipt
        session_id = places.receipts.get(original) if original else None
        if original is None or session_id is None:
            if original in places.held:
                self._movements.close_returned(original, reversal=movement.receipt, now=clock.now())
            return Settled(movement, Verdict.NOT_OURS, None, "It is not of a payment that a session has.")
        session = self._ledger.session(session_id)
        refund = _refund_of(session, original, movement.amount_cents)
        if refund is None:
            told = f"{original} went back, and no refund of this amount was due."
            return Settled(movement, Verdict.REVERSAL_UNEXPECTED, session_id, told)
        if refund.state == RefundState.REFUNDED:
            return self._compare_way_back(movement, session_id, refund)
        self._ledger.decide(
            session_id,
            lambda session: session.record_refund(
                refund.number, reversal_receipt=movement.receipt, means="statement", at=clock.now()
            ),
            known=session,
        )
        return Settled(movement, Verdict.REFUND_SETTLED, session_id)

    def _compare_way_back(self, movement: Movement, session_id: UUID, refund: Refund) -> Settled:
        """A refund that is done: by this reversal, or did the money go back twice?"""
        means, reversal_receipt = lookups.way_back(self._ledger.database, session_id, refund.number) or (
            "",
            None,
        )
        if means == "by_hand" or reversal_receipt not in (None, movement.receipt):
            told = f"{movement.linked_receipt} went back, and its refund is known to have gone back in another way."
            return Settled(movement, Verdict.REVERSAL_UNEXPECTED, session_id, told)
        return Settled(movement, Verdict.REFUND_SETTLED, session_id)


def _batches(movements: Iterable[Movement]) -> Iterator[list[Movement]]:
    """Payments first: what goes back must find the payment that it belongs to."""
    everything = list(movements)
    for kind in MovementKind:
        waiting = iter([movement for movement in everything if movement.kind == kind])
        while batch := list(islice(waiting, AT_ONCE)):
            yield batch


def _changes_nothing(movement: Movement, known: dict[str, Settled]) -> bool:
    before = known[movement.key]
    return (
        before.verdict in FINAL
        and before.movement.amount_cents == movement.amount_cents
        and not movement.evidence.is_better_than(before.movement.evidence)
    )


def _again(before: Settled) -> Settled:
    done = before.verdict in (Verdict.CREDITED, Verdict.REFUND_SETTLED)
    return replace(before, verdict=Verdict.POSTED) if done else before


def _of_another(movement: Movement, holder: UUID, named: NamedAttempt) -> Settled:
    told = (
        f"Its reference names session {named.session_id}, and session {holder} was credited with its receipt."
    )
    return Settled(movement, Verdict.KNOWN_ELSEWHERE, holder, told)


def _refund_of(session: PaymentSession, receipt: str, amount_cents: int) -> Refund | None:
    """The refund that a reversal of this receipt is the way back of: one that is still due before one that is done."""
    fitting = [r for r in session.refunds.values() if (r.receipt, r.amount_cents) == (receipt, amount_cents)]
    return min(fitting, key=lambda refund: refund.state == RefundState.REFUNDED, default=None)

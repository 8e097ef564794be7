"""The one matcher: a movement of money is matched to an attempt by receipt or by our own reference.

Never by the amount alone: two buyers who owe the same are common, and money credited to the wrong one is lost to both.
What matches nothing is kept as a case for an operator.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import Payment, Reversal, ReversalMeaning
from ledger.store import metadata
from ledger.store.metadata import caused_by
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation import lookups
from payments.reconciliation.lookups import NamedAttempt
from payments.reconciliation.movements import (
    FINAL,
    MatchResult,
    MatchVerdict,
    Movement,
    MovementKind,
    Movements,
)
from payments.reconciliation.transactions import is_too_long

BATCH_SIZE = 500
"""How many movements are stored and matched together."""

MAX_WORKERS = 6
"""Sessions are written side by side, because each waits for the disk by itself."""

MAX_EARLIER = timedelta(hours=4)
"""A payment older than the attempt it names is another's: numbers of transactions begin anew with a new database.

Wide enough for the time zone of a pulled payment, which is not documented."""

UNPROCESSED_AFTER = timedelta(minutes=1)

_LEFT = (MatchVerdict.NEW, MatchVerdict.UNKNOWN, MatchVerdict.NOT_OURS)
"""Of a payment that a session has by now, or its reversal: nothing came of it yet."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the movements of a batch may belong to."""

    session_by_receipt: dict[str, UUID]
    attempt_by_transaction: dict[int, NamedAttempt]
    unmatched_receipts: set[str]

    def attempt_named_by(self, movement: Movement) -> NamedAttempt | None:
        number = movement.transaction_id
        return None if number is None else self.attempt_by_transaction.get(number)


class Matcher:
    """Matches movements to sessions. Safe to share between threads, and every step may be repeated.

    `max_workers` is how many movements are matched at once: with one, nothing runs in another thread.
    """

    def __init__(
        self, ledger: Ledger, phone_locks: PhoneLocks, movements: Movements, *, max_workers: int = MAX_WORKERS
    ) -> None:
        self._max_workers = max_workers
        self._ledger = ledger
        self._phone_locks = phone_locks
        self._movements = movements

    def ingest(self, movements: Iterable[Movement]) -> list[MatchResult]:
        """Store movements and match the new ones; return the result of each, in no order.

        A known movement that agrees is POSTED again and changes nothing. Raises Unavailable where the database does
        not answer; then what was not matched is stored, and is matched by a repeat or by the worker.
        """
        results: list[MatchResult] = []
        for batch in _batches(movements):
            left = batch
            while left:
                by_key = {movement.key: movement for movement in reversed(left)}
                results += self._ingest(list(by_key.values()))
                left = [movement for movement in left if by_key[movement.key] is not movement]
        return results

    def act_on_unprocessed(self, limit: int = BATCH_SIZE) -> int:
        """Match movements that a process stored before it died; return for how many that worked."""
        results = self._match(self._movements.unprocessed(clock.now() - UNPROCESSED_AFTER, limit))
        return sum(result.verdict != MatchVerdict.NEW for result in results)

    def act_on_claimed(self, limit: int = BATCH_SIZE) -> int:
        """Match payments whose receipt is claimed by now, and their reversals; return for how many that worked.

        The C2B notice of a till names no attempt of ours, and may arrive before the callback. So may the reversal.
        """
        results = self._match(self._movements.claimed_meanwhile(limit))
        return sum(result.verdict not in _LEFT for result in results)

    def allocate(self, key: str, transaction_id: int, *, by: str, note: str) -> MatchResult:
        """Match an unmatched payment to the attempt that an operator names, as if its payer had named it.

        Its receipt and its amount are M-Pesa's own. Raises Rejected CASE_NOT_OPEN; of two operators at once, one gets
        that.
        """
        [result] = self._match([self._movements.allocate(key, transaction_id, by=by, note=note)])
        return result

    def _ingest(self, movements: Sequence[Movement]) -> list[MatchResult]:
        known = self._movements.store(movements, clock.now())
        repeated = [
            _posted_again(known[movement.key])
            for movement in movements
            if _changes_nothing(movement, known[movement.key])
        ]
        news = [movement for movement in movements if not _changes_nothing(movement, known[movement.key])]
        return repeated + self._match(news)

    def _match(self, movements: Sequence[Movement]) -> list[MatchResult]:
        if not movements:
            return []
        batch, cause = self._look_up(movements), metadata.current()  # Threads of a pool do not inherit it.
        match = partial(self._try_to_match_one, batch=batch, cause=cause)
        if min(len(movements), self._max_workers) < 2:
            results = [match(movement) for movement in movements]
        else:
            with ThreadPoolExecutor(min(self._max_workers, len(movements))) as pool:
                results = list(pool.map(match, movements))
        self._movements.store_results(results, clock.now())
        open_results = Counter(str(result.verdict) for result in results if result.verdict not in FINAL)
        if open_results:
            _log.warning("movements_not_posted", **open_results)
        return results

    def _look_up(self, movements: Sequence[Movement]) -> _Batch:
        database = self._ledger.database
        linked = [movement.linked_receipt for movement in movements if movement.linked_receipt]
        named = {m.transaction_id for m in movements if m.transaction_id is not None}
        return _Batch(
            session_by_receipt=lookups.sessions_of_receipts(
                database, [m.receipt for m in movements] + linked
            ),
            attempt_by_transaction=lookups.attempts_named(database, named),
            unmatched_receipts=self._movements.unmatched(linked) if linked else set(),
        )

    def _try_to_match_one(self, movement: Movement, batch: _Batch, cause: Mapping[str, Any]) -> MatchResult:
        """Match one movement; a session that cannot be written now must not hold up the others."""
        try:
            with caused_by(**cause):
                return self._match_one(movement, batch)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - it is stored as new and logged; the worker matches it again
            _log.exception("movement_not_matched", receipt=movement.receipt)
            return MatchResult(
                movement, MatchVerdict.NEW, detail="It could not be recorded now, and will be tried again."
            )

    def _match_one(self, movement: Movement, batch: _Batch) -> MatchResult:
        if movement.kind == MovementKind.PAYMENT:
            return self._match_payment(movement, batch)
        if movement.kind == MovementKind.REVERSAL:
            return self._match_reversal(movement, batch)
        return MatchResult(movement, MatchVerdict.NOT_OURS)

    def _match_payment(self, movement: Movement, batch: _Batch) -> MatchResult:
        holder, named = batch.session_by_receipt.get(movement.receipt), batch.attempt_named_by(movement)
        session_id = holder or (named.session_id if named else None)
        if session_id is None:
            detail = "No session has this receipt or this reference."
            if is_too_long(movement.reference):
                detail = "Its reference is longer than M-Pesa takes, so it names no attempt."
                _log.warning("reference_too_long", receipt=movement.receipt)
            return MatchResult(movement, MatchVerdict.UNKNOWN, detail=detail)
        if named is not None and named.session_id != session_id:
            return _credited_elsewhere(movement, holder=session_id, named=named)
        session = self._ledger.session(session_id)
        credit = session.credits.get(movement.receipt)
        if credit is not None:
            return self._record(movement, session, credit.attempt, MatchVerdict.POSTED)
        if named is not None:
            return self._credit(movement, session, named)
        detail = "Its receipt is claimed, and no attempt is named."
        return MatchResult(movement, MatchVerdict.UNKNOWN, session_id=session_id, detail=detail)

    def _credit(self, movement: Movement, session: PaymentSession, named: NamedAttempt) -> MatchResult:
        requested_at = session.attempts[named.attempt].requested_at
        if movement.happened_at < requested_at - MAX_EARLIER:
            detail = "It was paid before the attempt that it names was made."
            return MatchResult(movement, MatchVerdict.UNKNOWN, detail=detail)
        if not self._ledger.reserve_receipt(movement.receipt, session.id):
            holders = lookups.sessions_of_receipts(self._ledger.database, [movement.receipt])
            return _credited_elsewhere(movement, holder=holders[movement.receipt], named=named)
        return self._record(movement, session, named.attempt, MatchVerdict.CREDITED)

    def _record(
        self, movement: Movement, session: PaymentSession, attempt: int, verdict: MatchVerdict
    ) -> MatchResult:
        payment = Payment(
            attempt=attempt,
            receipt=movement.receipt,
            amount_cents=movement.amount_cents,
            evidence=movement.evidence,
            paid_at=movement.happened_at,
        )
        was_open = session.attempts[attempt].is_open
        command = partial(PaymentSession.record_payment, payment=payment, at=clock.now())
        session, _ = self._ledger.decide(session.id, command, known=session)
        if was_open:
            self._phone_locks.release_if_ended(session, attempt)
        known_cents = session.credits[movement.receipt].amount_cents
        if known_cents != movement.amount_cents:
            detail = f"{movement.amount_cents} cents, where {known_cents} cents are known."
            return MatchResult(movement, MatchVerdict.AMOUNT_DIFFERS, session_id=session.id, detail=detail)
        return MatchResult(movement, verdict, session_id=session.id)

    def _match_reversal(self, movement: Movement, batch: _Batch) -> MatchResult:
        receipt = movement.linked_receipt
        session_id = batch.session_by_receipt.get(receipt) if receipt else None
        if receipt is None or session_id is None:
            if receipt in batch.unmatched_receipts:
                self._movements.close_returned(receipt, reversal=movement.receipt, now=clock.now())
            detail = "The reversed payment does not belong to any session."
            return MatchResult(movement, MatchVerdict.NOT_OURS, detail=detail)
        reversal = Reversal(
            receipt=receipt,
            amount_cents=movement.amount_cents,
            reversal_receipt=movement.receipt if movement.receipt != receipt else None,
            evidence=movement.evidence,
            reversed_at=movement.happened_at,
        )
        command = partial(PaymentSession.record_reversal, reversal=reversal, at=clock.now())
        session, meaning = self._ledger.decide(session_id, command)
        if receipt not in session.credits:  # It is reserved, and will be credited in a moment.
            return MatchResult(
                movement, MatchVerdict.NOT_OURS, detail="The reversed payment is not recorded yet."
            )
        if meaning == ReversalMeaning.REFUND:
            return MatchResult(movement, MatchVerdict.REFUND_SETTLED, session_id=session_id)
        if meaning == ReversalMeaning.UNASKED and self._movements.is_known_reversal(movement):
            return MatchResult(movement, MatchVerdict.POSTED, session_id=session_id)
        detail = _describe_reversal(receipt, session, meaning)
        return MatchResult(movement, MatchVerdict.REVERSAL_UNEXPECTED, session_id=session_id, detail=detail)


def _batches(movements: Iterable[Movement]) -> Iterator[list[Movement]]:
    """Payments first: a reversal must find the payment that it belongs to."""
    everything = list(movements)
    for kind in MovementKind:
        waiting = iter([movement for movement in everything if movement.kind == kind])
        while batch := list(islice(waiting, BATCH_SIZE)):
            yield batch


def _changes_nothing(movement: Movement, known: MatchResult) -> bool:
    return (
        known.verdict in FINAL
        and known.movement.amount_cents == movement.amount_cents
        and not movement.evidence.is_better_than(known.movement.evidence)
    )


def _posted_again(known: MatchResult) -> MatchResult:
    is_recorded = known.verdict in (MatchVerdict.CREDITED, MatchVerdict.REFUND_SETTLED)
    return replace(known, verdict=MatchVerdict.POSTED) if is_recorded else known


def _credited_elsewhere(movement: Movement, *, holder: UUID, named: NamedAttempt) -> MatchResult:
    detail = (
        f"Its reference names session {named.session_id}, and session {holder} was credited with its receipt."
    )
    return MatchResult(movement, MatchVerdict.KNOWN_ELSEWHERE, session_id=holder, detail=detail)


def _describe_reversal(receipt: str, session: PaymentSession, meaning: ReversalMeaning) -> str:
    if meaning == ReversalMeaning.UNCLEAR:
        return f"{receipt} was reversed, which is neither a refund nor a sum that can have gone back."
    order = f"after order {session.order[1]}" if session.order else "before there was an order"
    return f"{receipt} was reversed {order}, and nobody here asked for it."

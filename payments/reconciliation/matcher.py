"""The one matcher: a movement of money is matched to an attempt by receipt or by our own reference.

Never by the amount alone: two buyers who owe the same are common, and money credited to the wrong one is lost to both.
What matches nothing is kept as a case for an operator.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import Payment, Reversal, ReversalMeaning
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
from payments.reconciliation.session_batch import BATCH_SIZE, SessionBatch
from payments.reconciliation.transactions import is_too_long

MAX_WORKERS = 2
"""Batches are matched side by side: while one waits for the database, another is decided on."""

MAX_TRIES = 5
"""Of a movement whose session could not be written with the others."""

MAX_EARLIER = timedelta(hours=4)
"""A payment older than the attempt it names is another's: numbers of transactions begin anew with a new database.

Wide enough for the time zone of a pulled payment, which is not documented."""

UNPROCESSED_AFTER = timedelta(minutes=1)

_LEFT = (MatchVerdict.NEW, MatchVerdict.UNKNOWN, MatchVerdict.NOT_OURS)
"""Of a payment that a session has by now, or its reversal: nothing came of it yet."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """What the movements of a batch may belong to, and the attempts that were open before they were matched."""

    session_by_receipt: dict[str, UUID]
    attempt_by_transaction: dict[int, NamedAttempt]
    unmatched_receipts: set[str]
    sessions: SessionBatch = field(init=False)
    session_by_claimed_receipt: dict[str, UUID] = field(default_factory=dict)
    were_open: list[tuple[PaymentSession, int]] = field(default_factory=list)

    def attempt_named_by(self, movement: Movement) -> NamedAttempt | None:
        number = movement.transaction_id
        return None if number is None else self.attempt_by_transaction.get(number)

    def session_of(self, movement: Movement) -> UUID | None:
        """Return the session that a movement belongs to, as far as is known."""
        if movement.kind == MovementKind.OTHER:
            return None
        if movement.kind == MovementKind.REVERSAL:
            return self.session_by_receipt.get(movement.linked_receipt or "")
        named = self.attempt_named_by(movement)
        return self.session_by_receipt.get(movement.receipt) or (named.session_id if named else None)


class Matcher:
    """Matches movements to sessions. Safe to share between threads, and every step may be repeated.

    `max_workers` is how many batches are matched at once: with one, nothing runs in another thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        phone_locks: PhoneLocks,
        movements: Movements,
        *,
        max_workers: int = MAX_WORKERS,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._max_workers = max_workers
        self._batch_size = batch_size
        self._ledger = ledger
        self._phone_locks = phone_locks
        self._movements = movements

    def ingest(self, movements: Iterable[Movement]) -> list[MatchResult]:
        """Store movements and match the new ones; return the result of each, in no order.

        A known movement that agrees is POSTED again and changes nothing. Raises Unavailable where the database does
        not answer; then what was not matched is stored, and is matched by a repeat or by the worker.
        """
        return list(chain.from_iterable(self.ingest_in_batches(movements)))

    def ingest_in_batches(self, movements: Iterable[Movement]) -> Iterator[list[MatchResult]]:
        """Do what `ingest` does; yield the results of each batch when it is written."""
        for apart in _apart(movements):
            batches = [
                apart[start : start + self._batch_size] for start in range(0, len(apart), self._batch_size)
            ]
            if min(len(batches), self._max_workers) < 2:
                yield from map(self._ingest, batches)
                continue
            with ThreadPoolExecutor(self._max_workers, thread_name_prefix="matching") as pool:
                waiting = deque[Future[list[MatchResult]]]()
                for batch in batches:
                    if len(waiting) == self._max_workers:
                        yield waiting.popleft().result()
                    # Threads of a pool do not inherit what their events are caused by.
                    waiting.append(pool.submit(copy_context().run, self._ingest, batch))
                while waiting:
                    yield waiting.popleft().result()

    def act_on_unprocessed(self, limit: int = BATCH_SIZE) -> int:
        """Match movements that a process stored before it died; return for how many that worked."""
        self._movements.sign_those_from_before(limit)
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
        attempts = self._attempts_named_by(movements)
        known = self._movements.store(movements, clock.now(), attempts)
        repeated = [
            _posted_again(known[movement.key])
            for movement in movements
            if _changes_nothing(movement, known[movement.key])
        ]
        news = [movement for movement in movements if not _changes_nothing(movement, known[movement.key])]
        return repeated + self._match(news, attempts)

    def _match(
        self, movements: Sequence[Movement], attempts: dict[int, NamedAttempt] | None = None
    ) -> list[MatchResult]:
        """Match movements; `attempts` are those that they name, where the caller has looked them up."""
        if not movements:
            return []
        results, failures = self._match_together(movements, attempts)
        results += [self._match_alone(movement) for movement, _ in failures]
        self._movements.store_results(results, clock.now())
        open_results = Counter(str(result.verdict) for result in results if result.verdict not in FINAL)
        if open_results:
            _log.warning("movements_not_posted", **open_results)
        return results

    def _match_together(
        self, movements: Sequence[Movement], attempts: dict[int, NamedAttempt] | None = None
    ) -> tuple[list[MatchResult], list[tuple[Movement, Exception]]]:
        """Match movements, and write their sessions in one commit; return the results, and what failed with why.

        A session that cannot be decided on or written must not hold up the others.
        """
        batch = self._look_up(movements, attempts)
        results, failed = {}, dict[UUID | None, Exception]()
        for movement in movements:
            try:
                results[movement.key] = self._match_one(movement, batch)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - it is returned, and the movement is matched again
                failed[batch.session_of(movement)] = error
        failed |= dict(batch.sessions.write(but=failed).items())
        self._phone_locks.release_all_ended(each for each in batch.were_open if each[0].id not in failed)
        failures = [(m, failed[batch.session_of(m)]) for m in movements if batch.session_of(m) in failed]
        for movement, _ in failures:
            results.pop(movement.key, None)
        return list(results.values()), failures

    def _match_alone(self, movement: Movement) -> MatchResult:
        """Match a movement that could not be matched with others; where that fails too, the worker tries again."""
        error = None
        for _ in range(MAX_TRIES):
            results, failures = self._match_together([movement])
            if not failures:
                return results[0]
            [(_, error)] = failures
        _log.error("movement_not_matched", receipt=movement.receipt, exc_info=error)
        detail = "It could not be recorded now, and will be tried again."
        return MatchResult(movement, MatchVerdict.NEW, detail=detail)

    def _attempts_named_by(self, movements: Sequence[Movement]) -> dict[int, NamedAttempt]:
        named = {m.transaction_id for m in movements if m.transaction_id is not None}
        return lookups.attempts_named(self._ledger.database, named)

    def _look_up(self, movements: Sequence[Movement], attempts: dict[int, NamedAttempt] | None) -> _Batch:
        database = self._ledger.database
        linked = [movement.linked_receipt for movement in movements if movement.linked_receipt]
        batch = _Batch(
            session_by_receipt=lookups.sessions_of_receipts(
                database, [m.receipt for m in movements] + linked
            ),
            attempt_by_transaction=self._attempts_named_by(movements) if attempts is None else attempts,
            unmatched_receipts=self._movements.unmatched(linked) if linked else set(),
        )
        known = {batch.session_of(movement) for movement in movements}
        batch.sessions = SessionBatch(self._ledger, {each for each in known if each is not None})
        self._claim_receipts(movements, batch)
        return batch

    def _claim_receipts(self, movements: Iterable[Movement], batch: _Batch) -> None:
        """Claim the receipts of payments that no session has yet for the sessions that they name."""
        claims = {
            movement.receipt: named.session_id
            for movement in movements
            if movement.kind == MovementKind.PAYMENT
            and (named := batch.attempt_named_by(movement))
            and named.session_id == batch.session_of(movement)
            and named.session_id in batch.sessions
            and movement.receipt not in (session := batch.sessions[named.session_id]).credits
            and not _is_too_early(movement, session, named)
        }
        if claims:
            batch.session_by_claimed_receipt = self._ledger.reserve_receipts(claims)

    def _match_one(self, movement: Movement, batch: _Batch) -> MatchResult:
        if movement.kind == MovementKind.PAYMENT:
            return self._match_payment(movement, batch)
        if movement.kind == MovementKind.REVERSAL:
            return self._match_reversal(movement, batch)
        return MatchResult(movement, MatchVerdict.NOT_OURS)

    def _match_payment(self, movement: Movement, batch: _Batch) -> MatchResult:
        session_id, named = batch.session_of(movement), batch.attempt_named_by(movement)
        if session_id is None:
            detail = "No session has this receipt or this reference."
            if is_too_long(movement.reference):
                detail = "Its reference is longer than M-Pesa takes, so it names no attempt."
                _log.warning("reference_too_long", receipt=movement.receipt)
            return MatchResult(movement, MatchVerdict.UNKNOWN, detail=detail)
        if named is not None and named.session_id != session_id:
            return _credited_elsewhere(movement, holder=session_id, named=named)
        session = batch.sessions[session_id]
        credit = session.credits.get(movement.receipt)
        if credit is not None:
            return _record(movement, session, credit.attempt, MatchVerdict.POSTED, batch)
        if named is not None:
            return _credit(movement, session, named, batch)
        detail = "Its receipt is claimed, and no attempt is named."
        return MatchResult(movement, MatchVerdict.UNKNOWN, session_id=session_id, detail=detail)

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
        session = batch.sessions[session_id]
        meaning = session.record_reversal(reversal, at=clock.now())
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


def _apart(movements: Iterable[Movement]) -> Iterator[list[Movement]]:
    """Yield movements that may be matched in any order: none twice; payments first, which their reversals must find."""
    everything = list(movements)
    for kind in MovementKind:
        left = [movement for movement in everything if movement.kind == kind]
        while left:
            by_key = {movement.key: movement for movement in reversed(left)}
            yield list(reversed(by_key.values()))
            left = [movement for movement in left if by_key[movement.key] is not movement]


def _credit(movement: Movement, session: PaymentSession, named: NamedAttempt, batch: _Batch) -> MatchResult:
    if _is_too_early(movement, session, named):
        detail = "It was paid before the attempt that it names was made."
        return MatchResult(movement, MatchVerdict.UNKNOWN, detail=detail)
    holder = batch.session_by_claimed_receipt[movement.receipt]
    if holder != session.id:
        return _credited_elsewhere(movement, holder=holder, named=named)
    return _record(movement, session, named.attempt, MatchVerdict.CREDITED, batch)


def _record(
    movement: Movement, session: PaymentSession, attempt: int, verdict: MatchVerdict, batch: _Batch
) -> MatchResult:
    payment = Payment(
        attempt=attempt,
        receipt=movement.receipt,
        amount_cents=movement.amount_cents,
        evidence=movement.evidence,
        paid_at=movement.happened_at,
    )
    if session.attempts[attempt].is_open:
        batch.were_open.append((session, attempt))
    session.record_payment(payment, at=clock.now())
    known_cents = session.credits[movement.receipt].amount_cents
    if known_cents != movement.amount_cents:
        detail = f"{movement.amount_cents} cents, where {known_cents} cents are known."
        return MatchResult(movement, MatchVerdict.AMOUNT_DIFFERS, session_id=session.id, detail=detail)
    return MatchResult(movement, verdict, session_id=session.id)


def _is_too_early(movement: Movement, session: PaymentSession, named: NamedAttempt) -> bool:
    return movement.happened_at < session.attempts[named.attempt].requested_at - MAX_EARLIER


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

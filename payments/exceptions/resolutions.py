"""What operators do about the cases of the work list. Who closed a case, and with which note, is kept for ever."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected, wrong_fields
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from payments.exceptions.work_list import WHAT_CAN_BE_DONE, Kind, Means
from payments.fulfilment.order_process import OrderMaker
from payments.inbox.inbox import Inbox
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import FINAL, Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.refunds.notes import parse_note
from payments.worker import event_processor
from projections.cases import Subject

Act = Callable[[str, str, str], None]


class CaseService:
    """Closes cases, allocates payments, retries messages and events. Safe to share between threads.

    Cases are named as in the work list, by kind and id. Raises Rejected CASE_NOT_OPEN where there is no such case, or
    another operator was first; Rejected CASE_NEEDS_MORE where the action does not apply to the kind of case; and
    InvalidValue for the note.
    """

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        movements: Movements,
        pull_progress: PullProgressStore,
        matcher: Matcher,
        order_maker: OrderMaker,
    ) -> None:
        self._ledger = ledger
        self._order_maker = order_maker
        self._matcher = matcher
        self._inbox = inbox
        self._movements = movements
        self._pull_progress = pull_progress
        self._close: dict[Kind, Act] = {
            Kind.CONTRADICTION: self._close_discrepancy,
            Kind.ATTEMPT_IN_DOUBT: self._give_up_attempt,
            Kind.MESSAGE_DEAD_LETTERED: self._close_message,
            Kind.EVENT_DEAD_LETTERED: self._close_event,
            Kind.MONEY_UNKNOWN: self._close_movement,
            Kind.MONEY_CLAIMED_TWICE: self._close_movement,
            Kind.MONEY_WENT_BACK: self._close_movement,
            Kind.PULL_GAP: self._close_gap,
        }

    def close(self, kind: Kind, case_id: str, *, by: str, note: str) -> None:
        """Close a case with a note of what was found or done."""
        _require(kind, Means.CLOSE)
        self._close[kind](case_id, by, parse_note(note, "note"))

    def retry(self, kind: Kind, case_id: str) -> None:
        """Let the worker try a dead-lettered message or event again, as if for the first time."""
        _require(kind, Means.RETRY)
        if kind == Kind.MESSAGE_DEAD_LETTERED:
            done = self._inbox.retry(_uuid(case_id), clock.now())
        else:
            done = event_processor.retry_dead_lettered(self._ledger.database, *_event_of(case_id))
        if not done:
            raise _not_open()

    def assign(self, kind: Kind, case_id: str, session: str, *, by: str) -> None:
        """Allocate an unmatched payment to a session.

        It becomes the receipt of a payment without one, settles an attempt in doubt, or is one payment more, for which
        a refund is due. Raises as above, InvalidValue for the session's id, and NotFound SESSION_NOT_FOUND.
        """
        _require(kind, Means.ASSIGN)
        payee = self._ledger.session(_session_id(session))
        attempt = _likeliest_attempt(payee)
        if attempt is None:
            raise Rejected("CASE_NEEDS_MORE", "This session has no payment attempt; check the session id.")
        result = self._matcher.allocate(
            _movement_key(case_id),
            attempt.transaction_id,
            by=by,
            note=f"Assigned to session {payee.id}, attempt {attempt.number}.",
        )
        if result.verdict not in FINAL and result.detail:
            raise Rejected("CASE_NEEDS_MORE", result.detail)

    def refund(self, kind: Kind, case_id: str, *, by: str, note: str) -> None:
        """Give up the order of a session that was paid and got none: the money is due back.

        Raises as above, and Unavailable while the shop does not say whether it has made the order.
        """
        _require(kind, Means.MONEY_BACK)
        note = parse_note(note, "note")
        if kind == Kind.ORDER_MISSING:
            session_id, _ = _subject_of(case_id, Subject.ORDER)
        else:
            name, session_id, _ = _event_of(case_id)
            if name != OrderMaker.name:
                raise Rejected(
                    "CASE_NEEDS_MORE", "Only an order can be given up; this event is about something else."
                )
        self._order_maker.give_up(session_id, by=by, note=note)

    def _close_discrepancy(self, case_id: str, by: str, note: str) -> None:
        session_id, number = _subject_of(case_id, Subject.DISCREPANCY)
        command = partial(
            PaymentSession.close_discrepancy, contradiction=number, closed_by=by, note=note, at=clock.now()
        )
        self._ledger.decide(session_id, command)

    def _give_up_attempt(self, case_id: str, by: str, note: str) -> None:
        session_id, number = _subject_of(case_id, Subject.ATTEMPT)
        command = partial(
            PaymentSession.give_up_attempt, attempt=number, recorded_by=by, note=note, at=clock.now()
        )
        self._ledger.decide(session_id, command)

    def _close_message(self, case_id: str, by: str, note: str) -> None:
        if not self._inbox.close(_uuid(case_id), closed_by=by, note=note, now=clock.now()):
            raise _not_open()

    def _close_event(self, case_id: str, by: str, note: str) -> None:
        name, session_id, version = _event_of(case_id)
        database = self._ledger.database
        if not event_processor.close_dead_lettered(
            database, name, session_id, version, closed_by=by, note=note
        ):
            raise _not_open()

    def _close_movement(self, case_id: str, by: str, note: str) -> None:
        self._movements.close(_movement_key(case_id), closed_by=by, note=note, now=clock.now())

    def _close_gap(self, case_id: str, by: str, note: str) -> None:
        if not self._pull_progress.close_gap(_uuid(case_id), closed_by=f"{by}: {note}", now=clock.now()):
            raise _not_open()


def _require(kind: Kind, means: Means) -> None:
    advice = WHAT_CAN_BE_DONE[kind]
    if means not in advice.means:
        raise Rejected(
            "CASE_NEEDS_MORE", f"This action does not resolve this kind of case. {advice.description}"
        )


def _likeliest_attempt(session: PaymentSession) -> Attempt | None:
    """Return the attempt that an unmatched payment likely answers: paid without a receipt, else open, else last."""

    def likelihood(attempt: Attempt) -> tuple[bool, bool, int]:
        lacks_receipt = attempt.state == AttemptState.PAID and attempt.receipt is None
        return lacks_receipt, attempt.is_open, attempt.number

    return max(session.attempts.values(), key=likelihood, default=None)


def _session_id(text: str) -> UUID:
    try:
        return UUID(text.strip())
    except ValueError:
        description = "Write the id of a session, such as 550e8400-e29b-41d4-a716-446655440000."
        raise wrong_fields({"session": [description]}) from None


def _movement_key(case_id: str) -> str:
    return case_id.replace(".", " ", 1)


def _not_open() -> Rejected:
    return Rejected("CASE_NOT_OPEN", "There is no such case, or somebody dealt with it already.")


def _parts(case_id: str, count: int) -> list[str]:
    parts = case_id.split(".")
    if len(parts) != count:
        raise _not_open()
    return parts


def _subject_of(case_id: str, expected: Subject) -> tuple[UUID, int]:
    session_id, subject, number = _parts(case_id, 3)
    if subject != expected:
        raise _not_open()
    return _uuid(session_id), _number(number)


def _event_of(case_id: str) -> tuple[str, UUID, int]:
    name, session_id, version = _parts(case_id, 3)
    return name, _uuid(session_id), _number(version)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _not_open() from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _not_open()
    return int(text)

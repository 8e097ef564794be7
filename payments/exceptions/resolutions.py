"""What operators do about the cases of the work list. Who closed a case, and with which note, is kept for ever."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Conflict, LedgerError, NotAllowed, NotFound, Rejected, wrong_fields
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt
from payments.exceptions.candidates import likeliest_attempt, movement_key
from payments.exceptions.next_steps import CLOSED_TOGETHER, WHAT_CAN_BE_DONE, Kind, Means
from payments.exceptions.work_list import UNAUTHENTICATED
from payments.fulfilment.order_process import OrderMaker
from payments.inbox.inbox import Inbox
from payments.operators.four_eyes import Decided, FourEyes
from payments.operators.operator import Operator
from payments.operators.proposals import Decision, Proposal
from payments.operators.stakes import Stakes
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import FINAL, Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.refunds.decisions import APPROVE, RETURNED, RefundService
from payments.refunds.notes import parse_note
from payments.refunds.order_refunds import REFUND_ORDER, OrderRefundService, parse_session_id
from payments.worker import event_processor
from projections.cases import Subject

Act = Callable[[str, str, str], None]

CLOSE, RETRY, ASSIGN, MONEY_BACK = (
    str(means) for means in (Means.CLOSE, Means.RETRY, Means.ASSIGN, Means.MONEY_BACK)
)

MAX_CLOSED_TOGETHER = 100

_OF_MOVEMENTS = frozenset({Kind.MONEY_UNKNOWN, Kind.MONEY_CLAIMED_TWICE, Kind.MONEY_WENT_BACK})


@dataclass(frozen=True, slots=True)
class _AtStake:
    """What a case is about: its session, its money in cents, and the digests of who paid; None where there is none."""

    session_id: UUID | None = None
    amount_cents: int = 0
    payer_digests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClosedTogether:
    """Which of several cases were closed, and why each of the others was not."""

    closed: list[str]
    refused: dict[str, LedgerError]


class CaseService:
    """Closes cases, allocates payments, retries messages and events. Safe to share between threads.

    Cases are named as in the work list, by kind and id. Raises Rejected CASE_NOT_OPEN where there is no such case, or
    another operator was first; Rejected CASE_NEEDS_MORE where the action does not apply to the kind of case;
    InvalidValue for the note; and NotAllowed OWN_PAYMENT for the buyer or the payer. What needs a second person becomes
    a proposal, which is returned, and is itself a case until somebody approves or withdraws it.
    """

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        movements: Movements,
        pull_progress: PullProgressStore,
        matcher: Matcher,
        order_maker: OrderMaker,
        stakes: Stakes,
        four_eyes: FourEyes,
        refunds: RefundService,
        order_refunds: OrderRefundService,
    ) -> None:
        self._ledger = ledger
        self._order_maker = order_maker
        self._matcher = matcher
        self._inbox = inbox
        self._movements = movements
        self._pull_progress = pull_progress
        self._stakes = stakes
        self._four_eyes = four_eyes
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
        self._refunds = refunds
        self._order_refunds = order_refunds
        self._do: dict[str, Callable[[Decision, str], None]] = {
            CLOSE: self._carry_out_close,
            RETRY: self._carry_out_retry,
            ASSIGN: self._carry_out_assignment,
            MONEY_BACK: self._carry_out_giving_up,
        }

    def close(self, kind: Kind, case_id: str, *, by: Operator, note: str) -> Proposal | None:
        """Close a case with a note of what was found or done."""
        _require(kind, Means.CLOSE)
        decision = self._decision(CLOSE, kind, case_id, note=parse_note(note, "note"))
        if kind in _OF_MOVEMENTS:
            return self._decide(decision, by)
        self._decide_alone(decision, by)
        return None

    def close_together(
        self, kind: Kind, case_ids: Sequence[str], *, by: Operator, note: str
    ) -> ClosedTogether:
        """Close several cases of a kind with one note, each as a decision of its own.

        One that is refused does not hold up the others. Raises InvalidValue for the note and for too many cases, and
        Rejected CASE_NEEDS_MORE for a kind about whose cases one decides singly.
        """
        note = parse_note(note, "note")
        if kind not in CLOSED_TOGETHER:
            raise Rejected("CASE_NEEDS_MORE", "Cases of this kind are closed one by one: each is a decision.")
        if not 1 <= len(case_ids) <= MAX_CLOSED_TOGETHER:
            raise wrong_fields({"cases": [f"Name 1 to {MAX_CLOSED_TOGETHER} cases."]})
        closed, refused = list[str](), dict[str, LedgerError]()
        for case_id in dict.fromkeys(case_ids):
            try:
                _require_no_order(kind, case_id)
                self._decide_alone(self._decision(CLOSE, kind, case_id, note=note), by)
                closed.append(case_id)
            except (Rejected, NotAllowed, NotFound, Conflict) as refusal:
                refused[case_id] = refusal
        return ClosedTogether(closed, refused)

    def retry(self, kind: Kind, case_id: str, *, by: Operator) -> None:
        """Let the worker try a dead-lettered message or event again, as if for the first time."""
        _require(kind, Means.RETRY)
        self._decide_alone(self._decision(RETRY, kind, case_id), by)

    def assign(self, kind: Kind, case_id: str, session: str, *, by: Operator) -> Proposal | None:
        """Allocate an unmatched payment to a session.

        It becomes the receipt of a payment without one, settles an attempt in doubt, or is one payment more, for which
        a refund is due. Raises as above, InvalidValue for the session's id, and NotFound SESSION_NOT_FOUND.
        """
        _require(kind, Means.ASSIGN)
        payee = self._ledger.session(parse_session_id(session))
        _require_attempt(payee)
        decision = self._decision(ASSIGN, kind, case_id, session=str(payee.id))
        return self._decide(decision, by)

    def refund(self, kind: Kind, case_id: str, *, by: Operator, note: str) -> None:
        """Give up the order of a session that was paid and got none: the money is due back.

        Raises as above, and Unavailable while the shop does not say whether it has made the order.
        """
        _require(kind, Means.MONEY_BACK)
        decision = self._decision(MONEY_BACK, kind, case_id, note=parse_note(note, "note"))
        if kind == Kind.EVENT_DEAD_LETTERED and _event_of(case_id)[0] != OrderMaker.name:
            raise Rejected(
                "CASE_NEEDS_MORE", "Only an order can be given up; this event is about something else."
            )
        self._decide_alone(decision, by)

    def approve(self, kind: Kind, case_id: str, *, by: Operator) -> None:
        """Carry out what another proposed, as its second person. Raises what the decision raises now."""
        _require(kind, Means.APPROVE)
        proposal = self.proposal(case_id)
        try:
            self._approve(proposal, by)
        except Rejected as refusal:
            self._four_eyes.end_if_moot(proposal, refusal, by)
            raise

    def proposal(self, case_id: str) -> Proposal:
        """Return what waits for a second person. Raises Rejected CASE_NOT_OPEN."""
        return self._four_eyes.find(_uuid(case_id))

    def withdraw(self, kind: Kind, case_id: str, *, by: Operator) -> None:
        """End a proposal without effect."""
        _require(kind, Means.WITHDRAW)
        self._four_eyes.withdraw(self.proposal(case_id), by)

    def _approve(self, proposal: Proposal, by: Operator) -> None:
        if proposal.action in (APPROVE, RETURNED):
            self._refunds.approve_proposal(proposal, by=by)
        elif proposal.action == REFUND_ORDER:
            self._order_refunds.approve_proposal(proposal, by=by)
        else:
            self._check(proposal, by)
            self._carry_out(self._four_eyes.approve(proposal, by))

    def _decide(self, decision: Decision, by: Operator) -> Proposal | None:
        self._check(decision, by)
        decided = self._four_eyes.submit(decision, by)
        if isinstance(decided, Proposal):
            return decided
        self._carry_out(decided)
        return None

    def _decide_alone(self, decision: Decision, by: Operator) -> None:
        self._check(decision, by)
        self._carry_out(self._four_eyes.submit_alone(decision, by))

    def _carry_out(self, decided: Decided) -> None:
        self._do[decided.decision.action](decided.decision, decided.by)
        self._four_eyes.end(decided)

    def _decision(self, action: str, kind: Kind, case_id: str, **arguments: str) -> Decision:
        at_stake = self._at_stake(kind, case_id)
        return Decision(
            action=action,
            subject=f"{kind} {case_id}",
            session_id=at_stake.session_id,
            amount_cents=at_stake.amount_cents,
            arguments={"kind": str(kind), "case_id": case_id, **arguments},
        )

    def _at_stake(self, kind: Kind, case_id: str) -> _AtStake:
        """Return what a case is about. Raises Rejected CASE_NOT_OPEN for a movement that is no open case."""
        if kind in _OF_MOVEMENTS:
            found = self._movements.open_case(movement_key(case_id))
            return _AtStake(found.session_id, found.movement.amount_cents, found.payer_digests)
        if case_id == UNAUTHENTICATED:
            return _AtStake()
        if kind == Kind.MESSAGE_DEAD_LETTERED:
            return _AtStake(self._inbox.session_of(_uuid(case_id)))
        if kind == Kind.EVENT_DEAD_LETTERED:
            return _AtStake(_event_of(case_id)[1])
        if kind == Kind.PULL_GAP:
            return _AtStake()
        return _AtStake(_uuid(_parts(case_id, 3)[0]))

    def _check(self, decision: Decision, by: Operator) -> None:
        kind, case_id = _case_of(decision)
        at_stake = self._at_stake(kind, case_id)
        session_ids = [at_stake.session_id, decision.arguments.get("session")]
        sessions = [self._known_session(UUID(str(each))) for each in session_ids if each is not None]
        known = [session for session in sessions if session is not None]
        self._stakes.refuse_own(by, known, at_stake.payer_digests)

    def _known_session(self, session_id: UUID) -> PaymentSession | None:
        try:
            return self._ledger.session(session_id)
        except NotFound:
            return None

    def _carry_out_close(self, decision: Decision, by: str) -> None:
        kind, case_id = _case_of(decision)
        self._close[kind](case_id, by, decision.arguments["note"])

    def _carry_out_retry(self, decision: Decision, _by: str) -> None:
        kind, case_id = _case_of(decision)
        if kind == Kind.MESSAGE_DEAD_LETTERED:
            done = self._inbox.retry(_uuid(case_id), clock.now())
        else:
            done = event_processor.retry_dead_lettered(self._ledger.database, *_event_of(case_id))
        if not done:
            raise _not_open()

    def _carry_out_giving_up(self, decision: Decision, by: str) -> None:
        assert decision.session_id is not None
        self._order_maker.give_up(decision.session_id, by=by, note=decision.arguments["note"])

    def _carry_out_assignment(self, decision: Decision, by: str) -> None:
        payee = self._ledger.session(UUID(decision.arguments["session"]))
        attempt = _require_attempt(payee)
        result = self._matcher.allocate(
            movement_key(_case_of(decision)[1]),
            attempt.transaction_id,
            by=by,
            note=f"Assigned to session {payee.id}, attempt {attempt.number}.",
        )
        if result.verdict not in FINAL and result.detail:
            raise Rejected("CASE_NEEDS_MORE", result.detail)

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
        if case_id == UNAUTHENTICATED:
            if not self._inbox.close_unauthenticated(clock.now()):
                raise _not_open()
        elif not self._inbox.close(_uuid(case_id), closed_by=by, note=note, now=clock.now()):
            raise _not_open()

    def _close_event(self, case_id: str, by: str, note: str) -> None:
        name, session_id, version = _event_of(case_id)
        database = self._ledger.database
        if not event_processor.close_dead_lettered(
            database, name, session_id, version, closed_by=by, note=note
        ):
            raise _not_open()

    def _close_movement(self, case_id: str, by: str, note: str) -> None:
        self._movements.close(movement_key(case_id), closed_by=by, note=note, now=clock.now())

    def _close_gap(self, case_id: str, by: str, note: str) -> None:
        if not self._pull_progress.close_gap(_uuid(case_id), closed_by=f"{by}: {note}", now=clock.now()):
            raise _not_open()


def _require(kind: Kind, means: Means) -> None:
    advice = WHAT_CAN_BE_DONE[kind]
    if means not in advice.means:
        raise Rejected(
            "CASE_NEEDS_MORE", f"This action does not resolve this kind of case. {advice.description}"
        )


def _require_no_order(kind: Kind, case_id: str) -> None:
    if kind == Kind.EVENT_DEAD_LETTERED and _event_of(case_id)[0] == OrderMaker.name:
        raise Rejected("CASE_NEEDS_MORE", "It is about an order, and so about money: close it by itself.")


def _case_of(decision: Decision) -> tuple[Kind, str]:
    return Kind(decision.arguments["kind"]), decision.arguments["case_id"]


def _require_attempt(session: PaymentSession) -> Attempt:
    attempt = likeliest_attempt(session)
    if attempt is None:
        raise Rejected("CASE_NEEDS_MORE", "This session has no payment attempt; check the session id.")
    return attempt


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

"""Decisions of operators about refunds. Each is an event that names who took it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import RefundState
from ledger.store.listing import Place
from payments.operators.four_eyes import Decided, FourEyes
from payments.operators.operator import Operator
from payments.operators.proposals import Decision, Proposal
from payments.operators.stakes import Stakes
from payments.refunds.notes import parse_note
from projections import refunds
from projections.refunds import PaymentRefund

APPROVE, REFUSE, RETURNED, NOT_SENT = "approve", "refuse", "returned", "not-sent"

_COMMANDS: dict[str, Callable[[str, Any], Callable[..., None]]] = {
    APPROVE: lambda by, _: partial(PaymentSession.approve_refund, approved_by=by),
    REFUSE: lambda by, reason: partial(PaymentSession.refuse_refund, refused_by=by, reason=reason),
    RETURNED: lambda by, note: partial(PaymentSession.record_refund_by_hand, recorded_by=by, note=note),
    NOT_SENT: lambda by, note: partial(PaymentSession.record_refund_not_sent, recorded_by=by, note=note),
}
"""The command of each decision, by who takes it, with the note that it takes."""


class RefundService:
    """Lists refunds and takes decisions about them. Safe to share between threads.

    A decision raises NotFound REFUND_NOT_FOUND, Rejected REFUND_NOT_DUE if it has been taken already (as one
    of two people who decide at once learns), and NotAllowed OWN_PAYMENT for the buyer or the payer. One that needs a
    second person becomes a proposal, which is returned.
    """

    def __init__(self, ledger: Ledger, stakes: Stakes, four_eyes: FourEyes) -> None:
        self._ledger = ledger
        self._stakes = stakes
        self._four_eyes = four_eyes

    def list(
        self, place: Place, *, state: RefundState | None, recorded_as_of: datetime | None = None
    ) -> tuple[int, list[PaymentRefund]]:
        """Return how many refunds there are, in a state or in all, and a page of them, the newest first.

        With `recorded_as_of` each is as it was by what was recorded until then.
        """
        count, rows = refunds.list_refunds(self._ledger.database, place, state=state)
        if recorded_as_of is None:
            return count, rows
        return count, refunds.refunds_as_of(self._ledger.database, self._ledger.macs, rows, recorded_as_of)

    def find(self, session_id: UUID, refund: int) -> PaymentRefund:
        """Return one refund as the log has it. Raises NotFound REFUND_NOT_FOUND."""
        row = refunds.refunds_of(self._ledger.database, session_id).get(refund)
        if row is None:
            raise NotFound("There is no such refund.", code="REFUND_NOT_FOUND")
        return row

    def approve(self, session_id: UUID, refund: int, *, by: Operator) -> Proposal | None:
        """Agree that a sum is sent back through M-Pesa; the worker sends it.

        Raises as above, and Rejected REFUND_WITHOUT_RECEIPT.
        """
        return self._decide(self._decision(APPROVE, session_id, refund), by)

    def refuse(self, session_id: UUID, refund: int, *, by: Operator, reason: str) -> None:
        """Hold a sum for now. Raises as above, and InvalidValue for the reason."""
        note = parse_note(reason, "reason")
        self._decide_alone(self._decision(REFUSE, session_id, refund, note), by)

    def record_by_hand(self, session_id: UUID, refund: int, *, by: Operator, note: str) -> Proposal | None:
        """Record that a sum went back by other means.

        Raises as above, Rejected REFUND_UNDER_WAY while M-Pesa is expected to report its result, and InvalidValue
        for the note.
        """
        note = parse_note(note, "note")
        return self._decide(self._decision(RETURNED, session_id, refund, note), by)

    def record_not_sent(self, session_id: UUID, refund: int, *, by: Operator, note: str) -> None:
        """Record that a sum in doubt did not go back: it is due again. Raises as `record_by_hand` does."""
        note = parse_note(note, "note")
        self._decide_alone(self._decision(NOT_SENT, session_id, refund, note), by)

    def approve_proposal(self, proposal: Proposal, *, by: Operator) -> None:
        """Carry out a decision about a refund that another proposed. Raises as the decision itself does."""
        self._check(proposal, by)
        self._carry_out(self._four_eyes.approve(proposal, by))

    def _decision(self, action: str, session_id: UUID, refund: int, note: str | None = None) -> Decision:
        amount_cents = self.find(session_id, refund).amount_cents
        return refund_decision(action, session_id, refund, amount_cents, note)

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

    def _check(self, decision: Decision, by: Operator) -> None:
        """Raise what the history refuses, too, so that nothing is proposed that cannot be done."""
        assert decision.session_id is not None
        session = self._ledger.session(decision.session_id)
        self._stakes.refuse_own(by, [session])
        _command(decision, by.name)(session)

    def _carry_out(self, decided: Decided) -> None:
        session_id = decided.decision.session_id
        assert session_id is not None
        self._ledger.decide(session_id, _command(decided.decision, decided.by))
        self._four_eyes.end(decided)


def refund_decision(
    action: str, session_id: UUID, refund: int, amount_cents: int, note: str | None = None
) -> Decision:
    """Return a decision about a refund as it can be proposed."""
    return Decision(
        action=action,
        subject=f"refund {session_id} {refund}",
        session_id=session_id,
        amount_cents=amount_cents,
        arguments={"refund": refund, "note": note},
    )


def _command(decision: Decision, by: str) -> Callable[[PaymentSession], None]:
    command = _COMMANDS[decision.action](by, decision.arguments["note"])
    return partial(command, refund=decision.arguments["refund"], at=clock.now())

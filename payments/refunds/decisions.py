"""Decisions of operators about refunds. Each is an event that names who took it."""

from datetime import datetime
from functools import partial
from uuid import UUID

from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import RefundState
from payments.refunds.notes import parse_note
from projections import refunds
from projections.refunds import PaymentRefund

COMMAND_LINE = "command line"
"""How the log names a person who decides on the command line and gives no number."""


def operator(user_id: int) -> str:
    """Return how the log names an operator: by number, because a name would stay in it for ever."""
    return f"operator {user_id}"


class RefundService:
    """Lists refunds and takes decisions about them. Safe to share between threads.

    A decision raises NotFound REFUND_NOT_FOUND, Rejected REFUND_NOT_DUE if it has been taken already (as one
    of two people who decide at once learns), and returns the refund as it is then.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(
        self, *, state: RefundState | None, limit: int, offset: int, as_of: datetime
    ) -> tuple[int, list[PaymentRefund]]:
        """Return how many refunds there are, in a state or in all, and a page of them, the newest first."""
        return refunds.list_refunds(
            self._ledger.database, state=state, limit=limit, offset=offset, as_of=as_of
        )

    def find(self, session_id: UUID, refund: int) -> PaymentRefund:
        """Return one refund as the log has it. Raises NotFound REFUND_NOT_FOUND."""
        row = refunds.refunds_of(self._ledger.database, session_id).get(refund)
        if row is None:
            raise NotFound("There is no such refund.", code="REFUND_NOT_FOUND")
        return row

    def approve(self, session_id: UUID, refund: int, *, by: str) -> PaymentRefund:
        """Agree that a sum is sent back through M-Pesa; the worker sends it.

        Raises as above, and Rejected REFUND_WITHOUT_RECEIPT.
        """
        command = partial(PaymentSession.approve_refund, approved_by=by)
        return self._decide(session_id, refund, command)

    def refuse(self, session_id: UUID, refund: int, *, by: str, reason: str) -> PaymentRefund:
        """Hold a sum for now. Raises as above, and InvalidValue for the reason."""
        reason = parse_note(reason, "reason")
        return self._decide(
            session_id, refund, partial(PaymentSession.refuse_refund, refused_by=by, reason=reason)
        )

    def record_by_hand(self, session_id: UUID, refund: int, *, by: str, note: str) -> PaymentRefund:
        """Record that a sum went back by other means.

        Raises as above, Rejected REFUND_UNDER_WAY while M-Pesa is expected to report its result, and InvalidValue
        for the note.
        """
        note = parse_note(note, "note")
        command = partial(PaymentSession.record_refund_by_hand, recorded_by=by, note=note)
        return self._decide(session_id, refund, command)

    def record_not_sent(self, session_id: UUID, refund: int, *, by: str, note: str) -> PaymentRefund:
        """Record that a sum in doubt did not go back: it is due again. Raises as `record_by_hand` does."""
        note = parse_note(note, "note")
        command = partial(PaymentSession.record_refund_not_sent, recorded_by=by, note=note)
        return self._decide(session_id, refund, command)

    def _decide(self, session_id: UUID, refund: int, command: "partial[None]") -> PaymentRefund:
        self.find(session_id, refund)
        self._ledger.decide(session_id, partial(command, refund=refund, at=clock.now()))
        return self.find(session_id, refund)

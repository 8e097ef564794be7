"""One attempt to give a sum back: its callback URLs, and the commands that record its outcome."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from ledger.session.session import PaymentSession
from payments.inbox.callback_tokens import RefundMessageKind, RefundTarget, Sign, make_refund_token

_TIMEOUTS = (RefundMessageKind.REVERSAL_TIMEOUT, RefundMessageKind.STATUS_TIMEOUT)


@dataclass(frozen=True, slots=True)
class RefundAttempt:
    """The `number`th attempt, from 1, to send a session's refund back through M-Pesa."""

    session_id: UUID
    refund: int
    number: int

    def uncertainty(self, reason: str, *, at: datetime) -> "partial[bool]":
        """Return the command that puts this attempt in doubt; it returns whether that is news."""
        return partial(
            PaymentSession.record_refund_uncertainty,
            refund=self.refund,
            attempt_number=self.number,
            reason=reason,
            at=at,
        )

    def failure(self, code: str, text: str, *, at: datetime) -> "partial[bool]":
        """Return the command that records that this attempt failed; it returns whether that is news."""
        return partial(
            PaymentSession.record_refund_failure,
            refund=self.refund,
            attempt_number=self.number,
            code=code,
            text=text,
            at=at,
        )

    def url(self, endpoints_url: str, sign: Sign, kind: RefundMessageKind) -> str:
        """Return the URL to which M-Pesa posts a message of this kind about this attempt."""
        token = make_refund_token(sign, RefundTarget(kind, self.session_id, self.refund, self.number))
        folder = "timeouts" if kind in _TIMEOUTS else "results"
        return f"{endpoints_url}{folder}/{token}/"

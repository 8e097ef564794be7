"""Writing down what became of one sending of a refund, and never of another."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.values import Refund, RefundState
from payments.inbox.callback_tokens import RefundMessageKind, RefundProof, Sign, make_refund_token


def attempt_of(refund: Refund) -> int:
    """Return the how-manieth sending of a refund is under way, or comes next."""
    return refund.failures + 1


@dataclass(frozen=True)
class RefundAttempt:
    """One try to give a sum back through M-Pesa: the `number`th, from 1, of a session's refund."""

    session_id: UUID
    refund: int
    number: int

    def is_under_way(self, session: PaymentSession) -> bool:
        """Whether it was sent, and nobody knows yet what became of it."""
        refund = session.refunds.get(self.refund)
        return (
            refund is not None and refund.state == RefundState.REQUESTED and attempt_of(refund) == self.number
        )

    def record(self, ledger: Ledger, command: Callable[[PaymentSession], None]) -> bool:
        """Run a command on the session while this sending is under way; return whether it was."""

        def guarded(session: PaymentSession) -> bool:
            if not self.is_under_way(session):
                return False
            command(session)
            return True

        _, was_under_way = ledger.decide(self.session_id, guarded)
        return was_under_way

    def url(self, endpoints_url: str, sign: Sign, matter: RefundMessageKind) -> str:
        """Return the address to which M-Pesa reports a matter of this sending."""
        token = make_refund_token(sign, RefundProof(matter, self.session_id, self.refund, self.number))
        folder = "timeouts" if matter in _TIMEOUTS else "results"
        return f"{endpoints_url}{folder}/{token}/"


_TIMEOUTS = (RefundMessageKind.REVERSAL_TIMEOUT, RefundMessageKind.STATUS_TIMEOUT)

"""Discrepancies: if two sources disagree, that is recorded once, what was proved stands, and a person looks at it."""

from datetime import datetime

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.state import SessionState
from ledger.session.values import Evidence, Payment


class DiscrepancyCommands(SessionState):
    """The commands of a payment session about discrepancies; `at` is an aware UTC moment."""

    def close_discrepancy(self, contradiction: int, *, closed_by: str, note: str, at: datetime) -> None:
        """Record that a person looked at a discrepancy. Raises Rejected CASE_NOT_OPEN if it is not open."""
        known = self.discrepancies.get(contradiction)
        if known is None or not known.is_open:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or somebody closed it already.")
        self._write(
            events.DiscrepancyClosed, contradiction=contradiction, closed_by=closed_by, note=note, at=at
        )

    def miss_payment(self, payment: Payment, *, at: datetime) -> None:
        """Record that a source which should know of a payment does not. What was recorded stands."""
        detail = "It has no such payment."
        self._record_discrepancy(payment.attempt, "books", payment.evidence, detail, payment, at=at)

    def _record_other_amount(self, attempt: int, payment: Payment, known_cents: int, at: datetime) -> None:
        detail = f"{payment.amount_cents} cents, where {known_cents} cents are known."
        self._record_discrepancy(attempt, "amount", payment.evidence, detail, payment, at=at)

    def _record_discrepancy(
        self,
        attempt: int,
        about: str,
        evidence: Evidence,
        detail: str,
        payment: Payment | None = None,
        *,
        at: datetime,
    ) -> None:
        """Record a discrepancy about an attempt once, and about an amount once per amount."""
        if any(known.is_repeated_by(attempt, about, payment) for known in self.discrepancies.values()):
            return
        self._write(
            events.DiscrepancyFound,
            contradiction=len(self.discrepancies) + 1,
            attempt=attempt,
            about=about,
            evidence=evidence,
            told=detail,
            receipt=payment.receipt if payment else None,
            amount_cents=payment.amount_cents if payment else None,
            at=at,
        )

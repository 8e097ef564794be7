"""When witnesses disagree: the session says so once, what was proved stands, and a person looks at it."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.values import Discrepancy, Evidence, Payment


class DiscrepancyCommands:
    """The commands of a payment session that are about contradictions; `at` is an aware UTC moment."""

    if TYPE_CHECKING:
        discrepancies: dict[int, Discrepancy]

        def _write(self, fact: type[events.Event], *, at: datetime, **says: Any) -> None: ...

    def close_discrepancy(self, contradiction: int, *, closed_by: str, note: str, at: datetime) -> None:
        """A person looked at a contradiction. Raises Rejected CASE_NOT_OPEN where there is none that is open."""
        found = self.discrepancies.get(contradiction)
        if found is None or not found.is_open:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or somebody closed it already.")
        self._write(
            events.ContradictionClosed, contradiction=contradiction, closed_by=closed_by, note=note, at=at
        )

    def miss_payment(self, payment: Payment, *, at: datetime) -> None:
        """A witness who should know of a payment does not. What was recorded stands, and a person looks at it."""
        told = "It has no such payment."
        self._record_discrepancy(payment.attempt, "books", payment.evidence, told, payment, at=at)

    def _record_other_amount(self, attempt: int, payment: Payment, known_cents: int, at: datetime) -> None:
        told = f"{payment.amount_cents} cents, where {known_cents} cents are known."
        self._record_discrepancy(attempt, "amount", payment.evidence, told, payment, at=at)

    def _record_discrepancy(
        self,
        attempt: int,
        about: str,
        evidence: Evidence,
        told: str,
        payment: Payment | None = None,
        *,
        at: datetime,
    ) -> None:
        """Say once of an attempt that witnesses disagree, and in which amount, however often they do."""
        if any(known.is_repeated_by(attempt, about, payment) for known in self.discrepancies.values()):
            return
        self._write(
            events.ContradictionFound,
            contradiction=len(self.discrepancies) + 1,
            attempt=attempt,
            about=about,
            evidence=evidence,
            told=told,
            receipt=payment.receipt if payment else None,
            amount_cents=payment.amount_cents if payment else None,
            at=at,
        )

"""How an attempt ended: commands for what M-Pesa's callbacks, queries and books report, and for what a person found."""

from datetime import datetime
from typing import Any

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.discrepancy_commands import DiscrepancyCommands
from ledger.session.refund_commands import RefundCommands
from ledger.session.values import ATTEMPT_MAY_TAKE, AttemptState, Credit, Evidence, Payment

NOT_PAID = "NOT_PAID"
NO_PAYMENT_FOUND = "M-Pesa's books show no payment for this request. You can try again."
OTHER_AMOUNT = "The amount that arrived is not the amount of this session. It goes back."


class OutcomeCommands(DiscrepancyCommands, RefundCommands):
    """The commands of a payment session about the outcome of its attempts; `at` is an aware UTC moment."""

    def record_attempt_failure(
        self,
        attempt: int,
        *,
        evidence: Evidence,
        code: str,
        text: str,
        result_code: str | None = None,
        at: datetime,
    ) -> None:
        """Record that a source reports the attempt as unpaid, with M-Pesa's `result_code`.

        This never undoes a payment: a known payment and this report are a discrepancy, which a person looks at.
        """
        if self.attempts[attempt].state == AttemptState.PAID:
            self._record_discrepancy(attempt, "outcome", evidence, f"{code}: {text}", at=at)
        if self.attempts[attempt].is_open:
            self._end_unpaid(attempt, code, text, at, result_code=result_code)

    def give_up_attempt(self, attempt: int, *, recorded_by: str, note: str, at: datetime) -> None:
        """Record that a person found an attempt in doubt unpaid. Money that arrives later is booked all the same.

        Raises Rejected CASE_NOT_OPEN if it has ended already, or M-Pesa may still report its outcome.
        """
        known = self.attempts.get(attempt)
        if known is None or not known.is_open or at < known.requested_at + ATTEMPT_MAY_TAKE:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or it was settled already.")
        self._end_unpaid(attempt, NOT_PAID, NO_PAYMENT_FOUND, at, recorded_by=recorded_by, note=note)

    def record_payment(self, payment: Payment, *, at: datetime) -> None:
        """Record money that moved, whatever the state of the session, and once per receipt."""
        attempt = self.attempts[payment.attempt]
        answers = payment.answers_the_prompt(attempt.received_cents or self.totals.total_cents)
        if payment.receipt in self.credits:
            self._compare(self.credits[payment.receipt], payment, at)
        elif attempt.state == AttemptState.PAID and payment.receipt is None:
            return
        elif attempt.state == AttemptState.PAID and attempt.receipt is None and answers:
            self._record_receipt(payment, at)
        elif self.paid is None and payment.amount_cents == self.totals.total_cents:
            self._move(
                events.Paid,
                attempt=payment.attempt,
                receipt=payment.receipt,
                amount_cents=payment.amount_cents,
                evidence=payment.evidence,
                paid_at=payment.paid_at,
                at=at,
            )
        else:
            self._record_surplus(payment, at, answers_attempt=answers)
        if answers and attempt.state in (AttemptState.FAILED, AttemptState.REFUSED):
            detail = "Paid, after the attempt was known to have ended unpaid."
            self._record_discrepancy(payment.attempt, "outcome", payment.evidence, detail, payment, at=at)

    def _end_unpaid(self, attempt: int, code: str, text: str, at: datetime, **details: Any) -> None:
        if self.is_undecided and len(self.open_attempts) == 1:
            self._fail(attempt, code, text, at, **details)
        else:
            self._write(events.AttemptFailed, attempt=attempt, code=code, text=text, at=at, **details)

    def _fail(
        self, attempt: int, code: str, text: str, at: datetime, *, money_held: bool = False, **details: Any
    ) -> None:
        self._move(
            events.Failed,
            attempt=attempt,
            code=code,
            text=text,
            money_held=money_held or self.holds_surplus,
            at=at,
            **details,
        )

    def _compare(self, credit: Credit, payment: Payment, at: datetime) -> None:
        """Another source reports money that is known: with better evidence, or with another amount."""
        if payment.amount_cents not in (None, credit.amount_cents):
            self._record_other_amount(credit.attempt, payment, credit.amount_cents, at)
        elif payment.evidence.is_better_than(credit.evidence):
            self._write(
                events.EvidenceUpgraded,
                attempt=credit.attempt,
                receipt=credit.receipt,
                evidence=payment.evidence,
                at=at,
            )
        answered = (payment.attempt, payment.evidence) == (credit.attempt, Evidence.CALLBACK)
        if answered and self.attempts[credit.attempt].is_open:
            self._end_unpaid(credit.attempt, "AMOUNT_MISMATCH", OTHER_AMOUNT, at)

    def _record_receipt(self, payment: Payment, at: datetime) -> None:
        """Name the receipt of money that a query proved; a query proves the amount that the prompt asked for."""
        proved_cents = self.attempts[payment.attempt].received_cents
        self._write(
            events.ReceiptRecorded,
            attempt=payment.attempt,
            receipt=payment.receipt,
            evidence=payment.evidence,
            at=at,
        )
        if payment.amount_cents not in (None, proved_cents):
            self._record_other_amount(payment.attempt, payment, proved_cents, at)

    def _record_surplus(self, payment: Payment, at: datetime, *, answers_attempt: bool) -> None:
        why = "second_payment" if self.paid else "wrong_amount"
        amount_cents = payment.amount_cents
        if amount_cents is None:  # M-Pesa moves what the prompt asked for; a person looks at it all the same.
            why, amount_cents = "amount_not_named", self.totals.total_cents
        self._write(
            events.SurplusReceived,
            attempt=payment.attempt,
            receipt=payment.receipt,
            amount_cents=amount_cents,
            evidence=payment.evidence,
            paid_at=payment.paid_at,
            why=why,
            answers_attempt=answers_attempt,
            at=at,
        )
        self._owe_refund(payment.attempt, amount_cents, payment.receipt, why, at)
        if answers_attempt and self.is_undecided and not self.open_attempts:
            self._fail(payment.attempt, "AMOUNT_MISMATCH", OTHER_AMOUNT, at)

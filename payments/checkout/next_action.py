"""What a buyer can do about a payment: try again, and when; or wait while the outcome of an attempt is in doubt.

Computed from the session's row on each read and never stored: most of it changes with time alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from daraja import RESULT_MEANINGS
from ledger.session.values import OPEN_STATES, AttemptState, Status
from ledger.store.customer_keys import Erased
from ledger.store.vault import PHONE, Vault
from payments.checkout.terms import CheckoutTerms
from payments.confirmation.query_log import QUERY_SCHEDULE
from payments.operators.switches import PAUSED_RETRY_AFTER, Switch, Switches, SwitchState
from payments.prompts.phone_locks import PhoneLocks
from projections.sessions import SessionRow
from shop.port import CART_ALREADY_BOUGHT, LISTING_WITHDRAWN, ORDER_NOT_MADE, OUT_OF_STOCK

_GROWING_GAPS = sum(QUERY_SCHEDULE.pauses[:-1], timedelta())
"""How long M-Pesa is asked about an attempt at growing gaps; then hourly, with a case in the work list."""

_AFTER_RESULT = {meaning.reason.upper(): meaning.retry_after_seconds for meaning in RESULT_MEANINGS}
_AFTER_REFUSAL = {"DARAJA_SUBSCRIBER_BUSY": 60, "DARAJA_BUSY": 120, "DARAJA_QUOTA": 300}
"""Seconds to wait before another attempt by the same customer: after a result, and after a refused request."""

_NOT_RETRYABLE = frozenset(
    {meaning.reason.upper() for meaning in RESULT_MEANINGS if not meaning.can_retry}
) | {
    CART_ALREADY_BOUGHT,
    LISTING_WITHDRAWN,
    ORDER_NOT_MADE,
    OUT_OF_STOCK,
}
"""Failures that the same cart, paid from the same account, would repeat."""


@dataclass(frozen=True, slots=True)
class NextAction:
    """What a buyer can do about a session at a moment.

    `can_retry`: another attempt can succeed, `retry_after` whole seconds from now (None if it cannot): another
    prompt while the session is open, a new checkout once it has failed or expired. `in_doubt`: money may have moved,
    and the outcome is unknown; M-Pesa is asked at `next_check_at`, and by `resolve_by` the outcome is known or an
    operator has a case. `paused` is why no prompt is sent at all now, None if prompts are.
    """

    can_retry: bool
    retry_after: int | None = None
    in_doubt: bool = False
    next_check_at: datetime | None = None
    resolve_by: datetime | None = None
    paused: str | None = None


_PROMPTED = (Status.PENDING, Status.PAYMENT_INITIATED)
"""In these a session can be prompted."""

NEW = NextAction(can_retry=True, retry_after=0)
"""Of a session that was just created."""


class NextActions:
    """Derives next actions from session rows; M-Pesa is first asked about an attempt after `first_query_seconds`.

    Safe to share between threads.
    """

    def __init__(
        self,
        terms: CheckoutTerms,
        vault: Vault,
        phone_locks: PhoneLocks,
        switches: Switches,
        *,
        first_query_seconds: int,
    ) -> None:
        self._max_attempts = terms.max_attempts
        self._prompt = timedelta(seconds=terms.prompt_seconds)
        self._first_query = timedelta(seconds=first_query_seconds)
        self._vault = vault
        self._phone_locks = phone_locks
        self._switches = switches

    def of(self, rows: Sequence[SessionRow], now: datetime) -> list[NextAction]:
        """Return the next action of each session. Asks once about the limits, if any session could be prompted."""
        refused = self._prompts_refused_until(rows, now)
        return [self._of_row(row, now, until) for row, until in zip(rows, refused, strict=True)]

    def as_recorded(self, row: SessionRow, moment: datetime) -> NextAction:
        """Return the next action as it was at a moment by the row alone: without limits, locks and switches of then."""
        return self._at(row, moment, row.created_at, None)

    def _of_row(self, row: SessionRow, now: datetime, refused_until: datetime) -> NextAction:
        pause = self._switches.off(Switch.PROMPTS) if row.session_status in _PROMPTED else None
        return self._at(row, now, refused_until, pause)

    def _at(
        self, row: SessionRow, now: datetime, refused_until: datetime, pause: SwitchState | None
    ) -> NextAction:
        in_doubt = self._is_in_doubt(row, now)
        next_check_at = resolve_by = None
        if in_doubt and row.last_requested_at is not None:
            first_check_at = row.last_requested_at + self._first_query
            next_check_at = row.next_check_at or max(first_check_at, now)
            resolve_by = first_check_at + _GROWING_GAPS
        if pause is not None:
            refused_until = max(refused_until, now + PAUSED_RETRY_AFTER)
        retry_at = self._retry_at(row, refused_until)
        return NextAction(
            can_retry=retry_at is not None,
            retry_after=None if retry_at is None else max(0, math.ceil((retry_at - now).total_seconds())),
            in_doubt=in_doubt,
            next_check_at=next_check_at,
            resolve_by=resolve_by,
            paused=pause.reason if pause else None,
        )

    def _is_in_doubt(self, row: SessionRow, now: datetime) -> bool:
        """Whether an attempt is open after its prompt has expired, or its answer was lost."""
        if not row.open_attempts or row.last_requested_at is None:
            return False
        older_are_open = row.open_attempts > 1 or row.last_attempt_state not in OPEN_STATES
        answer_was_lost = row.last_attempt_state == AttemptState.UNCERTAIN
        return older_are_open or answer_was_lost or row.last_requested_at + self._prompt <= now

    def _retry_at(self, row: SessionRow, refused_until: datetime) -> datetime | None:
        """The moment from which another attempt can succeed, past if that is now; None for never."""
        if row.session_status in (Status.PAID, Status.ORDER_CREATED):
            return None
        if row.session_status == Status.EXPIRED:
            return row.expires_at
        if row.session_status == Status.FAILED:
            return _retry_after_failure(row)
        moments = [row.created_at, refused_until]
        if row.last_attempt_state in OPEN_STATES and row.last_requested_at is not None:
            moments.append(row.last_requested_at + self._prompt)
        if row.refusal is not None:
            code, refused_at = row.refusal
            moments.append(refused_at + timedelta(seconds=_AFTER_REFUSAL.get(code, 0)))
        in_time = max(moments) < row.expires_at
        return max(moments) if in_time and row.attempts < self._max_attempts else None

    def _prompts_refused_until(self, rows: Sequence[SessionRow], now: datetime) -> list[datetime]:
        """Until when a prompt on each session's own phone would be refused; past if it would not."""
        digests = {row.session_id: self._phone_digest(row) for row in rows}
        prompts = [
            (row.user_id, digests[row.session_id], row.session_id) for row in rows if digests[row.session_id]
        ]
        refused = self._phone_locks.refused_until(prompts, now) if prompts else {}
        return [refused.get(row.session_id, row.created_at) for row in rows]

    def _phone_digest(self, row: SessionRow) -> str:
        if row.phone_sealed is None:
            return ""
        try:
            phone = self._vault.decrypt(row.user_id, row.phone_sealed, purpose=PHONE, row=row.session_id)
        except Erased:
            return ""
        return self._vault.digest("phone", phone)


def _retry_after_failure(row: SessionRow) -> datetime | None:
    code, ended_at = row.failure_code or "", row.ended_at or row.updated_at
    if code in _NOT_RETRYABLE:
        return None
    pause = timedelta(seconds=_AFTER_RESULT.get(code, 0) or _AFTER_REFUSAL.get(code, 0))
    return ended_at + pause

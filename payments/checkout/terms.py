"""The terms on which a shop lets its buyers pay."""

from dataclasses import dataclass
from datetime import timedelta

MAX_ATTEMPTS = 10
"""Attempts of one session; then the buyer starts a new checkout. Bounds how often a session can prompt a phone."""


@dataclass(frozen=True, slots=True)
class CheckoutTerms:
    """How long and how often a session may be paid. M-Pesa's callbacks arrive under `callback_url`.

    `max_waiting_pushes` bounds how many requests of one process wait for Daraja at once, `max_open_sessions` how many
    sessions of a user can be paid at once, `max_unnamed_checkouts` how many without a buyer a server key may have open.
    """

    session_minutes: int
    max_extensions: int
    prompt_seconds: int
    max_amount_shillings: int
    max_waiting_pushes: int
    max_open_sessions: int
    max_unnamed_checkouts: int
    callback_url: str
    max_attempts: int = MAX_ATTEMPTS

    @property
    def longest_session(self) -> timedelta:
        """How long a session that is extended as often as it may be can be paid."""
        return timedelta(minutes=self.session_minutes * (1 + self.max_extensions))

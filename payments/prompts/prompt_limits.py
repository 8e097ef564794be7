"""How often a user may prompt phones, and a phone may be prompted, in all processes together."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.errors import Conflict, LedgerError

PAUSES = (
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""Before a user prompts a number again that they have never paid from: after its first prompt without payment, its
second, and so on; the last one stays. The first is let off if the user prompts no other number and nobody else has paid
from this one.
"""

UNKNOWN_BUSY_SECONDS = 60
"""How long to wait for a phone of which M-Pesa says that it is busy: it does not say until when."""

_SENTENCES = {
    "prompts_an_hour": "You have asked for too many payment prompts within an hour.",
    "numbers_a_day": "You have asked for payment prompts on too many phone numbers within a day.",
    "unpaid": "The last payment prompt on this number was not paid.",
    "prompts_a_number": "This number has been sent too many payment prompts within an hour.",
}


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """Limits on prompts that were sent and not paid.

    `prompts_an_hour` of one user; `numbers_a_day` that one user prompts and has never paid from; `prompts_a_number`
    an hour, by all users who have never paid from it, each of whom may send one all the same.
    """

    prompts_an_hour: int
    numbers_a_day: int
    prompts_a_number: int


@dataclass(frozen=True, slots=True)
class PromptRefusal:
    """Why a user may not prompt a number before `retry_at`: `phone_busy`, or a limit."""

    reason: str
    retry_at: datetime

    def error(self, now: datetime) -> LedgerError:
        """Return what the buyer is told at a moment: Conflict PHONE_BUSY or PROMPTS_LIMITED."""
        seconds = max(1, math.ceil((self.retry_at - now).total_seconds()))
        if self.reason == "phone_busy":
            return phone_busy(seconds)
        message = f"{_SENTENCES[self.reason]} Nothing was sent. Wait {_spoken(seconds)}, then try again."
        return Conflict(message, code="PROMPTS_LIMITED", retry_after_seconds=seconds)


def phone_busy(seconds: int) -> Conflict:
    """Return the refusal of a prompt on a phone that another prompt is open on, for so many seconds at most."""
    return Conflict(
        f"A payment prompt is open on this phone. Answer it, or wait {_spoken(seconds)} and try again.",
        code="PHONE_BUSY",
        retry_after_seconds=seconds,
    )


def _spoken(seconds: int) -> str:
    return f"{seconds} seconds" if seconds <= 90 else f"{math.ceil(seconds / 60)} minutes"

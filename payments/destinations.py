"""Where Daftari sends something by itself: signed heads and notifications. One that fails holds up no other."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests
import structlog

from ledger import clock
from payments.retry_schedule import RetrySchedule

TIMEOUT_SECONDS = 10
RETRY_SCHEDULE = RetrySchedule.doubling(timedelta(seconds=1), timedelta(minutes=5))
"""How long a destination that failed is left alone; then it gets what is newest by then."""

FAILURES = (OSError, subprocess.SubprocessError)
"""What sending raises where a destination did not take it; errors of requests and smtplib are among them."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_log = structlog.get_logger(__name__)


class NotTaken(OSError):
    """A destination answered that it does not take this."""


@dataclass
class Destination:
    """Where something goes: what kind it is, what sends there and raises FAILURES, and how that went lately."""

    kind: str
    send: Callable[[bytes], None]
    failures: int = 0
    not_before: datetime = _NEVER

    def take(self, payload: bytes, event: str, **details: object) -> bool:
        """Send, and return whether it was taken. If not, log `event` with its details, and rest for a while."""
        if clock.now() < self.not_before:
            return False
        failure = self.failure_of(payload)
        if failure is None:
            self.failures = 0
            return True
        self.failures += 1
        self.not_before = clock.now() + RETRY_SCHEDULE.pause_after(self.failures)
        _log.warning(
            event,
            destination=self.kind,
            error=failure,
            failures=self.failures,
            tried_again_at=self.not_before.isoformat(),
            **details,
        )
        return False

    def failure_of(self, payload: bytes) -> str | None:
        """Send, and return why it was not taken, None if it was.

        The text is never that of the library: most hold the address, which may hold a secret.
        """
        try:
            self.send(payload)
        except NotTaken as error:
            return str(error)
        except FAILURES as error:
            return type(error).__name__
        return None


def post(address: str, body: bytes) -> None:
    """Post JSON. The body of the answer is not read: only its status counts, and 2xx alone is a receipt."""
    headers = {"Content-Type": "application/json"}
    with requests.post(
        address, body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
    ) as answer:
        if not 200 <= answer.status_code < 300:
            raise NotTaken(f"HTTP status {answer.status_code}")

"""A token store for one process; several processes with one consumer key need a store that they share."""

import copy
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from daraja.daraja_errors import Retryable, SubmissionError
from daraja.gateway import AccessToken


class MemoryTokenStore:
    """A token store for the threads of one process."""

    def __init__(
        self, clock: Callable[[], datetime] = lambda: datetime.now(UTC), wait_seconds: float = 30.0
    ) -> None:
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._token: AccessToken | None = None
        self._failures = 0
        self._last_failure: SubmissionError | None = None

    def read(self) -> AccessToken | None:
        """Return the stored token, fresh or not, without waiting."""
        return self._token

    def refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
        """Return a usable token; threads that wait while a fetch fails share that failure instead of trying in turn."""
        failures_before = self._failures
        if not self._lock.acquire(timeout=self._wait_seconds):
            raise Retryable(
                "DARAJA_TOKEN_UNAVAILABLE", "M-Pesa does not give us an access token. Try again shortly."
            )
        try:
            token = self._token
            if token is not None and token.value != refused and token.is_fresh(self._clock()):
                return token
            if self._last_failure is not None and self._failures != failures_before:
                raise copy.copy(self._last_failure)
            return self._fetch(fetch)
        finally:
            self._lock.release()

    def _fetch(self, fetch: Callable[[], AccessToken]) -> AccessToken:
        try:
            self._token = fetch()
        except SubmissionError as error:
            self._failures += 1
            self._last_failure = error
            raise
        self._last_failure = None
        return self._token

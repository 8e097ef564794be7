"""One OAuth token for everybody who uses a consumer key: a second token voids the first, so it is shared."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from daraja.errors import Retryable, SubmissionError

REFRESH_EARLY = timedelta(seconds=60)
"""A token is replaced this long before it ends, so that none ends between our reading it and Daraja's."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token and the aware moment at which it ends. Its repr hides the value."""

    value: str = field(repr=False)
    expires_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Say whether the token may still be used at `now`."""
        return now < self.expires_at - REFRESH_EARLY


class TokenStore(Protocol):
    """Where the token lives. Everybody who uses one consumer key must use one store."""

    def read(self) -> AccessToken | None:
        """Return the stored token, fresh or not, without waiting."""
        ...

    def refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
        """Return a usable token, under a lock that all users share.

        If the stored token is fresh and is not the `refused` one, somebody else was faster: return it.
        Otherwise call `fetch` (one HTTP request, bounded in time), store what it gives and return it. What
        `fetch` raises passes through; the wait for the lock has a bound and ends in Retryable.
        """
        ...


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
        """Return a usable token; whoever waits while a fetch fails shares that failure instead of trying in turn."""
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

"""A limit on the changes a caller may request in a minute, counted in each process; reads and callbacks are free."""

from collections import Counter
from threading import Lock
from time import monotonic

from flask import Flask, g, request
from werkzeug.exceptions import TooManyRequests

from api.http.framework.error_responses import RATE_WINDOW_SECONDS
from api.http.middleware.auth import Caller, is_public
from api.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class RateLimit:
    """Counts each caller's requests in a minute. All counts are cleared together, which costs nothing; the next
    minute begins with the next request.
    """

    def __init__(self, most: int) -> None:
        self._max = most
        self._lock = Lock()
        self._ends_at = 0.0
        self._counts = Counter[str]()

    def count(self, caller: str, now_seconds: float) -> bool:
        """Count a request at a time of the monotonic clock; return whether it is within the limit."""
        with self._lock:
            if now_seconds >= self._ends_at:
                self._ends_at = now_seconds + RATE_WINDOW_SECONDS
                self._counts.clear()
            self._counts[caller] += 1
            return self._counts[caller] <= self._max


def install_rate_limit(app: Flask, settings: Settings) -> None:
    """Refuse a caller's changes beyond `settings.daftari_rate_per_minute`; must come after authentication."""
    limit = RateLimit(settings.daftari_rate_per_minute)

    def refuse_too_many() -> None:
        if not _is_free() and not limit.count(_key(), monotonic()):
            raise TooManyRequests

    app.before_request(refuse_too_many)


def _key() -> str:
    known: Caller | None = g.get("caller")
    return f"user {known.user_id}" if known else f"address {request.remote_addr}"


def _is_free() -> bool:
    return request.method in READING or request.endpoint is None or is_public(request.endpoint)

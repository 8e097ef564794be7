"""Limits on the requests of a caller in a minute. Changes by a user are counted in all processes together."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from flask import Flask
from flask.globals import app_ctx, request_ctx
from werkzeug.exceptions import TooManyRequests

from api.http.framework.services import current_services
from api.http.middleware.auth import Caller, is_public
from api.settings import Settings
from ledger import clock
from payments.request_leases import number_of_name
from payments.services import Services

READING = frozenset({"GET", "HEAD", "OPTIONS"})
BLOCKS = 20
"""A process leases a twentieth of the limit at a time, and uses the first one before it leases: a user who sends few
requests costs no statement, and may send at most that much more by every process.
"""

LIMITS = "daftari.limits"
"""The extension with the RequestLimits."""

Lease = Callable[[datetime, int], bool]


class RateLimit:
    """Counts each caller's requests in the minutes of the clock. All are cleared together: that costs nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._block = max(1, most // BLOCKS)
        self._lock = Lock()
        self._minute: datetime | None = None
        self._counts = Counter[str]()
        self._leased: dict[str, int] = {}

    def count(self, caller: str, now: datetime, lease: Lease | None = None) -> bool:
        """Count a request; return whether it is within the limit.

        With `lease` the limit is shared: it is asked for requests of the minute, at most `most` in all processes.
        Raises what it raises.
        """
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            if minute != self._minute:
                self._minute = minute
                self._counts.clear()
                self._leased.clear()
            self._counts[caller] += 1
            count, leased = self._counts[caller], self._leased.get(caller, self._block)
        if lease is None:
            return count <= self.most
        if count <= leased:
            return True
        wanted = self._block if caller in self._leased else 2 * self._block
        if not lease(minute, wanted):
            return False
        with self._lock:
            self._leased[caller] = leased + self._block
        return True


@dataclass(frozen=True)
class RequestLimits:
    """The limits on requests that change something, by a user or by the keys of a name, and on those that read."""

    changes: RateLimit
    changes_by_key: RateLimit
    reads: RateLimit

    def of(self, method: str, *, by_key: bool = False) -> RateLimit:
        """Return the limit on the requests of a method."""
        if method in READING:
            return self.reads
        return self.changes_by_key if by_key else self.changes

    def count(self, method: str, caller: Caller, services: Services) -> None:
        """Count a caller's request; raise TooManyRequests if it is beyond the limit, and Unavailable."""
        limit = self.of(method, by_key=caller.key is not None)

        def lease(minute: datetime, wanted: int) -> bool:
            return services.request_leases.lease(_number_of(caller), minute, wanted, limit.most)

        if not limit.count(caller.actor, clock.now(), None if limit is self.reads else lease):
            raise TooManyRequests


def _number_of(caller: Caller) -> int:
    """Return the number under which a caller leases: a key's is made of its name, and below those of users."""
    return caller.user_id if caller.key is None else number_of_name(caller.key)


def count_as(sender: Caller) -> None:
    """Count the current request as one of a sender whom its view found out itself, such as by a payment link.

    Raises TooManyRequests if it is beyond their limit, and Unavailable.
    """
    limits: RequestLimits = app_ctx.app.extensions[LIMITS]
    limits.count(request_ctx.request.method, sender, current_services())


def install_rate_limit(app: Flask, settings: Settings) -> None:
    """Refuse a caller's requests beyond the limits of the settings; must come after authentication.

    Users and keys share their limits on changes between processes. Reads, and changes by an address without a token,
    are counted in each process. Pages outside /api/ are counted by address, and where they know it by sender too.
    """
    limits = app.extensions[LIMITS] = RequestLimits(
        RateLimit(settings.daftari_rate_per_minute),
        RateLimit(settings.daftari_key_rate_per_minute),
        RateLimit(settings.daftari_reads_per_minute),
    )

    def refuse_too_many() -> None:
        asked = request_ctx.request
        if asked.endpoint is None or is_public(asked.endpoint):
            return
        known: Caller | None = app_ctx.g.get("caller")
        if known is not None:
            limits.count(asked.method, known, current_services())
        elif not limits.of(asked.method).count(f"address {asked.remote_addr}", clock.now()):
            raise TooManyRequests

    app.before_request(refuse_too_many)

"""A token bucket that all processes share: M-Pesa limits the queries of an app, not those of a process."""

from datetime import datetime, timedelta

from ledger.store.database import Database

PAUSE_WHEN_LIMITED_SECONDS = 30
BURST_PER_MINUTE = 6
"""A bucket holds the queries of ten seconds; M-Pesa's own held one when it was measured."""

# One statement refills by the clock, looks and takes, so that no two processes take the same token.
_REFILLED = """
least(%(burst)s, budget.tokens + %(per_second)s * greatest(0, extract(epoch FROM %(now)s - budget.refilled_at)))
"""
_TAKE = f"""
INSERT INTO question_budgets AS budget (name, tokens, refilled_at) VALUES (%(name)s, %(burst)s - 1, %(now)s)
ON CONFLICT (name) DO UPDATE
    SET tokens = {_REFILLED} - 1, refilled_at = greatest(budget.refilled_at, %(now)s)
    WHERE coalesce(budget.paused_until <= %(now)s, true) AND {_REFILLED} >= 1 + %(left)s
"""  # noqa: S608 - made of this file's constants only
_PAUSE = """
INSERT INTO question_budgets AS budget (name, tokens, refilled_at, paused_until)
VALUES (%(name)s, 1, %(until)s, %(until)s)
ON CONFLICT (name) DO UPDATE
    SET tokens = 1, refilled_at = greatest(budget.refilled_at, excluded.refilled_at),
        paused_until = greatest(budget.paused_until, excluded.paused_until)
"""


class QueryRateLimiter:
    """Allows `per_minute` queries a minute under a name, in small bursts, and none while M-Pesa limits the rate."""

    def __init__(self, database: Database, name: str, per_minute: int) -> None:
        self._database = database
        self._name = name
        self._per_second = per_minute / 60
        self._burst = max(1, per_minute // BURST_PER_MINUTE)

    def take(self, now: datetime, *, is_urgent: bool = True) -> bool:
        """Take a token for one query; return whether there was one.

        A query that is not urgent leaves half of the bucket to those that are.
        """
        values = {
            "name": self._name,
            "burst": self._burst,
            "per_second": self._per_second,
            "now": now,
            "left": 0 if is_urgent else self._burst // 2,
        }
        with self._database.connection() as connection:
            return connection.execute(_TAKE.encode(), values).rowcount == 1

    def pause(self, now: datetime, seconds: int | None) -> None:
        """Allow no query for some seconds, because M-Pesa limits the rate; None: it did not say for how long.

        Then one query is allowed, and the bucket refills from there.
        """
        until = now + timedelta(seconds=seconds or PAUSE_WHEN_LIMITED_SECONDS)
        with self._database.connection() as connection:
            connection.execute(_PAUSE, {"name": self._name, "until": until})

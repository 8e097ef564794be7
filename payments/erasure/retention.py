"""What is kept for a time only, kind by kind in one table: how long, why, and the job that ends it.

The settings give the periods. PostgreSQL keeps minimums of its own (`retention_kinds`) and heeds legal holds, so that
who has the application's login can delete no evidence early. Events, and with them the books, are never purged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ledger import clock
from ledger.errors import Rejected
from ledger.store.database import Database
from payments.erasure.erasures import Erasures
from payments.erasure.retention_kinds import CUSTOMERS, KINDS, RetentionKind

AT_ONCE = 1_000
MAX_BATCHES = 20
"""Of a kind in a round: the next round goes on, and other kinds come to their turn."""

CUSTOMERS_AT_ONCE = 20
CUSTOMERS_WALKED = 5_000
"""So many customers are looked at in an hour at most; the next hour goes on behind them."""

HOURLY = timedelta(hours=1)

_PURGE = "SELECT purge_kind(%s, %s, %s, %s) AS rows"
_MINIMUMS = "SELECT kind, minimum, purged_at, purged_rows FROM retention_kinds"
_HELD = """
SELECT count(*) AS rows, min(since) AS oldest, count(*) FILTER (WHERE since <= %(until)s) AS due
FROM retained_rows WHERE kind = %(kind)s
"""
_CUSTOMERS = """
SELECT user_id FROM customer_keys WHERE wrapped_key IS NOT NULL AND user_id > %s ORDER BY user_id LIMIT %s
"""
_INACTIVE = """
SELECT user_id, since FROM retained_rows WHERE kind = 'customers' AND user_id = ANY(%s) AND since <= %s
ORDER BY user_id LIMIT %s
"""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class RetentionState:
    """A kind as the report shows it. `period` is None if it is kept for ever; `due` rows are purged next."""

    kind: RetentionKind
    period: timedelta | None
    rows: int
    oldest: datetime | None
    due: int
    purged_at: datetime | None
    purged_rows: int | None


@dataclass
class Retention:
    """Purges what is over, and reports. `periods` replace those of the kinds by name, None for ever."""

    database: Database
    erasures: Erasures
    periods: Mapping[str, timedelta | None]
    _hourly_at: datetime = field(default=_NEVER, init=False)
    _after_user: int = field(default=0, init=False)

    def kinds(self) -> list[RetentionKind]:
        """Return the kinds with the periods of the settings, none shorter than its minimum."""
        return [
            replace(kind, period=self.periods.get(kind.name, kind.period)) if kind.is_settable else kind
            for kind in KINDS
        ]

    def purge(self) -> int:
        """Purge every kind of which something may be over by now; return how many rows."""
        now = clock.now()
        is_hourly = now >= self._hourly_at
        if is_hourly:
            self._hourly_at = now + HOURLY
        kinds = [kind for kind in self.kinds() if kind.period is not None and (is_hourly or kind.is_short)]
        return sum(
            self._erase_inactive(kind, now) if kind.name == CUSTOMERS else self._purge(kind, now)
            for kind in kinds
        )

    def report(self) -> list[RetentionState]:
        """Return what is held of each kind."""
        now, states = clock.now(), []
        with self.database.connection() as connection:
            stored = {row["kind"]: row for row in connection.execute(_MINIMUMS).fetchall()}
            for kind in self.kinds():
                until = (
                    _NEVER if kind.period is None else now - max(kind.period, stored[kind.name]["minimum"])
                )
                row = connection.execute(_HELD, {"kind": kind.name, "until": until}).fetchone()
                assert row is not None
                purged = stored[kind.name]["purged_at"], stored[kind.name]["purged_rows"]
                states.append(
                    RetentionState(kind, kind.period, row["rows"], row["oldest"], row["due"], *purged)
                )
        return states

    def _purge(self, kind: RetentionKind, now: datetime) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            with self.database.connection() as connection:
                row = connection.execute(_PURGE, (kind.name, now, kind.period, AT_ONCE)).fetchone()
            assert row is not None
            total += row["rows"]
            if row["rows"] < AT_ONCE:
                break
        return total

    def _erase_inactive(self, kind: RetentionKind, now: datetime) -> int:
        """Erase some customers without a session since the period; those whom something stands against come again."""
        assert kind.period is not None
        until = now - max(kind.period, kind.minimum)
        with self.database.connection() as connection:
            walk = connection.execute(_CUSTOMERS, (self._after_user, CUSTOMERS_WALKED))
            walked = [row["user_id"] for row in walk]
            rows = connection.execute(_INACTIVE, (walked, until, CUSTOMERS_AT_ONCE)).fetchall()
        if len(rows) == CUSTOMERS_AT_ONCE:
            self._after_user = rows[-1]["user_id"]
        else:
            self._after_user = walked[-1] if len(walked) == CUSTOMERS_WALKED else 0
        return sum(self._is_erased(row["user_id"], row["since"]) for row in rows)

    def _is_erased(self, user_id: int, since: datetime) -> bool:
        try:
            self.erasures.erase_inactive(user_id, since)
        except Rejected:
            return False
        return True

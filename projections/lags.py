"""How far followers are behind the log."""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.store.database import Database
from ledger.store.positions import read_horizon

MAX_COUNTED = 10_000
"""Where the count of a follower's lag stops."""

LAGS = """
SELECT follower.name, behind.below, behind.held,
       coalesce(extract(epoch FROM clock_timestamp() - behind.oldest), 0)::float8 AS seconds
FROM unnest(%(names)s::text[]) AS follower (name)
LEFT JOIN follower_positions AS reached ON reached.name = follower.name AND reached.origin = %(origin)s
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE position < %(horizon)s) AS below,
           count(*) FILTER (WHERE position >= %(horizon)s) AS held, min(recorded_at) AS oldest
    FROM (SELECT position, recorded_at FROM payment_events
          WHERE origin = %(origin)s AND position > coalesce(reached.position, 0)
          ORDER BY position LIMIT %(limit)s) AS event
) AS behind
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a follower is behind.

    `below` events wait below the horizon, `held` ones above it, behind a transaction that is still running (both stop
    counting at MAX_COUNTED together); `seconds` is the age of the oldest of them, by the clock of the database.
    """

    below: int
    held: int
    seconds: float

    @property
    def events(self) -> int:
        """How many events it has not read."""
        return self.below + self.held


def lags(database: Database, names: Iterable[str]) -> dict[str, Lag]:
    """Return how far the followers of these names are behind the log now."""
    with database.connection() as connection:
        origin, horizon = read_horizon(connection)
        values = {"origin": origin, "horizon": horizon, "names": list(names), "limit": MAX_COUNTED}
        rows = connection.execute(LAGS, values).fetchall()
    return {row.pop("name"): Lag(**row) for row in rows}

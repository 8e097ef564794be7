"""A limit on the requests of a user in a minute that all processes share: each leases a block of them at a time."""

import hashlib
from datetime import datetime, timedelta

from ledger.store.database import Database

_LEASE = """
INSERT INTO request_leases (user_id, minute, granted)
SELECT %(user_id)s, %(minute)s, %(wanted)s WHERE %(wanted)s <= %(most)s
ON CONFLICT (user_id, minute) DO UPDATE SET granted = request_leases.granted + excluded.granted
    WHERE request_leases.granted + excluded.granted <= %(most)s
RETURNING granted
"""

KEPT = timedelta(minutes=5)


class RequestLeases:
    """Leases of requests by user and minute."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(self, user_id: int, minute: datetime, wanted: int, most: int) -> bool:
        """Lease `wanted` requests of a user in the minute that began then; False if they would pass `most`.

        Raises Unavailable.
        """
        values = {"user_id": user_id, "minute": minute, "wanted": wanted, "most": most}
        with self._database.connection() as connection:
            return connection.execute(_LEASE, values).fetchone() is not None


def number_of_name(name: str) -> int:
    """Return the number under which an API key of a name leases: below zero, where no user is."""
    return -1 - (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1)

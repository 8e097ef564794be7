"""Which open cases of movements were written past the application, so that nobody takes them for M-Pesa's word."""

from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.movement_macs import COLUMNS, is_genuine

# The condition is that of the index, and of the work list.
OPEN_MOVEMENTS = f"""
SELECT {COLUMNS} FROM mpesa_movements
WHERE verdict IN ('unknown', 'known_elsewhere', 'reversal_unexpected') AND closed_at IS NULL
"""  # noqa: S608 - made of names of our own


def forged_cases(database: Database, keys: KeyRing) -> list[str]:
    """Return the keys of the movements that are open cases and do not carry our MAC."""
    with database.connection() as connection:
        rows = connection.execute(OPEN_MOVEMENTS.encode()).fetchall()
    return [row["movement_key"] for row in rows if not is_genuine(keys, row)]

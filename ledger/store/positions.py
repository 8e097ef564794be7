"""Positions in the log, and how far a reader may go.

A position is (epoch + transaction id) << 20 | ordinal in the transaction, stamped where the row lands. Transactions
commit in another order than they start, so a reader that asked for all events above its position would miss those of
a slow writer for ever. The horizon is the position of the oldest transaction that is still running: nothing new can
appear below it. It is read in a statement of its own, before the rows.
"""

from typing import Any

from psycopg import Connection

_HORIZON = "SELECT origin, horizon FROM ledger_horizon()"


def read_horizon(connection: Connection[Any]) -> tuple[int, int]:
    """Return (origin, horizon): read rows of this origin with a position strictly below the horizon."""
    row = connection.execute(_HORIZON).fetchone()
    assert row is not None
    return row["origin"], row["horizon"]

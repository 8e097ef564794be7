"""The database of release 0.1: how to load it, and what was in it when it was dumped."""

import base64
import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

MASTER_KEY = base64.b64encode(b"daftari upgrade test master key!").decode()
"""The DAFTARI_MASTER_KEY of that database. It protects invented people only."""

KNOWN_TEXTS = ("Test Buyer", "Test Street")
"""What every delivery address in it contains, so that none of it may be found unencrypted."""

DUMP = "release_0_1.sql.gz"
EXPECTED = "expected.json"

# As in docs/running.md for a dump restored into a new cluster, whose transaction ids start again: without it new
# events would sort below the old ones.
RAISE_EPOCH = """
UPDATE ledger_node SET epoch = (SELECT coalesce(max(position) >> 20, 0) + 1 FROM payment_events)
"""

COUNTS: Mapping[str, str] = {
    "events_by_topic": "SELECT topic, count(*) FROM payment_events GROUP BY 1",
    "sessions_by_status": "SELECT session_status, count(*) FROM payment_sessions GROUP BY 1",
    "refunds_by_state": """
        SELECT state || CASE WHEN in_doubt THEN ' in doubt' WHEN failures > 0 THEN ' failed' ELSE '' END, count(*)
        FROM payment_refunds GROUP BY 1""",
    "inbox_by_channel": "SELECT channel, count(*) FROM daraja_inbox GROUP BY 1",
    "inbox_by_state": "SELECT state, count(*) FROM daraja_inbox GROUP BY 1",
    "inbox_by_reason": "SELECT coalesce(reason, 'none'), count(*) FROM daraja_inbox GROUP BY 1",
    "movements_by_verdict": "SELECT verdict, count(*) FROM mpesa_movements GROUP BY 1",
    "failures_by_state": "SELECT state, count(*) FROM follower_failures GROUP BY 1",
}
"""Each asks for (name, how many)."""

TABLES = """
SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""


@cache
def expected() -> dict[str, Any]:
    """Return what was in the database when it was dumped."""
    text = (resources.files(__package__) / EXPECTED).read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def load(database_url: str) -> None:
    """Load the dump into an empty database, and let its next events sort above those in it."""
    statements = gzip.decompress((resources.files(__package__) / DUMP).read_bytes())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statements)
    with psycopg.connect(database_url) as connection:
        connection.execute(RAISE_EPOCH)


def count_all(connection: Connection[TupleRow]) -> dict[str, dict[str, int]]:
    """Return the counts of a database, by the names of COUNTS, and of the rows of each table."""
    counts = {name: _counted(connection, statement) for name, statement in COUNTS.items()}
    tables = sorted(table for (table,) in connection.execute(TABLES).fetchall())
    rows = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables)
    return counts | {"rows_by_table": _counted(connection, rows)}


def _counted(connection: Connection[TupleRow], statement: str) -> dict[str, int]:
    return dict(connection.execute(statement.encode()).fetchall())

"""The events of a session, for the command line."""

from collections.abc import Sequence
from uuid import UUID

from api.local.databases import server_major
from ledger.errors import NotFound
from ledger.store.database import Database
from projections.history import Entry, history


def session_history(database_url: str, session_id: UUID) -> Sequence[Entry]:
    """Return every event of a session in order; raise NotFound where there is none, DatabaseProblem."""
    server_major(database_url)
    database = Database(database_url, max_connections=2)
    try:
        entries = history(database, session_id)
    finally:
        database.close()
    if not entries:
        raise NotFound(f"There is no session {session_id} in this database.")
    return entries

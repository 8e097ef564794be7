"""The erasure of a customer as two people decided it, without their decision."""

from collections.abc import Sequence

import psycopg

from ledger.store.audit_log import CUSTOMER_ERASED, AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault


def erase(database: Database, vault: Vault, user_id: int, phone_digests: Sequence[str] = ()) -> None:
    """Erase a customer and what names their phones, with the signed entry that belongs to it."""
    with database.transaction() as connection:
        vault.erase(user_id, phone_digests, connection)
        AuditLog(database, vault.keys).record(
            connection, CUSTOMER_ERASED, actor="user:42", subject=f"user:{user_id}"
        )


def let_a_week_pass(database: Database) -> None:
    """Make each entry of the audit log a week older for PostgreSQL, so that lifted holds are over."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE audit_log SET stored_at = stored_at - interval '7 days'")

"""The erasure of a customer as two people decided it, without their decision."""

from ledger.store.audit_log import CUSTOMER_ERASED, AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault


def erase(database: Database, vault: Vault, user_id: int) -> None:
    """Erase a customer, with the signed entry that belongs to it."""
    with database.transaction() as connection:
        vault.erase(user_id, connection=connection)
        AuditLog(database, vault.keys).record(
            connection, CUSTOMER_ERASED, actor="user:42", subject=f"user:{user_id}"
        )

"""API keys of tests."""

from typing import Any

from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.api_keys.api_key import TEST
from payments.api_keys.key_store import ApiKeyStore, NewKey


def key_store(database: Database, vault: Vault, prefix: str = TEST) -> ApiKeyStore:
    """Return what makes keys of development."""
    return ApiKeyStore(database, vault, AuditLog(database, vault.keys), prefix)


def make_key(database: Database, vault: Vault, name: str, role: str = "server", **made: Any) -> str:
    """Make a key; return its text."""
    return key_store(database, vault).create(NewKey(name, role, **made), by="cli:user:9")[1]

"""All invariants as one assertion."""

from typing import Any

from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.verification.verifier import violations


def assert_invariants_hold(database: Database, vault: Vault | None = None, **more: Any) -> None:
    """Fail with all violations; takes the arguments of `violations`."""
    found = violations(database, vault, **more)
    assert not found, "\n".join(map(str, found))

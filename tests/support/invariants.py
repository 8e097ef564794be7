"""The invariants that hold after every scenario and every fault, as one assertion."""

from typing import Any

from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.verification.verifier import violations


def assert_all_is_well(database: Database, vault: Vault | None = None, **more: Any) -> None:
    """Fail with everything that is wrong; takes what `violations` takes."""
    found = violations(database, vault, **more)
    assert not found, "\n".join(map(str, found))

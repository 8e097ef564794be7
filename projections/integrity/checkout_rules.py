"""Invariants of checkouts: each session that a server key made is that key's, under the caller's own reference."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.store.caller_texts import reference_of
from ledger.store.checkout_macs import is_genuine
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.vault import CHECKOUT_REFERENCE, Vault
from projections.integrity.session_log import SessionIds, SessionLog
from projections.integrity.violations import Reader, Violation

ROWS = "SELECT session_id, key_name, reference_digest, mac FROM checkouts WHERE session_id = ANY(%s)"
KEY = "key:"
"""What the actor of an event begins with that a server key caused."""


def owners(ids: SessionIds, logs: Sequence[SessionLog], reader: Reader) -> Iterator[Violation]:
    """The row of a session names the key that its first event names, and has our MAC and its reference's digest."""
    rows = {row["session_id"].int: row for row in reader.connection.execute(ROWS, (ids,))}
    for log in logs:
        if log.is_readable:
            fault = _fault(log, rows.get(log.session_id.int), reader.vault)
            if fault:
                yield log.violation("checkouts", fault)


def _fault(log: SessionLog, row: Mapping[str, Any] | None, vault: Vault | None) -> str | None:
    actor = log.maker
    if row is None:
        return "a server key made it, and it has no row in checkouts" if actor.startswith(KEY) else None
    if actor != f"{KEY}{row['key_name']}":
        return "its row in checkouts names a key that did not make it"
    if vault is not None and not is_genuine(vault.keys, log.session_id, row["key_name"], row["mac"]):
        return "its row in checkouts does not carry our MAC; its key cannot find it"
    if vault is not None and log.session is not None and not _is_its_digest(log, row, vault):
        return "the digest in checkouts is not that of its reference"
    return None


def _is_its_digest(log: SessionLog, row: Mapping[str, Any], vault: Vault) -> bool:
    assert log.session is not None
    try:
        reference = reference_of(vault, log.session)
    except Erased:  # That nothing is left of it is a rule of its own.
        return True
    except WrongKey:  # As a rule of personal data says.
        return True
    expected = None if reference is None else vault.digest(CHECKOUT_REFERENCE, reference)
    return bool(row["reference_digest"] == expected)

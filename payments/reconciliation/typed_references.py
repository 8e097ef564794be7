"""What a payer typed as the account, and from which masked phone, as one encrypted value of an unmatched payment."""

from ledger.phone import masked
from ledger.store.vault import SYSTEM_USER_ID, Vault

TYPED_REFERENCE = "typed reference"
"""The purpose of these values, whose row is the movement's key."""

_BETWEEN = "\t"
"""Is in no line that a payer typed."""


def encrypt(vault: Vault, key: str, typed: str, payer: str | None) -> str | None:
    """Return the value of a movement's `key`; None where nothing was typed and M-Pesa names no phone.

    `payer` is who paid as M-Pesa names them. Of a phone only the masked form is kept, of a hash nothing.
    """
    phone = masked(payer or "")
    told = typed.replace(_BETWEEN, " ") + (f"{_BETWEEN}{phone}" if phone else "")
    return vault.encrypt(SYSTEM_USER_ID, told, purpose=TYPED_REFERENCE, row=key) if told else None


def decrypt(vault: Vault, key: str, encrypted: str | None) -> tuple[str, str | None]:
    """Return what was typed, "" for nothing, and the masked phone if it is known."""
    if encrypted is None:
        return "", None
    told = vault.decrypt(SYSTEM_USER_ID, encrypted, purpose=TYPED_REFERENCE, row=key)
    typed, _, phone = told.partition(_BETWEEN)
    return typed, phone or None

"""What a payer typed as the account, and who paid, as one encrypted value of an unmatched payment.

Nobody without the key can write one, or move one to another payment; the digest in the row beside it anyone can.
"""

import msgspec

from ledger.phone import masked
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.operators.stakes import payer_digest

TYPED_REFERENCE = "typed reference"
"""The purpose of these values, whose row is the movement's key."""


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a payer typed, "" for nothing; the phone masked, and the payer's digest, if M-Pesa told them."""

    typed: str
    phone: str | None = None
    payer: str | None = None


def encrypt(vault: Vault, key: str, typed: str, payer: str | None) -> str | None:
    """Return the value of a movement's `key`; None where nothing was typed and M-Pesa names nobody.

    `payer` is who paid as M-Pesa names them. Of a phone no more than its ends and its digest are kept.
    """
    told = Told(typed, masked(payer or ""), payer_digest(vault, payer))
    if told == Told(""):
        return None
    text = msgspec.json.encode(told).decode()
    return vault.encrypt(SYSTEM_USER_ID, text, purpose=TYPED_REFERENCE, row=key)


def decrypt(vault: Vault, key: str, encrypted: str | None) -> Told:
    """Return what a value tells; one of an earlier release is what was typed alone."""
    if encrypted is None:
        return Told("")
    text = vault.decrypt(SYSTEM_USER_ID, encrypted, purpose=TYPED_REFERENCE, row=key)
    try:
        return msgspec.json.decode(text, type=Told)
    except msgspec.MsgspecError:
        return Told(text)

"""The blind indexes of the phones in a body, by which an erasure finds the messages about a person."""

import hashlib
import re

from ledger.store.vault import Vault

MAX_PHONES_INDEXED = 2_000
"""Of one body: more than a page of Pull holds."""

_PHONE = re.compile(r"(?<![0-9])254[17][0-9]{8}(?![0-9])")
_SHA_256 = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")


def phone_digests(vault: Vault, text: str) -> list[str]:
    """Return the blind indexes of the phones in a body, at most MAX_PHONES_INDEXED: in the clear, or as SHA-256."""
    phones, hashes = set(_PHONE.findall(text)), set(_SHA_256.findall(text))
    found = {vault.digest("phone", phone) for phone in phones}
    found |= {vault.digest("hashed phone", each.lower()) for each in hashes}
    return sorted(found)[:MAX_PHONES_INDEXED]


def digests_of_phone(vault: Vault, digits: str) -> tuple[str, str]:
    """Return the blind indexes of one phone as `phone_digests` finds it, in the clear and as M-Pesa hashes it."""
    hashed = hashlib.sha256(digits.encode()).hexdigest()
    return vault.digest("phone", digits), vault.digest("hashed phone", hashed)

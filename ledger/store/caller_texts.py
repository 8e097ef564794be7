"""What the caller that made a session wrote: its reference, its metadata, and the texts of its lines, encrypted.

All are under the buyer's key, so that an erasure makes them unreadable. Sessions of carts have none of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from ledger.session.state import SessionState
from ledger.store.vault import LINE, METADATA, REFERENCE, Vault

Encrypt = Callable[..., str]
"""Encrypts a text for a `purpose`, for one buyer and one session."""


@dataclass(frozen=True, slots=True)
class LineTexts:
    """What a caller calls one line: its name, their own id of the product, and the unit of its quantity."""

    name: str
    product_id: str | None = None
    unit: str | None = None


def encrypt_line(encrypt: Encrypt, texts: LineTexts) -> str:
    """Return the texts of a line as its snapshot keeps them."""
    return encrypt(msgspec.json.encode(texts).decode(), purpose=LINE)


def encrypt_metadata(encrypt: Encrypt, metadata: Mapping[str, str]) -> str | None:
    """Return metadata as a session keeps them, None without any."""
    return encrypt(msgspec.json.encode(metadata).decode(), purpose=METADATA) if metadata else None


def line_texts_of(vault: Vault, session: SessionState) -> list[LineTexts | None]:
    """Return the texts of each line, None for one that has none of its caller's. Raises Erased, and WrongKey."""
    decrypt = partial(vault.decrypt, session.user_id, purpose=LINE, row=session.id)
    return [
        None if line.name_sealed is None else msgspec.json.decode(decrypt(line.name_sealed), type=LineTexts)
        for line in session.lines
    ]


def reference_of(vault: Vault, session: SessionState) -> str | None:
    """Return the caller's own name of a session, None without one. Raises Erased, and WrongKey."""
    sealed = session.reference_sealed
    return sealed and vault.decrypt(session.user_id, sealed, purpose=REFERENCE, row=session.id)


def metadata_of(vault: Vault, session: SessionState) -> dict[str, str]:
    """Return the caller's metadata, none being an empty dictionary. Raises Erased, and WrongKey."""
    sealed = session.metadata_sealed
    if sealed is None:
        return {}
    text = vault.decrypt(session.user_id, sealed, purpose=METADATA, row=session.id)
    return msgspec.json.decode(text, type=dict[str, str])

"""The body of a message of M-Pesa, encrypted for all that the inbox tells of it, which a database login cannot make."""

from collections.abc import Mapping
from typing import Any

from ledger.store.key_ring import WrongKey
from ledger.store.vault import Vault, is_version_1

INBOX_BODY = "inbox body"
"""The purpose of an encrypted body, whose row is `row_of` its message."""

BOUND = ("inbox_id", "channel", "is_proven", "session_id", "attempt", "refund", "sending")
"""What decides how a message is acted on: a body beside any other of these does not open."""

OPENED = f"key_owner, sealed_body, is_from_before, {', '.join(BOUND)}"
"""The columns that `open_body` needs."""


def row_of(message: Mapping[str, Any]) -> str:
    """Return what the body of a row of `daraja_inbox` is encrypted for; of one from before that is its id alone."""
    if message["is_from_before"]:
        return str(message["inbox_id"])
    return "|".join(str(message[name]) for name in BOUND)


def open_body(vault: Vault, message: Mapping[str, Any]) -> bytes:
    """Return the body of a row of `daraja_inbox`.

    Raises Erased; and WrongKey where the row is not as Daftari stored it.
    """
    if is_version_1(message["sealed_body"]) and not message["is_from_before"]:
        raise WrongKey  # That format is bound to its owner alone.
    text = vault.decrypt(
        message["key_owner"], message["sealed_body"], purpose=INBOX_BODY, row=row_of(message)
    )
    return text.encode("latin-1")

"""Payment links: each names a session and its buyer, and only we can make one.

Nothing is stored of them: who has the link has the payment page of that session, and nothing else.
"""

import base64
import hmac
from uuid import UUID

from ledger.store.key_ring import PAYMENT_LINKS
from ledger.store.vault import Vault

PREFIX = "pl_"

_ID_BYTES, _USER_BYTES, _KEY_BYTES, _MAC_BYTES = 16, 8, 2, 16
_NAMED_BYTES = _ID_BYTES + _USER_BYTES + _KEY_BYTES
_CHARACTERS = len(PREFIX) + 4 * (_NAMED_BYTES + _MAC_BYTES) // 3


def make_link(vault: Vault, session_id: UUID, user_id: int) -> str:
    """Return the link of a session: PREFIX and 56 characters of URL-safe base64."""
    key_id, key = vault.keys.current(PAYMENT_LINKS)
    named = session_id.bytes + user_id.to_bytes(_USER_BYTES) + key_id.to_bytes(_KEY_BYTES)
    return PREFIX + base64.urlsafe_b64encode(named + _mac(key, named)).decode()


def read_link(vault: Vault, text: str) -> tuple[UUID, int] | None:
    """Return the session and the user whom a link names, None if we did not make it. Raises Unavailable."""
    if len(text) != _CHARACTERS or not text.startswith(PREFIX) or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
    except ValueError:
        return None
    named, mac = raw[:_NAMED_BYTES], raw[_NAMED_BYTES:]
    key = vault.keys.known(PAYMENT_LINKS, int.from_bytes(named[-_KEY_BYTES:]))
    if key is None or not hmac.compare_digest(_mac(key, named), mac):
        return None
    return UUID(bytes=named[:_ID_BYTES]), int.from_bytes(named[_ID_BYTES:-_KEY_BYTES])


def _mac(key: bytes, named: bytes) -> bytes:
    return hmac.digest(key, b"daftari payment link v1\0" + named, "sha256")[:_MAC_BYTES]

"""HMAC-SHA256 by keys that are used again and again: to take a key in takes longer than all the rest."""

import hmac
from functools import lru_cache
from hashlib import sha256


def keyed_digest(key: bytes, message: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA256."""
    mac = _begun(key).copy()
    mac.update(message)
    return mac.digest()


@lru_cache(maxsize=32)
def _begun(key: bytes) -> hmac.HMAC:
    """Return an HMAC that has taken its key, to be copied."""
    return hmac.new(key, digestmod=sha256)

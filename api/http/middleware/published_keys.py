"""The keys that an identity provider publishes as a JWK set (RFC 7517), for the tokens that it issues.

Fetched by one thread at a time and kept. A key that is new is looked for at once, so that a provider may change keys at
any moment; how often it is asked has a bound, so that tokens with invented key ids do not become a flood of requests.
While the provider is silent, the keys that are known go on being good for a while.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ledger.clock import now
from ledger.errors import Unavailable

FETCH_TIMEOUT_SECONDS = 3
FRESH_FOR = timedelta(minutes=5)
KEPT_FOR = timedelta(hours=1)
MAX_FETCHES_AT_ONCE = 5
FETCH_AGAIN_AFTER = timedelta(seconds=2)
MIN_RSA_BITS = 2048

PublicKey = RSAPublicKey | Ed25519PublicKey


def is_strong(key: object) -> TypeGuard[PublicKey]:
    """Say whether tokens may be signed with this key's private half: Ed25519, or RSA of 2048 bits or more."""
    return isinstance(key, Ed25519PublicKey) or (
        isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
    )


@dataclass(frozen=True)
class KeySet:
    """What the provider said at one moment: its keys by their ids, None for a key that has none."""

    keys: dict[str | None, PublicKey]
    fetched_at: datetime

    def find(self, key_id: object) -> PublicKey | None:
        """Return the key of this id; a token that names none means the only key there is."""
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(key_id) if isinstance(key_id, str) else None


@dataclass
class Budget:
    """How many fetches are allowed now: a few at once, then one each two seconds."""

    left: float = MAX_FETCHES_AT_ONCE
    counted_at: datetime = field(default_factory=now)

    def take(self, at: datetime) -> bool:
        """Take one, where there is one."""
        earned = (at - self.counted_at) / FETCH_AGAIN_AFTER
        self.left, self.counted_at = min(MAX_FETCHES_AT_ONCE, self.left + earned), at
        if self.left < 1:
            return False
        self.left -= 1
        return True


class PublishedKeys:
    """The keys at one address. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_SECONDS)
        self._lock = Lock()
        self._budget = Budget()
        self._known: KeySet | None = None

    def key_for(self, token: str) -> PublicKey:
        """Return the key that a token names. Raises PyJWTError where there is none, Unavailable while nobody knows."""
        key_id = jwt.get_unverified_header(token).get("kid")
        known = self._known
        key = known.find(key_id) if known is not None else None
        if known is None or key is None or now() - known.fetched_at > FRESH_FOR:
            known = self._fetch_unless_somebody_does(known, may_wait=key is None)
            key = known.find(key_id)
        if key is None:
            raise jwt.InvalidKeyError("The provider publishes no key of this id.")
        return key

    def count(self) -> int:
        """Return how many usable keys are published now. Raises Unavailable where none can be had."""
        return len(self._fetch_unless_somebody_does(None, may_wait=True).keys)

    def _fetch_unless_somebody_does(self, seen: KeySet | None, *, may_wait: bool) -> KeySet:
        """Return what the provider says now; or what is known, where that will do or has to."""
        if not self._lock.acquire(blocking=may_wait):
            return _still_good(seen)
        try:
            if self._known is seen and self._budget.take(now()):
                self._known = self._fetch()
            return _still_good(self._known)
        except (jwt.PyJWTError, ValueError) as error:
            if may_wait:
                raise _silent() from error
            return _still_good(seen)
        finally:
            self._lock.release()

    def _fetch(self) -> KeySet:
        found: dict[str | None, Any] = {
            key.key_id: key.key
            for key in self._client.get_jwk_set().keys
            if key.public_key_use in ("sig", None)
        }
        return KeySet({key_id: key for key_id, key in found.items() if is_strong(key)}, now())


def _still_good(known: KeySet | None) -> KeySet:
    if known is None or now() - known.fetched_at > KEPT_FOR:
        raise _silent()
    return known


def _silent() -> Unavailable:
    return Unavailable(
        "The keys that tokens are checked with cannot be fetched. Please try again shortly.",
        code="SIGN_IN_UNAVAILABLE",
    )

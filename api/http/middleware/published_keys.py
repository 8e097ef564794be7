"""The keys that an identity provider publishes as a JWK set (RFC 7517), for the tokens that it issues.

PyJWT's PyJWKClient fetches and parses the set. Here is what it does not do: use known keys on during an outage of the
provider, look for a new key at once but within a bound, and keep other requests from waiting for a refresh.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import BoundedSemaphore, Lock
from typing import TypeGuard

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from api.http.framework.waiting import while_waiting
from ledger.clock import now
from ledger.errors import Unavailable

FETCH_TIMEOUT_SECONDS = 3
FRESH_FOR = timedelta(minutes=5)
KEPT_FOR = timedelta(hours=1)
MAX_FETCHES_AT_ONCE = 5
FETCH_AGAIN_AFTER = timedelta(seconds=2)
MAX_WAITING = 32
"""How many requests wait for a fetch; to more, the provider is as good as silent."""

MIN_RSA_BITS = 2048

PublicKey = RSAPublicKey | Ed25519PublicKey


def is_strong(key: object) -> TypeGuard[PublicKey]:
    """Tell whether tokens may be signed with the private half of this key: Ed25519, or RSA of 2048 bits or more."""
    return isinstance(key, Ed25519PublicKey) or (
        isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
    )


@dataclass(frozen=True)
class KeySet:
    """The provider's keys at one moment by their ids; None is the id of a key without one."""

    keys: dict[str | None, PublicKey]
    fetched_at: datetime

    def find(self, key_id: object) -> PublicKey | None:
        """Return the key of this id; a token without one means the only key there is."""
        if key_id is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        return self.keys.get(key_id) if isinstance(key_id, str) else None


class PublishedKeys:
    """The keys at one address. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_SECONDS)
        self._lock = Lock()
        self._waiting = BoundedSemaphore(MAX_WAITING)
        self._spent_until = now()
        self._known: KeySet | None = None

    def key_for(self, token: str) -> PublicKey:
        """Return the key that a token names. Raises PyJWTError if there is none, Unavailable if no keys can be had."""
        key_id = jwt.get_unverified_header(token).get("kid")
        known = self._known
        key = known.find(key_id) if known is not None else None
        if key is None:
            key = self._wait_for_newer(known).find(key_id)
        elif known is not None and now() - known.fetched_at > FRESH_FOR:
            key = self._refresh(known, may_wait=False).find(key_id)
        if key is None:
            raise jwt.InvalidKeyError("The provider publishes no key of this id.")
        return key

    def count(self) -> int:
        """Return how many usable keys are published now. Raises Unavailable if none can be had."""
        return len(self._refresh(None, may_wait=True).keys)

    def _wait_for_newer(self, seen: KeySet | None) -> KeySet:
        if not self._waiting.acquire(blocking=False):
            raise _unavailable()
        try:
            with while_waiting():
                return self._refresh(seen, may_wait=True)
        finally:
            self._waiting.release()

    def _refresh(self, seen: KeySet | None, *, may_wait: bool) -> KeySet:
        """Fetch the keys unless another thread does; return the newest that are known."""
        if not self._lock.acquire(blocking=may_wait):
            return _still_good(seen)
        try:
            if self._known is seen and self._may_fetch():
                self._known = self._fetch()
            return _still_good(self._known)
        except (jwt.PyJWTError, ValueError) as error:
            if may_wait:
                raise _unavailable() from error
            return _still_good(seen)
        finally:
            self._lock.release()

    def _may_fetch(self) -> bool:
        """Count a fetch and allow it: MAX_FETCHES_AT_ONCE, then one each FETCH_AGAIN_AFTER."""
        at = now()
        spent_until = max(self._spent_until, at) + FETCH_AGAIN_AFTER
        if spent_until - at > MAX_FETCHES_AT_ONCE * FETCH_AGAIN_AFTER:
            return False
        self._spent_until = spent_until
        return True

    def _fetch(self) -> KeySet:
        published = self._client.get_jwk_set().keys
        return KeySet(
            {
                key.key_id: key.key
                for key in published
                if key.public_key_use in ("sig", None) and is_strong(key.key)
            },
            now(),
        )


def _still_good(known: KeySet | None) -> KeySet:
    if known is None or now() - known.fetched_at > KEPT_FOR:
        raise _unavailable()
    return known


def _unavailable() -> Unavailable:
    return Unavailable(
        "The keys that tokens are checked with cannot be fetched. Please try again shortly.",
        code="SIGN_IN_UNAVAILABLE",
    )

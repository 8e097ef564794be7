"""Personal data at rest: encrypted with a key per customer, which the master key wraps.

Destroying a customer's key erases their data from every event, row and body; counts and hashes stay and still verify.
"""

import base64
import hmac
import os
from hashlib import sha256
from threading import Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger import clock
from ledger.errors import LedgerError
from ledger.store.database import Database
from ledger.store.key_ring import (
    CALLBACK_TOKENS,
    CUSTOMER_KEYS,
    DIGESTS,
    KEY_BYTES,
    OWN_SECRETS,
    PURPOSES,
    SIGNED_BLOCKS,
    KeyRing,
    WrongKey,
    derive,
    unwrap,
    wrap,
)

SYSTEM_USER_ID = 0
"""The owner of what belongs to no known customer: the shop's own secrets, and callbacks of no known session."""

_MAX_KEYS_IN_MEMORY = 10_000
_ENCRYPTED_V1 = "v1."

_ENSURE_KEY = """
WITH made AS (
    INSERT INTO customer_keys (user_id, wrapped_key, created_at, destroyed_at) VALUES (%(user)s, %(key)s, %(now)s, NULL)
    ON CONFLICT (user_id) DO NOTHING RETURNING wrapped_key
)
SELECT wrapped_key FROM made UNION ALL SELECT wrapped_key FROM customer_keys WHERE user_id = %(user)s
"""
_ANY_WRAPPED_KEY = """
SELECT user_id, wrapped_key FROM customer_keys WHERE wrapped_key IS NOT NULL ORDER BY user_id LIMIT 1
"""
_READ_KEY = "SELECT wrapped_key FROM customer_keys WHERE user_id = %s"
_DESTROY_KEY = """
UPDATE customer_keys SET wrapped_key = NULL, destroyed_at = %s WHERE user_id = %s AND wrapped_key IS NOT NULL
"""


class Erased(LedgerError):
    """The customer's key was destroyed: nobody can decrypt their data again."""

    def __init__(self) -> None:
        super().__init__("ERASED", "The personal data of this customer have been erased.")


class Vault:
    """Encrypts and decrypts text by customer. Safe to share between threads.

    `master_key` is 32 bytes. An encrypted value is text: "v1." and the URL-safe base64 of nonce and AES-256-GCM
    ciphertext, bound to the customer's id. `block_key` signs the blocks of the log, `keys` is the key ring.
    """

    def __init__(self, database: Database, master_key: bytes) -> None:
        self.keys = KeyRing(database, master_key)
        self._database = database
        self._wrapper = AESGCM(derive(master_key, CUSTOMER_KEYS))
        self._system_key = AESGCM(derive(master_key, OWN_SECRETS))
        self._digest_key = derive(master_key, DIGESTS)
        self._token_key = derive(master_key, CALLBACK_TOKENS)
        self.block_key = Ed25519PrivateKey.from_private_bytes(derive(master_key, SIGNED_BLOCKS))
        self._keys: dict[int, AESGCM] = {}
        self._lock = Lock()

    def check_master_key(self) -> None:
        """Raise WrongKey if the database was made with another master key; change nothing."""
        if self.keys.is_stored():
            return
        with self._database.connection() as connection:
            row = connection.execute(_ANY_WRAPPED_KEY).fetchone()
        if row is not None:
            unwrap(self._wrapper, bytes(row["wrapped_key"]), _bound_to(row["user_id"]))

    def claim(self) -> None:
        """Bind a new database to this master key, by its key ring. Raises WrongKey if another was first."""
        self.check_master_key()
        self.keys.store_first(*PURPOSES)
        self._load(SYSTEM_USER_ID, make=True)

    def encrypt(self, user_id: int, text: str) -> str:
        """Return the text encrypted for a customer. Raises Erased if the customer was erased."""
        return _encrypt(self._key(user_id, make=True), text, _bound_to(user_id))

    def decrypt(self, user_id: int, encrypted: str) -> str:
        """Return the text of an encrypted value. Raises Erased, or WrongKey if it cannot be decrypted."""
        return _decrypt(self._key(user_id, make=False), encrypted, _bound_to(user_id))

    def erase(self, user_id: int) -> None:
        """Destroy a customer's key, for ever. Other processes forget it when they restart."""
        with self._database.connection() as connection:
            connection.execute(_DESTROY_KEY, (clock.now(), user_id))
        with self._lock:
            self._keys.pop(user_id, None)

    def digest(self, purpose: str, text: str) -> str:
        """Return a keyed digest (64 hex digits): equal for equal texts, and useless without the master key."""
        return hmac.new(self._digest_key, f"{purpose}\0{text}".encode(), sha256).hexdigest()

    def sign(self, message: bytes) -> bytes:
        """Return the 16 bytes that only the holder of the master key can compute for this message."""
        return hmac.new(self._token_key, message, sha256).digest()[:16]

    def _key(self, user_id: int, *, make: bool) -> AESGCM:
        if user_id == SYSTEM_USER_ID:
            return self._system_key
        known = self._keys.get(user_id)
        if known is not None:
            return known
        key = AESGCM(self._load(user_id, make=make))
        with self._lock:
            if len(self._keys) >= _MAX_KEYS_IN_MEMORY:
                self._keys.clear()
            self._keys[user_id] = key
        return key

    def _load(self, user_id: int, *, make: bool) -> bytes:
        row = self._read_or_make(user_id) if make else self._read(user_id)
        if row is None and make:  # Another process made it in the same moment: now it can be read.
            row = self._read(user_id)
        if row is None:
            raise WrongKey
        if row["wrapped_key"] is None:
            raise Erased
        return unwrap(self._wrapper, bytes(row["wrapped_key"]), _bound_to(user_id))

    def _read(self, user_id: int) -> dict[str, Any] | None:
        with self._database.connection() as connection:
            return connection.execute(_READ_KEY, (user_id,)).fetchone()

    def _read_or_make(self, user_id: int) -> dict[str, Any] | None:
        wrapped = wrap(self._wrapper, os.urandom(KEY_BYTES), _bound_to(user_id))
        with self._database.connection() as connection:
            values = {"user": user_id, "key": wrapped, "now": clock.now()}
            return connection.execute(_ENSURE_KEY, values).fetchone()


def _bound_to(user_id: int) -> bytes:
    return f"daftari customer {user_id}".encode()


def _encrypt(key: AESGCM, text: str, bound_to: bytes) -> str:
    return _ENCRYPTED_V1 + base64.urlsafe_b64encode(wrap(key, text.encode(), bound_to)).decode()


def _decrypt(key: AESGCM, encrypted: str, bound_to: bytes) -> str:
    if not encrypted.startswith(_ENCRYPTED_V1):
        raise WrongKey
    try:
        raw = base64.urlsafe_b64decode(encrypted[len(_ENCRYPTED_V1) :])
    except ValueError:
        raise WrongKey from None
    return unwrap(key, raw, bound_to).decode()

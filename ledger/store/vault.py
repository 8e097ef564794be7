"""Personal data at rest: encrypted with a key per customer, which the master key wraps.

Destroying a customer's key erases their data from every event, row and body; counts and hashes stay and still verify.
"""

import base64
import hmac
import os
from hashlib import sha256
from threading import Lock
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger import clock
from ledger.errors import WRONG_MASTER_KEY, LedgerError
from ledger.store.database import Database

SYSTEM_USER_ID = 0
"""The owner of what belongs to no known customer: the shop's own secrets, and callbacks of no known session."""

_KEY_BYTES = 32
_NONCE_BYTES = 12
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


class WrongKey(LedgerError):
    """A value cannot be decrypted: it was altered, or it was encrypted under another master key."""

    def __init__(self) -> None:
        super().__init__(
            WRONG_MASTER_KEY,
            "The data in this database cannot be decrypted with this master key. Set DAFTARI_MASTER_KEY to the one "
            "that it was made with, or DAFTARI_DATA_DIR to the folder that holds it.",
        )


class Vault:
    """Encrypts and decrypts text by customer. Safe to share between threads.

    `master_key` is 32 bytes. An encrypted value is text: "v1." and the URL-safe base64 of nonce and AES-256-GCM
    ciphertext, bound to the customer's id. `block_key` signs the blocks of the log.
    """

    def __init__(self, database: Database, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES:
            raise ValueError("The master key is 32 bytes.")
        self._database = database
        self._wrapper = AESGCM(_derive(master_key, b"customer keys"))
        self._system_key = AESGCM(_derive(master_key, b"own secrets"))
        self._digest_key = _derive(master_key, b"digests")
        self._token_key = _derive(master_key, b"callback tokens")
        self.block_key = Ed25519PrivateKey.from_private_bytes(_derive(master_key, b"signed blocks"))
        self._keys: dict[int, AESGCM] = {}
        self._lock = Lock()

    def check_master_key(self) -> None:
        """Raise WrongKey if the database was made with another master key; change nothing."""
        with self._database.connection() as connection:
            row = connection.execute(_ANY_WRAPPED_KEY).fetchone()
        if row is not None:
            _decrypt_bytes(self._wrapper, bytes(row["wrapped_key"]), _bound_to(row["user_id"]))

    def claim(self) -> None:
        """Bind a new database to this master key, by a key for SYSTEM_USER_ID. Raises WrongKey if another was first."""
        self.check_master_key()
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
        return _decrypt_bytes(self._wrapper, bytes(row["wrapped_key"]), _bound_to(user_id))

    def _read(self, user_id: int) -> dict[str, Any] | None:
        with self._database.connection() as connection:
            return connection.execute(_READ_KEY, (user_id,)).fetchone()

    def _read_or_make(self, user_id: int) -> dict[str, Any] | None:
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + self._wrapper.encrypt(nonce, os.urandom(_KEY_BYTES), _bound_to(user_id))
        with self._database.connection() as connection:
            values = {"user": user_id, "key": wrapped, "now": clock.now()}
            return connection.execute(_ENSURE_KEY, values).fetchone()


def _bound_to(user_id: int) -> bytes:
    return f"daftari customer {user_id}".encode()


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"daftari " + purpose).derive(master_key)


def _encrypt(key: AESGCM, text: str, bound_to: bytes) -> str:
    nonce = os.urandom(_NONCE_BYTES)
    return (
        _ENCRYPTED_V1 + base64.urlsafe_b64encode(nonce + key.encrypt(nonce, text.encode(), bound_to)).decode()
    )


def _decrypt(key: AESGCM, encrypted: str, bound_to: bytes) -> str:
    if not encrypted.startswith(_ENCRYPTED_V1):
        raise WrongKey
    try:
        raw = base64.urlsafe_b64decode(encrypted[len(_ENCRYPTED_V1) :])
    except ValueError:
        raise WrongKey from None
    return _decrypt_bytes(key, raw, bound_to).decode()


def _decrypt_bytes(key: AESGCM, encrypted: bytes, bound_to: bytes) -> bytes:
    try:
        return key.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):  # Altered, encrypted by another key, or cut short.
        raise WrongKey from None

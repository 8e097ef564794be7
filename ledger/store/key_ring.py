"""The keys of this installation by purpose and number, each wrapped by a key that is derived from the master key.

What is encrypted, signed or MACed names the number of its key, so a key can be followed by a new one, and the
master key by another, while everything that was made before can still be read.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import Connection

from ledger import clock
from ledger.errors import WRONG_MASTER_KEY, DatabaseUnavailable, LedgerError
from ledger.store.database import Database

CUSTOMER_KEYS = "customer keys"
OWN_SECRETS = "own secrets"
DIGESTS = "digests"
CALLBACK_TOKENS = "callback tokens"
SIGNED_BLOCKS = "signed blocks"
EVENT_MAC = "event mac"
AUDIT_LOG = "audit log"
VERIFICATION_RUNS = "verification runs"
MOVEMENTS = "movements"
API_KEYS = "api keys"
PAYMENT_LINKS = "payment links"

PURPOSES = (CUSTOMER_KEYS, OWN_SECRETS, DIGESTS, CALLBACK_TOKENS, SIGNED_BLOCKS, EVENT_MAC, AUDIT_LOG)
"""What the first start on a database stores a key for; any other purpose gets its first key when it is first used."""

KEY_BYTES = 32
NONCE_BYTES = 12

_log = structlog.get_logger(__name__)
_READ_AGAIN_AFTER = timedelta(seconds=30)
_NEVER = datetime.min.replace(tzinfo=UTC)
_ALL = "SELECT purpose, key_id, wrapped_key, retired_at FROM key_ring ORDER BY purpose, key_id"
_STORE_FIRST = """
INSERT INTO key_ring (purpose, key_id, wrapped_key, created_at)
SELECT purpose, 0, wrapped_key, %(now)s
FROM unnest(%(purposes)s::text[], %(wrapped)s::bytea[]) AS first (purpose, wrapped_key) ORDER BY purpose
ON CONFLICT (purpose, key_id) DO NOTHING
"""


_LOCK = "SELECT purpose, key_id, wrapped_key FROM key_ring ORDER BY purpose, key_id FOR UPDATE"
_REWRAP = "UPDATE key_ring SET wrapped_key = %s WHERE purpose = %s AND key_id = %s"
_ADD = "INSERT INTO key_ring (purpose, key_id, wrapped_key, created_at) VALUES (%s, %s, %s, %s)"
_RETIRE = """
UPDATE key_ring AS key SET retired_at = %(at)s
WHERE retired_at IS NULL AND (%(purpose)s::text IS NULL OR purpose = %(purpose)s)
  AND EXISTS (SELECT FROM key_ring AS newer WHERE newer.purpose = key.purpose AND newer.key_id > key.key_id)
"""

KNOWN_WITHIN = 2 * _READ_AGAIN_AFTER
"""By then every running process has read a new key, so that it may be used."""


class WrongKey(LedgerError):
    """A value cannot be decrypted: it was altered, or it was encrypted under another master key."""

    def __init__(self) -> None:
        super().__init__(
            WRONG_MASTER_KEY,
            "The data in this database cannot be decrypted with this master key. Set DAFTARI_MASTER_KEY to the one "
            "that it was made with, or DAFTARI_DATA_DIR to the folder that holds it.",
        )


class AlteredKey(WrongKey):
    """A key of the ring does not open by the master key that opens others: altered, or not made by Daftari."""

    def __init__(self, purpose: str, key_id: int) -> None:
        LedgerError.__init__(
            self,
            "KEY_ALTERED",
            f"Key {key_id} for {purpose} in this database's key ring was altered, or Daftari did not make it. Take "
            "this row of key_ring from a backup; if there never was such a key, let an administrator delete the row.",
        )


class MasterKeyReplaced(DatabaseUnavailable):
    """This process runs with a master key that was replaced, and meets a key of the ring that it cannot open."""

    def __init__(self) -> None:
        super().__init__("The master key was replaced. Restart this process with the new DAFTARI_MASTER_KEY.")


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key of a purpose: 32 bytes. After `retired_at` nothing new is made with it."""

    key_id: int
    key: bytes
    retired_at: datetime | None


Ring = dict[str, dict[int, RingKey]]
Row = dict[str, Any]


class KeyRing:
    """Knows the keys by purpose and number. Safe to share between threads.

    `master_key` is 32 bytes. The keys are read from the database at the first use and every half minute, and kept in
    memory; all methods raise Unavailable, and WrongKey if the ring was made with another master key.
    """

    def __init__(self, database: Database, master_key: bytes) -> None:
        if len(master_key) != KEY_BYTES:
            raise ValueError("The master key is 32 bytes.")
        self._database = database
        self._master_key = master_key
        self._wrapper = AESGCM(derive(master_key, "key ring"))
        self._ring: Ring = {}
        self._read_at = _NEVER
        self._is_replaced = False
        self._altered: set[tuple[str, int]] = set()

    def current(self, purpose: str) -> tuple[int, bytes]:
        """Return the number and the 32 bytes of the key for new values; the first use of a purpose makes it."""
        found = self._keys_of(purpose)
        for key in found:
            if key.retired_at is None or clock.now() < key.retired_at:
                return key.key_id, key.key
        return found[-1].key_id, found[-1].key

    def find(self, purpose: str, key_id: int) -> bytes | None:
        """Return the 32 bytes of a key, current or retired, None if there is none.

        Raises MasterKeyReplaced if only the new master key could tell.
        """
        # A number's key never changes, so one that is known needs no newer ring.
        found = self._ring.get(purpose, {}).get(key_id)
        if found is None:  # Another process may have made it a moment ago.
            self._read()
            found = self._ring.get(purpose, {}).get(key_id)
        if found is None and self._is_replaced:
            raise MasterKeyReplaced
        if found is None and key_id == 0:
            self.store_first(purpose)
            found = self._ring.get(purpose, {}).get(key_id)
        return found.key if found else None

    def known(self, purpose: str, key_id: int) -> bytes | None:
        """Return the 32 bytes of a key, as `find` does, but from a ring of the last half minute.

        For a number that a stranger sends: one that names no key costs no statement. A new key is used from
        KNOWN_WITHIN on, so none in use is missed.
        """
        found = next((key for key in self._keys_of(purpose) if key.key_id == key_id), None)
        if found is None and self._is_replaced:
            raise MasterKeyReplaced
        return found.key if found else None

    def key(self, purpose: str, key_id: int) -> bytes:
        """Return the 32 bytes of a key, as `find` does. Raises LedgerError UNKNOWN_KEY if there is none."""
        found = self.find(purpose, key_id)
        if found is None:
            raise LedgerError(
                "UNKNOWN_KEY", f"There is no key {key_id} for {purpose} in this database's key ring."
            )
        return found

    def keys(self, purpose: str) -> list[RingKey]:
        """Return all keys of a purpose, the oldest first."""
        return self._keys_of(purpose)

    def first(self, purpose: str) -> bytes:
        """Return the key that the master key derives for a purpose, stored or not."""
        return derive(self._master_key, purpose)

    def is_stored(self) -> bool:
        """Return whether the database has a key ring. Raises WrongKey if it is of another master key."""
        self._read()
        return bool(self._ring)

    def altered(self, connection: Connection[Any]) -> list[tuple[str, int]]:
        """Return purpose and number of the rows that do not open by the master key, while others do."""
        _, altered = self._opened(connection.execute(_ALL).fetchall())
        return sorted(altered)

    def store_first(self, *purposes: str) -> None:
        """Store the first key of purposes that have none: of several processes at once, the first one's stay.

        Raises MasterKeyReplaced, and WrongKey: a key that the old master key wraps would shut the new one out.
        """
        self._read()
        if self._is_replaced:
            raise MasterKeyReplaced
        first = sorted(purposes)
        wrapped = [wrap(self._wrapper, self.first(purpose), _bound_to(purpose, 0)) for purpose in first]
        with self._database.connection() as connection:
            connection.execute(_STORE_FIRST, {"now": clock.now(), "purposes": first, "wrapped": wrapped})
        self._read()

    def rewrap(self, connection: Connection[Any], new_master_key: bytes) -> None:
        """Wrap the ring by another master key, and add the next key of every purpose but digests.

        In the caller's transaction, whose login owns the tables. The next keys wait until `retire_older`: a process
        that still has the old master key cannot open them, and goes on with those that it knows. Raises WrongKey, and
        AlteredKey if one of the ring cannot be wrapped anew.
        """
        wrapper, now = AESGCM(derive(new_master_key, "key ring")), clock.now()
        last: dict[str, int] = {}
        opened, altered = self._opened(connection.execute(_LOCK).fetchall())
        for purpose, key_id in altered:
            raise AlteredKey(purpose, key_id)
        for (purpose, key_id), key in opened.items():
            connection.execute(_REWRAP, (wrap(wrapper, key, _bound_to(purpose, key_id)), purpose, key_id))
            last[purpose] = key_id
        for purpose, key_id in last.items():
            if purpose != DIGESTS:
                added = wrap(wrapper, os.urandom(KEY_BYTES), _bound_to(purpose, key_id + 1))
                connection.execute(_ADD, (purpose, key_id + 1, added, now))

    def roll(self, connection: Connection[Any], purpose: str) -> int:
        """Add the next key of a purpose, in use from KNOWN_WITHIN on; return its number. The caller owns the tables.

        Raises AlteredKey if that number is taken by what is no key.
        """
        key_id = self._keys_of(purpose)[-1].key_id + 1
        if (purpose, key_id) in self._altered:
            raise AlteredKey(purpose, key_id)
        added = wrap(self._wrapper, os.urandom(KEY_BYTES), _bound_to(purpose, key_id))
        connection.execute(_ADD, (purpose, key_id, added, clock.now()))
        self.retire_older(connection, purpose)
        return key_id

    def retire_older(self, connection: Connection[Any], purpose: str | None = None) -> None:
        """Let the newest key of a purpose, or of all, be used from KNOWN_WITHIN on. The caller owns the tables."""
        connection.execute(_RETIRE, {"at": clock.now() + KNOWN_WITHIN, "purpose": purpose})
        self._read_at = _NEVER

    def settled_at(self) -> datetime:
        """Return from when on every process uses the newest key of each purpose, as far as that is arranged."""
        keys = [key for ring in self._current_ring().values() for key in ring.values()]
        return max((key.retired_at for key in keys if key.retired_at is not None), default=_NEVER)

    def _keys_of(self, purpose: str) -> list[RingKey]:
        found = self._current_ring().get(purpose)
        if found is None:
            self.store_first(purpose)
            found = self._ring.get(purpose)
        if found is None:
            raise AlteredKey(purpose, 0)
        return list(found.values())

    def _current_ring(self) -> Ring:
        if not timedelta(0) <= clock.now() - self._read_at < _READ_AGAIN_AFTER:
            self._read()
        return self._ring

    def _read(self) -> None:
        """Read the ring anew. After a rotation of the master key a running process goes on with the keys it knows."""
        read_at = clock.now()
        with self._database.connection() as connection:
            rows = connection.execute(_ALL).fetchall()
        ring: Ring = {}
        try:
            opened, altered = self._opened(rows)
            for row in rows:
                purpose, key_id = row["purpose"], row["key_id"]
                if (purpose, key_id) in opened:
                    key = RingKey(key_id, opened[purpose, key_id], row["retired_at"])
                    ring.setdefault(purpose, {})[key_id] = key
            for purpose, key_id in altered - self._altered:
                _log.error("key_altered", advice=AlteredKey(purpose, key_id).message)
            self._altered = altered
        except WrongKey:
            if not self._ring:
                raise
            ring, self._is_replaced = self._ring, True
            _log.warning(
                "master_key_was_rotated", advice="Restart this process with the new DAFTARI_MASTER_KEY."
            )
        self._ring, self._read_at = ring, read_at

    def _opened(self, rows: Sequence[Row]) -> tuple[dict[tuple[str, int], bytes], set[tuple[str, int]]]:
        """Return the keys by purpose and number, and which do not open; raise WrongKey if there are some and none does.

        A rotation wraps all of them in one commit, so that where one opens the master key is the right one.
        """
        opened, altered = {}, set()
        for row in rows:
            name = row["purpose"], row["key_id"]
            try:
                opened[name] = unwrap(self._wrapper, bytes(row["wrapped_key"]), _bound_to(*name))
            except WrongKey:
                altered.add(name)
        if altered and not opened:
            raise WrongKey
        return opened, altered


def derive(key: bytes, purpose: str) -> bytes:
    """Return the 32 bytes that HKDF-SHA256 derives from a key for a purpose."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"daftari " + purpose.encode()).derive(key)


def wrap(wrapper: AESGCM, key: bytes, bound_to: bytes) -> bytes:
    """Return nonce and AES-256-GCM ciphertext of a key."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + wrapper.encrypt(nonce, key, bound_to)


def unwrap(wrapper: AESGCM, wrapped: bytes, bound_to: bytes) -> bytes:
    """Return the key that was wrapped. Raises WrongKey if it was altered, cut short, or wrapped by another key."""
    try:
        return wrapper.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise WrongKey from None


def _bound_to(purpose: str, key_id: int) -> bytes:
    return f"daftari key ring\0{purpose}\0{key_id}".encode()

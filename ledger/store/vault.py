"""Personal data and secrets at rest: encrypted with a key per customer, or with our own, for one purpose and one row.

Destroying a customer's key erases their data from every event, row and body; counts and hashes stay and still verify.
"""

import base64
import binascii
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from ledger import clock
from ledger.errors import DatabaseUnavailable
from ledger.store.customer_keys import CustomerKey, CustomerKeys, Erased, bound_to
from ledger.store.database import Database
from ledger.store.key_ring import (
    CALLBACK_TOKENS,
    DIGESTS,
    NONCE_BYTES,
    OWN_SECRETS,
    PURPOSES,
    SIGNED_BLOCKS,
    KeyRing,
    WrongKey,
    derive,
    unwrap,
    wrap,
)
from ledger.store.keyed_digests import keyed_digest
from ledger.store.parts import Part

SYSTEM_USER_ID = 0
"""The owner of what belongs to no known customer: the shop's own secrets, and callbacks of no known session."""

PHONE = "phone"
DELIVERY = "delivery"
CHECKOUT_ID = "checkout id"
REFERENCE = "reference"
"""The caller's own name of a session."""
METADATA = "metadata"
LINE = "line name"
"""What the caller told of a session, and of one of its lines, as JSON."""
CHECKOUT_REFERENCE = "checkout reference"
"""What a reference is digested for, to be found by."""
WEBHOOK_DEFINITION = "webhook endpoint"
"""What the definition of a webhook endpoint is encrypted for; its row is the endpoint's id."""

EVENT_PURPOSES = {
    "phone_sealed": PHONE,
    "delivery_sealed": DELIVERY,
    "checkout_sealed": CHECKOUT_ID,
    "reference_sealed": REFERENCE,
    "metadata_sealed": METADATA,
    "name_sealed": LINE,
}
"""What each encrypted field of an event is encrypted for; its row is the session."""

TOKENS_LAST = timedelta(days=30)
"""How long a callback token is still good after its key was followed by another: longer than M-Pesa takes to report."""

ERASED_VALUE = "erased"
"""Stands where the value of a customer would be who had been erased before it came."""

_V1, _V2 = "v1.", "v2."
_FORMAT_OF_EVENTS_BEFORE = frozenset({PHONE, DELIVERY, CHECKOUT_ID})
"""Purposes of values in events, which nobody can encrypt anew: version 1 is good in them for ever."""

_KEY_ID_BYTES = 2
_HEAD_CHARACTERS = 20
"""Of an encrypted value behind its version: they hold the number of the key and the nonce."""
_ONE_STEP, _SALTS = (1).to_bytes(4), b"daftari salt v1"
"""What the one-step key derivation of NIST SP 800-56C, which is one SHA-256, puts around a key."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_ERASE = "SELECT erase_customer(%s, %s::text[]) AS counts"
_IS_REENCRYPTED = "SELECT FROM reencrypted_tables WHERE name = %s"
EVERYTHING = "everything"
"""The name in `reencrypted_tables` under which it says that every table is done."""


class Vault:
    """Encrypts and decrypts text by owner, purpose and row. Safe to share between threads.

    `master_key` is 32 bytes; `keys` is the key ring that it opens. An encrypted value is text: "v2." and the URL-safe
    base64 of the number of its key (2 bytes), the nonce (12) and the AES-256-GCM ciphertext. It opens for the owner,
    the purpose and the row that it was made for and for no others; `row` names one row of the purpose, such as a
    session's id. Customers' values are under their own key; those of SYSTEM_USER_ID under one of ours for the purpose.
    """

    def __init__(self, database: Database, master_key: bytes) -> None:
        self.keys = KeyRing(database, master_key)
        self._database = database
        self._customers = CustomerKeys(database, self.keys)
        self._refuses_v1 = False

    @property
    def block_keys(self) -> list[Ed25519PublicKey]:
        """The keys by which blocks of this database may be signed, whenever they were."""
        keys = self.keys.keys(SIGNED_BLOCKS)
        return [Ed25519PrivateKey.from_private_bytes(key.key).public_key() for key in keys]

    @property
    def block_key(self) -> Ed25519PrivateKey:
        """The key that signs the blocks of the log now."""
        return Ed25519PrivateKey.from_private_bytes(self.keys.current(SIGNED_BLOCKS)[1])

    def check_master_key(self) -> None:
        """Raise WrongKey if the database was made with another master key; change nothing."""
        if not self.keys.is_stored():
            self._customers.check_unclaimed()

    def claim(self) -> None:
        """Bind a new database to this master key, by its key ring. Raises WrongKey if another was first."""
        self.check_master_key()
        self.keys.store_first(*PURPOSES)

    def key_to_read(self, owner: int) -> dict[str, Part]:
        """Return the part of a statement that reads a customer's key; nothing if it is in memory."""
        return self._customers.to_read(owner)

    def key_of_read(self, owner: int, values: Mapping[str, Any]) -> CustomerKey:
        """Return the key of what `key_to_read` read, for `encrypt`: a new one if the customer has none.

        Write its `to_write` together with what it encrypted, then let it be remembered. Raises Erased and WrongKey.
        """
        return self._customers.of_read(owner, values)

    def remember(self, key: CustomerKey) -> None:
        """Keep a customer's key in memory, now that it is stored."""
        self._customers.remember(key)

    def encrypt(
        self, owner: int, text: str, *, purpose: str, row: object, by: CustomerKey | None = None
    ) -> str:
        """Return the text encrypted for an owner, a purpose and a row, `by` the owner's key where that is at hand.

        Raises Erased if the customer was erased.
        """
        key_id, key = (0, AESGCM(by.key)) if by else self._current_key(owner, purpose)
        wrapped = wrap(key, text.encode(), _bound_to(owner, purpose, row))
        return _V2 + base64.urlsafe_b64encode(key_id.to_bytes(_KEY_ID_BYTES) + wrapped).decode()

    def encrypt_unless_erased(self, owner: int, text: str, *, purpose: str, row: object) -> str:
        """Return the text encrypted, or for a customer who was erased a value that never opens.

        For facts that have to be recorded even if the customer was erased meanwhile, such as a payment that came late.
        """
        try:
            return self.encrypt(owner, text, purpose=purpose, row=row)
        except Erased:
            return ERASED_VALUE

    def decrypt(self, owner: int, encrypted: str, *, purpose: str, row: object) -> str:
        """Return the text of an encrypted value.

        Raises Erased; and WrongKey if it was altered, moved from another owner, purpose or row, or made under another
        master key, and for one of version 1 outside of events, once all of those are encrypted anew.
        """
        return next(self.decrypt_each(owner, ((purpose, encrypted),), row=row))

    def decrypt_each(self, owner: int, values: Iterable[tuple[str, str]], *, row: object) -> Iterator[str]:
        """Yield the text of each purpose and encrypted value of one row of an owner, whose key is looked up once.

        Raises at a value what `decrypt` raises.
        """
        customers_key: AESGCM | None = None
        name = str(row)
        for purpose, encrypted in values:
            if encrypted == ERASED_VALUE:
                raise Erased
            version, raw = encrypted[: len(_V2)], _decoded(encrypted[len(_V2) :])
            is_v1 = version == _V1 and (purpose in _FORMAT_OF_EVENTS_BEFORE or not self._is_v1_refused())
            if not is_v1 and version != _V2:
                raise WrongKey
            if owner != SYSTEM_USER_ID:
                key = customers_key = customers_key or self._customers_key(owner)
            elif is_v1:
                key = self._first_own_key()
            else:
                key = _own_key(self._key_of_ours(int.from_bytes(raw[:_KEY_ID_BYTES])), purpose)
            if is_v1:
                yield unwrap(key, raw, bound_to(owner)).decode()
            else:
                yield unwrap(key, raw[_KEY_ID_BYTES:], _bound_to(owner, purpose, name)).decode()

    def salt(self, owner: int, encrypted: str) -> bytes | None:
        """Return the 32 bytes by which a commitment to the text of an encrypted value hides it; none for version 1.

        They are derived from the owner's key for the nonce of the encrypted value: once either is gone, nobody can have
        them, and what was committed to cannot be guessed. Raises Erased, and WrongKey.
        """
        if not encrypted.startswith(_V2):
            return None
        head = _decoded(encrypted[len(_V2) :][:_HEAD_CHARACTERS])[: _KEY_ID_BYTES + NONCE_BYTES]
        key = (
            self._key_of_ours(int.from_bytes(head[:_KEY_ID_BYTES]))
            if owner == SYSTEM_USER_ID
            else self._customers.of(owner, make=False)
        )
        return sha256(_ONE_STEP + key + _SALTS + head).digest()

    def commitment(self, owner: int, encrypted: str, content: bytes) -> str | None:
        """Return SHA-256(salt ‖ content) in hex, by the salt of its encrypted value: what an event keeps of it.

        A bare digest of content in which only a phone number is unknown would tell that for ever. None without a salt,
        or where the owner was erased or their key cannot be read this moment: the event must be recorded all the same.
        """
        try:
            salt = self.salt(owner, encrypted)
        except (Erased, DatabaseUnavailable):
            return None
        return sha256(salt + content).hexdigest() if salt else None

    def read_ahead(self, owners: Collection[int]) -> None:
        """Read the keys of some hundreds of customers, whose values are decrypted next, in one round trip."""
        self._customers.read_ahead(owners)

    def take_keys(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Do the same with what a statement has read along: KEY_OF each `user_id`."""
        self._customers.take(rows)

    def make_keys(self, owners: Collection[int]) -> None:
        """Make the keys of some thousand customers whose values are encrypted next, of those who have none."""
        self._customers.make_all(owners)

    def rewrap_customers(self, connection: Connection[Any]) -> int:
        """Wrap some customers' keys by the newest key of the ring; return how many, 0 once all are."""
        return self._customers.rewrap_some(connection)

    def erase(
        self, user_id: int, phone_digests: Sequence[str] = (), connection: Connection[Any] | None = None
    ) -> dict[str, int]:
        """Destroy a customer's key, for ever, and delete the rows that still point at the person.

        Other processes forget the key within FORGOTTEN_WITHIN. Works in the transaction of `connection` if there is
        one. Returns how many rows of each table were deleted or emptied; see the SQL function erase_customer.
        """
        with nullcontext(connection) if connection is not None else self._database.connection() as used:
            row = used.execute(_ERASE, (user_id, list(phone_digests))).fetchone()
        assert row is not None
        self._customers.forget(user_id)
        counts: dict[str, int] = row["counts"]
        return counts

    def is_erased(self, owner: int) -> bool:
        """Say whether a customer's key was destroyed; False for one who has none yet. Raises Unavailable."""
        try:
            self._customers.of(owner, make=False)
        except Erased:
            return True
        except WrongKey:
            return False
        return False

    def digest(self, purpose: str, text: str) -> str:
        """Return a keyed digest (64 hex digits): equal for equal texts, and useless without the key ring."""
        return keyed_digest(self.keys.key(DIGESTS, 0), f"{purpose}\0{text}".encode()).hex()

    def sign(self, message: bytes) -> bytes:
        """Return the 16 bytes that only the holder of the key ring can compute for this message."""
        return _signature(self.keys.current(CALLBACK_TOKENS)[1], message)

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether `sign` made these bytes for the message, under a key that was current in the last TOKENS_LAST."""
        since = clock.now() - TOKENS_LAST
        return any(
            hmac.compare_digest(signature, _signature(key.key, message))
            for key in self.keys.keys(CALLBACK_TOKENS)
            if key.retired_at is None or key.retired_at > since
        )

    def _current_key(self, owner: int, purpose: str) -> tuple[int, AESGCM]:
        if owner != SYSTEM_USER_ID:
            return 0, AESGCM(self._customers.of(owner, make=True))
        key_id, key = self.keys.current(OWN_SECRETS)
        return key_id, _own_key(key, purpose)

    def _key_of_ours(self, key_id: int) -> bytes:
        found = self.keys.find(OWN_SECRETS, key_id)
        if found is None:  # Nothing of ours names a key that is not in the ring.
            raise WrongKey
        return found

    def _customers_key(self, owner: int) -> AESGCM:
        return AESGCM(self._customers.of(owner, make=False))

    def _first_own_key(self) -> AESGCM:
        return AESGCM(self.keys.key(OWN_SECRETS, 0))

    def _is_v1_refused(self) -> bool:
        if not self._refuses_v1:
            with self._database.connection() as connection:
                self._refuses_v1 = connection.execute(_IS_REENCRYPTED, (EVERYTHING,)).rowcount > 0
        return self._refuses_v1


def is_version_1(encrypted: str) -> bool:
    """Whether a value is of the format before, which is bound to its owner alone."""
    return encrypted.startswith(_V1)


def _bound_to(owner: int, purpose: str, row: object) -> bytes:
    return f"daftari value v2\0{owner}\0{purpose}\0{row}".encode()


def _own_key(key: bytes, purpose: str) -> AESGCM:
    return AESGCM(derive(key, f"own secrets of {purpose}"))


def _signature(key: bytes, message: bytes) -> bytes:
    return keyed_digest(key, message)[:16]


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("ascii").translate(_URL_SAFE))
    except ValueError:
        raise WrongKey from None

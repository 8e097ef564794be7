"""A key per customer, wrapped by a key of the ring. Destroying it erases the customer from every encrypted value."""

import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import Connection

from ledger import clock
from ledger.errors import LedgerError
from ledger.store.database import Database
from ledger.store.key_ring import CUSTOMER_KEYS, KEY_BYTES, KeyRing, WrongKey, unwrap, wrap
from ledger.store.parts import Part

FORGOTTEN_WITHIN = timedelta(seconds=3)
"""How long a process may go on with the key of a customer whom another one has erased."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_MAX_KEYS_IN_MEMORY = 4_000
_OVERLAP = timedelta(minutes=1)
"""Longer than the transaction of an erasure may take to commit."""

_ENSURE_KEY = """
WITH made AS (
    INSERT INTO customer_keys (user_id, wrapped_key, wrap_key_id, created_at)
    VALUES (%(user)s, %(key)s, %(wrap_key_id)s, %(now)s)
    ON CONFLICT (user_id) DO NOTHING RETURNING wrapped_key, wrap_key_id
)
SELECT wrapped_key, wrap_key_id FROM made
UNION ALL SELECT wrapped_key, wrap_key_id FROM customer_keys WHERE user_id = %(user)s
"""
KEY_OF = "SELECT wrapped_key, wrap_key_id FROM customer_keys WHERE user_id ="
"""Begins the part of a statement that reads a customer's key with other things, for `take`."""
_READ_KEY = f"{KEY_OF} %s"
_KEY_PART = """(
    SELECT json_build_array(encode(wrapped_key, 'hex'), wrap_key_id)::text FROM customer_keys WHERE user_id = %s
)"""
_ADD_PART = "add_customer_key(%s, %s, %s, %s)"
HAS_A_KEY = "DF005"
_READ_KEYS = """
SELECT user_id, wrapped_key, wrap_key_id FROM customer_keys WHERE user_id = ANY(%s) AND wrapped_key IS NOT NULL
"""
_MAKE_KEYS = """
INSERT INTO customer_keys (user_id, wrapped_key, wrap_key_id, created_at)
SELECT user_id, wrapped_key, %s, %s FROM unnest(%s::bigint[], %s::bytea[]) AS made (user_id, wrapped_key)
ORDER BY user_id ON CONFLICT (user_id) DO NOTHING
"""
_ERASED_SINCE = """
SELECT clock_timestamp() AS read_at,
       ARRAY(SELECT user_id FROM customer_keys WHERE destroyed_at > %s) AS erased
"""
_REWRAPPED_AT_ONCE = 500
_TO_REWRAP = """
SELECT user_id, wrapped_key, wrap_key_id FROM customer_keys
WHERE wrap_key_id <> %s AND wrapped_key IS NOT NULL ORDER BY user_id LIMIT %s FOR UPDATE
"""
_REWRAP = "UPDATE customer_keys SET wrapped_key = %s, wrap_key_id = %s WHERE user_id = %s"
_ANY_WRAPPED_KEY = """
SELECT user_id, wrapped_key FROM customer_keys
WHERE wrapped_key IS NOT NULL AND wrap_key_id = 0 ORDER BY user_id LIMIT 1
"""


class Erased(LedgerError):
    """The customer's key was destroyed: nobody can decrypt their data again."""

    def __init__(self) -> None:
        super().__init__("ERASED", "The personal data of this customer have been erased.")


class HasKey(Exception):
    """Another process made the customer's key in the same moment: read it, and encrypt with that one."""


@dataclass(frozen=True, slots=True)
class CustomerKey:
    """A customer's key of KEY_BYTES, and the part that stores it if it is new, to be written with what it encrypts.

    Keys are kept as bytes: a cipher made of one takes 4 µs to make and 2.5 kB to keep, for thousands of customers.
    """

    user_id: int
    key: bytes = field(repr=False)
    to_write: Mapping[str, Part]


class CustomerKeys:
    """Knows the keys of customers. Those last used stay in memory, and leave it within seconds of an erasure.

    One question in FORGOTTEN_WITHIN is asked for all customers together, so a known key costs no round trip of its own.
    """

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring
        self._known: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()
        self._asked_at = self._read_at = _NEVER

    def of(self, user_id: int, *, make: bool) -> bytes:
        """Return a customer's key; make it if there is none and `make`. Raises Erased, WrongKey and Unavailable."""
        if user_id in self._known:
            self._forget_erased()
        with self._lock:
            known = self._known.get(user_id)
            if known is not None:
                self._known.move_to_end(user_id)
                return known
        key = self._load(user_id, make=make)
        self.remember(CustomerKey(user_id, key, {}))
        return key

    def read_ahead(self, user_ids: Collection[int]) -> None:
        """Read the keys of some hundreds of customers, who are asked for next, in one round trip."""
        unknown = [user_id for user_id in user_ids if user_id not in self._known]
        if unknown:
            with self._database.connection() as connection:
                self.take(connection.execute(_READ_KEYS, (unknown,)))

    def take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep in memory the keys of rows that hold KEY_OF each `user_id`."""
        for row in rows:
            if row["wrapped_key"] is not None and row["user_id"] not in self._known:
                with suppress(WrongKey):  # It is asked for alone, and raised to who needs it.
                    key = self._unwrapped(row["user_id"], row)
                    self.remember(CustomerKey(row["user_id"], key, {}))

    def make_all(self, user_ids: Collection[int]) -> None:
        """Make the keys of some thousand customers, of those who have none, and read all; in two round trips."""
        self.read_ahead(user_ids)
        unknown = [user_id for user_id in user_ids if user_id not in self._known]
        if unknown:
            wrapped = [self._wrapped(user_id, os.urandom(KEY_BYTES)) for user_id in unknown]
            keys = [key for key, _ in wrapped]
            with self._database.connection() as connection:
                connection.execute(_MAKE_KEYS, (wrapped[0][1], clock.now(), unknown, keys))
            self.read_ahead(unknown)

    def to_read(self, user_id: int) -> dict[str, Part]:
        """Return the part of a statement that reads a customer's key; nothing if it is in memory."""
        if user_id in self._known:
            self._forget_erased()
        return {} if user_id in self._known else {"customer_key": Part(_KEY_PART, (user_id,))}

    def of_read(self, user_id: int, values: Mapping[str, Any]) -> CustomerKey:
        """Return the key of what `to_read` read, a new one if there is none. Raises Erased and WrongKey."""
        if "customer_key" not in values:
            return CustomerKey(user_id, self.of(user_id, make=True), {})
        if values["customer_key"] is None:
            return self._new(user_id)
        wrapped, wrap_key_id = msgspec.json.decode(values["customer_key"])
        row = {"wrapped_key": wrapped and bytes.fromhex(wrapped), "wrap_key_id": wrap_key_id}
        found = CustomerKey(user_id, self._unwrapped(user_id, row), {})
        self.remember(found)
        return found

    def remember(self, known: CustomerKey) -> None:
        """Keep a key in memory that is stored."""
        with self._lock:
            self._known[known.user_id] = known.key
            if len(self._known) > _MAX_KEYS_IN_MEMORY:
                self._known.popitem(last=False)

    def check_unclaimed(self) -> None:
        """Raise WrongKey if a customer's key was wrapped, before there was a key ring, under another master key."""
        with self._database.connection() as connection:
            row = connection.execute(_ANY_WRAPPED_KEY).fetchone()
        if row is not None:
            wrapper = AESGCM(self._ring.first(CUSTOMER_KEYS))
            unwrap(wrapper, bytes(row["wrapped_key"]), bound_to(row["user_id"]))

    def rewrap_some(self, connection: Connection[Any]) -> int:
        """Wrap some customers' keys by the newest key of the ring; return how many, 0 once all are.

        In the caller's transaction, whose login owns the table.
        """
        newest = self._ring.keys(CUSTOMER_KEYS)[-1]
        rows = connection.execute(_TO_REWRAP, (newest.key_id, _REWRAPPED_AT_ONCE)).fetchall()
        for row in rows:
            old = AESGCM(self._ring.key(CUSTOMER_KEYS, row["wrap_key_id"]))
            key = unwrap(old, bytes(row["wrapped_key"]), bound_to(row["user_id"]))
            wrapped = wrap(AESGCM(newest.key), key, bound_to(row["user_id"]))
            connection.execute(_REWRAP, (wrapped, newest.key_id, row["user_id"]))
        return len(rows)

    def forget(self, user_id: int) -> None:
        """Forget a key at once: its customer was erased by this process."""
        with self._lock:
            self._known.pop(user_id, None)

    def _forget_erased(self) -> None:
        if self._is_fresh():
            return
        asked_at = clock.now()
        with self._database.connection() as connection:
            row = connection.execute(_ERASED_SINCE, (self._read_at,)).fetchone()
        assert row is not None
        for user_id in row["erased"]:
            self.forget(user_id)
        self._asked_at, self._read_at = asked_at, row["read_at"] - _OVERLAP

    def _is_fresh(self) -> bool:
        return timedelta(0) <= clock.now() - self._asked_at < FORGOTTEN_WITHIN

    def _load(self, user_id: int, *, make: bool) -> bytes:
        row = self._read_or_make(user_id) if make else self._read(user_id)
        if row is None and make:  # Another process made it in the same moment: now it can be read.
            row = self._read(user_id)
        if row is None:
            raise WrongKey
        return self._unwrapped(user_id, row)

    def _unwrapped(self, user_id: int, row: Mapping[str, Any]) -> bytes:
        if row["wrapped_key"] is None:
            raise Erased
        wrapper = AESGCM(self._ring.key(CUSTOMER_KEYS, row["wrap_key_id"]))
        return unwrap(wrapper, bytes(row["wrapped_key"]), bound_to(user_id))

    def _read(self, user_id: int) -> dict[str, Any] | None:
        with self._database.connection() as connection:
            return connection.execute(_READ_KEY, (user_id,)).fetchone()

    def _new(self, user_id: int) -> CustomerKey:
        key = os.urandom(KEY_BYTES)
        wrapped, wrap_key_id = self._wrapped(user_id, key)
        values = user_id, wrapped, wrap_key_id, clock.now()
        add = Part(_ADD_PART, values, refusals={HAS_A_KEY: lambda _: HasKey()})
        return CustomerKey(user_id, key, {"customer_key": add})

    def _wrapped(self, user_id: int, key: bytes) -> tuple[bytes, int]:
        key_id, wrapper = self._ring.current(CUSTOMER_KEYS)
        return wrap(AESGCM(wrapper), key, bound_to(user_id)), key_id

    def _read_or_make(self, user_id: int) -> dict[str, Any] | None:
        wrapped, key_id = self._wrapped(user_id, os.urandom(KEY_BYTES))
        with self._database.connection() as connection:
            values = {"user": user_id, "key": wrapped, "wrap_key_id": key_id, "now": clock.now()}
            return connection.execute(_ENSURE_KEY, values).fetchone()


def bound_to(user_id: int) -> bytes:
    """Return what a wrapped key, and an encrypted value of version 1, is bound to."""
    return f"daftari customer {user_id}".encode()

"""In-memory tables of keys: the ring, those of customers, and access tokens of M-Pesa."""

import json
from typing import Any

import psycopg

from ledger import clock
from ledger.store import customer_keys, key_ring
from payments.mpesa import access_tokens
from tests.simulation.parts import Effects, PartDouble

Row = dict[str, Any]


class CustomerHasKey(psycopg.DatabaseError):
    """What `add_customer_key` raises for a customer who has a key."""

    sqlstate = customer_keys.HAS_A_KEY


class KeyTables:
    """The tables of keys."""

    def __init__(self) -> None:
        self.of_customers: dict[int, bytes] = {}
        self.ring: list[Row] = []
        self.tokens: dict[str, Row] = {}

    def handlers(self) -> dict[Any, Any]:
        """Return the handler of each statement."""
        return {
            key_ring._ALL: lambda _: self.ring,
            key_ring._STORE_FIRST: self.store_first_keys,
            customer_keys._ENSURE_KEY: self.ensure_key,
            customer_keys._READ_KEY: self.read_key,
            customer_keys._READ_KEYS: self.read_keys,
            customer_keys._ERASED_SINCE: lambda _: [{"read_at": clock.now(), "erased": []}],
            access_tokens._READ: self.read_token,
            access_tokens._WRITE: self.write_token,
        }

    def part_doubles(self) -> dict[str, PartDouble]:
        """Return the double of each part of a statement."""
        return {customer_keys._KEY_PART: self.key_of_customer, customer_keys._ADD_PART: self.add_key}

    def key_of_customer(self, values: Any, _: Effects) -> str | None:
        """Return the customer's wrapped key as a value, None if there is none."""
        key = self.of_customers.get(values[0])
        return None if key is None else json.dumps([key.hex(), 0])

    def add_key(self, values: Any, effects: Effects) -> bool:
        """Store the key of a customer who has none."""
        user_id, wrapped, _, _ = values
        if user_id in self.of_customers:
            raise CustomerHasKey
        self.of_customers[user_id] = wrapped
        effects.undone_by(lambda: self.of_customers.pop(user_id))
        return True

    def store_first_keys(self, values: Any) -> list[Row]:
        """Store the first key of each purpose that has none."""
        known = {row["purpose"] for row in self.ring}
        self.ring += [
            {"purpose": purpose, "key_id": 0, "wrapped_key": wrapped, "retired_at": None}
            for purpose, wrapped in zip(values["purposes"], values["wrapped"], strict=True)
            if purpose not in known
        ]
        return []

    def ensure_key(self, values: Any) -> list[Row]:
        """Return the customer's wrapped key; store the given one if there is none."""
        return [
            {"wrapped_key": self.of_customers.setdefault(values["user"], values["key"]), "wrap_key_id": 0}
        ]

    def read_keys(self, values: Any) -> list[Row]:
        """Return the wrapped keys of customers who have one."""
        return [
            {"user_id": user_id, "wrapped_key": self.of_customers[user_id], "wrap_key_id": 0}
            for user_id in values[0]
            if user_id in self.of_customers
        ]

    def read_key(self, values: Any) -> list[Row]:
        """Return the customer's wrapped key."""
        key = self.of_customers.get(values[0])
        return [] if key is None else [{"wrapped_key": key, "wrap_key_id": 0}]

    def read_token(self, values: Any) -> list[Row]:
        """Return the stored access token."""
        token = self.tokens.get(values[0])
        return [] if token is None else [token]

    def write_token(self, values: Any) -> int:
        """Store an access token."""
        self.tokens[values[0]] = {"sealed_value": values[1], "expires_at": values[2]}
        return 1

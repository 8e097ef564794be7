"""A store of any size, filled by COPY with valid copies of one session that was really bought.

A copy has its own ids, user, receipt, order and time; its personal data are encrypted for its user, and its events
carry hashes and MACs of their own, so that `daftari verify` finds nothing. Whose it is, is drawn from a seed.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql

from ledger import clock
from ledger.identifiers import new_id
from ledger.store.canonical import GENESIS, canonical_json, chained_hash
from ledger.store.event_macs import EventMacs
from ledger.store.vault import CHECKOUT_ID, DELIVERY, PHONE, Vault
from payments.inbox.inbox import INBOX_BODY
from shop.builtin.ordering import ORDER_DELIVERY

Row = dict[str, Any]

OTHER_USERS = 1_000
FIRST_OTHER_USER = 5_000_000
FIRST_NUMBER = 100_000_000
"""Of orders, cart items and transactions of copies, beyond those of sessions that are really bought."""

SPREAD, UNTIL_BEFORE = timedelta(days=30), timedelta(days=1)
BATCH = 2_000
ENCRYPTED = {
    "phone_sealed": PHONE,
    "delivery_sealed": DELIVERY,
    "checkout_sealed": CHECKOUT_ID,
    "sealed_delivery_details": ORDER_DELIVERY,
    "sealed_body": INBOX_BODY,
}
TABLES = {
    "payment_events": "session_id = %(id)s ORDER BY version",
    "payment_sessions": "session_id = %(id)s",
    "payment_refs": "session_id = %(id)s",
    "daraja_inbox": "session_id = %(id)s",
    "shop_orders": "session_id = %(id)s",
    "shop_order_items": "order_id = (SELECT order_id FROM shop_orders WHERE session_id = %(id)s)",
}
_NUMBERS = ("order_id", "cart_item_id", "transaction_id")
_IN_DOCUMENT = re.compile(
    rf'(?P<moment>20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)|"(?P<name>user_id|{"|".join(_NUMBERS)})":(?P<number>\d+)'
)
_NEXT_POSITION = (
    "SELECT origin, (epoch + pg_current_xact_id()::text::bigint) << 20 AS position FROM ledger_node"
)
_RESTOCK = """
INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_at)
SELECT listing_id, quantity_thousandths * %(copies)s, 'stock of copies', now() FROM shop_order_items
WHERE order_id = (SELECT order_id FROM shop_orders WHERE session_id = %(id)s)
"""
_FOLLOWED = """
UPDATE follower_positions SET position = (SELECT max(position) FROM payment_events) WHERE name <> 'payment_metrics'
"""


@dataclass(frozen=True)
class Original:
    """The rows of a session that was bought, by table; and by encrypted value, its text and purpose."""

    session_id: UUID
    rows: Mapping[str, Sequence[Row]]
    texts: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, connection: psycopg.Connection[Row], vault: Vault, session_id: UUID) -> "Original":
        """Read a session that has an order."""
        rows = {
            table: connection.execute(f"SELECT * FROM {table} WHERE {where}", {"id": session_id}).fetchall()
            for table, where in TABLES.items()
        }
        user = rows["payment_sessions"][0]["user_id"]
        texts = {}
        for row in (row for table in rows.values() for row in table):
            for name, value in (row | _document_of(row)).items():
                if name in ENCRYPTED and value is not None:
                    place = row["inbox_id"] if name == "sealed_body" else session_id
                    text = vault.decrypt(user, value, purpose=ENCRYPTED[name], row=place)
                    texts[value] = text, ENCRYPTED[name]
        return cls(session_id, rows, texts)

    @property
    def created_at(self) -> datetime:
        """When it was created."""
        moment: datetime = self.rows["payment_sessions"][0]["created_at"]
        return moment


class Copies:
    """Stores copies of a session: the share `of_one_user` is one user's, the others are of OTHER_USERS."""

    def __init__(
        self,
        original: Original,
        vault: Vault,
        macs: EventMacs,
        *,
        user: int,
        of_one_user: float,
        first_number: int = FIRST_NUMBER,
    ) -> None:
        self.original, self.vault, self.macs = original, vault, macs
        self._user, self._of_one_user = user, of_one_user
        self._random = Random(first_number)
        self._numbers = count(first_number)

    def add(self, connection: psycopg.Connection[Row], number: int) -> None:
        """Store `number` more copies as a superuser. Followers start behind them; the figures alone count them."""
        newest = clock.now() - UNTIL_BEFORE
        for start in range(0, number, BATCH):
            with connection.transaction():
                node = connection.execute(_NEXT_POSITION).fetchone()
                assert node is not None
                batch = range(start, min(start + BATCH, number))
                copies = [_Copy(self, newest - SPREAD * (1 - step / number)) for step in batch]
                for table in TABLES:
                    rows = [row for copy in copies for row in copy.rows(table)]
                    if table == "payment_events":
                        for ordinal, row in enumerate(rows):
                            row |= {"origin": node["origin"], "position": node["position"] + ordinal}
                    _store(connection, table, rows)
        connection.execute(_RESTOCK, {"copies": number, "id": self.original.session_id})
        connection.execute(_FOLLOWED)

    def next_number(self) -> int:
        """Return a number that no other copy has."""
        return next(self._numbers)

    def next_user(self) -> int:
        """Return the user of a copy."""
        if self._random.random() < self._of_one_user:
            return self._user
        return FIRST_OTHER_USER + self._random.randrange(OTHER_USERS)


class _Copy:
    """One copy: the original's rows with every id, moment, number and encrypted value replaced."""

    def __init__(self, copies: Copies, created_at: datetime) -> None:
        self._original, self._vault, self._macs = copies.original, copies.vault, copies.macs
        self._shift = created_at - self._original.created_at
        self.number, self.user = copies.next_number(), copies.next_user()
        self.session_id = new_id(created_at)
        self._texts = self._identifiers(created_at)
        for value, (text, purpose) in self._original.texts.items():
            place = self._message if purpose == INBOX_BODY else self.session_id
            self._texts[value] = self._vault.encrypt(
                self.user, self._replaced(text), purpose=purpose, row=place
            )

    def _identifiers(self, created_at: datetime) -> dict[str, str]:
        rows = self._original.rows
        [message], [order] = rows["daraja_inbox"], rows["shop_orders"]
        [receipt] = [row["value"] for row in rows["payment_refs"] if row["kind"] == "mpesa_receipt"]
        [checkout] = [text for text, purpose in self._original.texts.values() if purpose == CHECKOUT_ID]
        placed_at = (order["placed_at"] + self._shift).astimezone(clock.NAIROBI)
        self._message = new_id(created_at)
        new_checkout = f"ws_CO_{self.number:020d}"
        return {
            str(self._original.session_id): str(self.session_id),
            str(message["inbox_id"]): str(self._message),
            receipt: f"ZZ{self.number:010d}"[:12],
            order["order_number"]: f"ORD-{placed_at:%Y%m%d}-{self.number}",
            checkout: new_checkout,
            self._vault.digest("checkout", checkout): self._vault.digest("checkout", new_checkout),
        }

    def _replaced(self, text: str) -> str:
        for old, new in self._texts.items():
            text = text.replace(old, new)
        return text

    def _document(self, value: Any) -> str:
        return _IN_DOCUMENT.sub(self._in_document, self._replaced(canonical_json(value).decode()))

    def _in_document(self, found: re.Match[str]) -> str:
        if found["moment"]:
            return (
                msgspec.json.encode(datetime.fromisoformat(found["moment"]) + self._shift).decode().strip('"')
            )
        return f'"{found["name"]}":{self.user if found["name"] == "user_id" else self._numbered(int(found["number"]))}'

    def _numbered(self, number: int) -> int:
        return self.number * 10 + number % 10  # A cart has up to ten lines, numbered one after the other.

    def rows(self, table: str) -> list[Row]:
        """Return its rows of a table."""
        rows = [
            {name: self._value(name, value) for name, value in row.items()}
            for row in self._original.rows[table]
        ]
        if table == "payment_events":
            self._sign(rows)
        return rows

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self._document(value)
        if name in ("user_id", "key_owner"):
            return self.user
        if name in _NUMBERS and value is not None:
            return self._numbered(value)
        if name == "body_sha256":
            [text] = [text for text, purpose in self._original.texts.values() if purpose == INBOX_BODY]
            return hashlib.sha256(self._replaced(text).encode("latin-1")).hexdigest()
        if isinstance(value, datetime):
            return value + self._shift
        if isinstance(value, UUID):
            return UUID(self._replaced(str(value)))
        return self._replaced(value) if isinstance(value, str) else value

    def _sign(self, rows: list[Row]) -> None:
        previous = GENESIS
        for row in rows:
            head = canonical_json([str(row["session_id"]), row["version"], row["topic"]]).decode()
            content = f"{head[:-1]},{row['state']},{row['metadata']}]"
            row["previous_hash"] = previous
            row["hash"] = previous = chained_hash(previous, hashlib.sha256(content.encode()).digest())
        key_id, macs = self._macs.sign(row["hash"] for row in rows)
        for row, mac in zip(rows, macs, strict=True):
            row |= {"key_id": key_id, "mac": mac}


def _document_of(row: Row) -> Row:
    return row["state"] if isinstance(row.get("state"), dict) else {}


def _store(connection: psycopg.Connection[Row], table: str, rows: Sequence[Row]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))

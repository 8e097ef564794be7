"""A store of any size, filled by COPY with valid copies of one session that was really bought.

A copy has its own ids, user, receipt, order and time, and is recorded now; its personal data are encrypted for its user
and its events carry hashes and MACs of their own, so that `daftari verify` finds nothing. Whose it is, is drawn from a
seed.

Every row of the original becomes a text with named gaps, once; a copy fills the gaps.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import get_context
from os import cpu_count
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer
from psycopg.rows import dict_row

from api.local.databases import open_database
from ledger import clock
from ledger.identifiers import new_id
from ledger.store.canonical import GENESIS, canonical_json, chained_hash
from ledger.store.event_macs import EventMacs
from ledger.store.message_bodies import INBOX_BODY, row_of
from ledger.store.vault import CHECKOUT_ID, DELIVERY, PHONE, Vault
from shop.builtin.ordering import ORDER_DELIVERY

Row = dict[str, Any]

OTHER_USERS = 1_000
FIRST_OTHER_USER = 5_000_000
FIRST_NUMBER = 100_000_000
"""Of orders, cart items and transactions of copies, beyond those of sessions that are really bought."""

SPREAD, UNTIL_BEFORE = timedelta(days=30), timedelta(days=1)
BATCH = 1_000
ENCRYPTED = {
    "phone_sealed": PHONE,
    "delivery_sealed": DELIVERY,
    "checkout_sealed": CHECKOUT_ID,
    "sealed_delivery_details": ORDER_DELIVERY,
    "sealed_body": INBOX_BODY,
}
EVENTS = "payment_events"
TABLES = {
    EVENTS: "session_id = %(id)s ORDER BY version",
    "payment_sessions": "session_id = %(id)s",
    "payment_refs": "session_id = %(id)s",
    "daraja_inbox": "session_id = %(id)s",
    "shop_orders": "session_id = %(id)s",
    "shop_order_items": "order_id = (SELECT order_id FROM shop_orders WHERE session_id = %(id)s)",
}
_USERS = ("user_id", "key_owner")
_NUMBERS = ("order_id", "cart_item_id", "transaction_id")
_OF_EACH_EVENT = ("state", "metadata", "previous_hash", "hash", "key_id", "mac", "origin", "position")
_MOMENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_NUMBER = re.compile(rf'"(user_id|{"|".join(_NUMBERS)})":(\d+)')
_NEXT_POSITION = (
    "SELECT origin, (epoch + pg_current_xact_id()::text::bigint) << 20 AS position FROM ledger_node"
)
_RESTOCK = """
INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_at)
SELECT listing_id, quantity_thousandths * %(copies)s, 'stock of copies', now() FROM shop_order_items
WHERE order_id = (SELECT order_id FROM shop_orders WHERE session_id = %(id)s)
"""
_FOLLOWED = """
UPDATE follower_positions SET position = (SELECT max(position) FROM payment_events)
WHERE name NOT IN ('payment_metrics', 'payment_figures', 'payment_search', 'journal_entries')
"""


@dataclass(frozen=True)
class Filling:
    """What to add to the database at `url`: `count` copies of a session, numbered from `first_number`.

    The share `of_one_user` belongs to `user`, the others to OTHER_USERS.
    """

    url: str
    master_key: bytes
    session_id: UUID
    user: int
    of_one_user: float
    count: int
    first_number: int = FIRST_NUMBER
    newest: datetime = field(default_factory=lambda: clock.now() - UNTIL_BEFORE)

    def created_at(self, number: int) -> datetime:
        """Return when the copy of this number was created: they are spread evenly over SPREAD."""
        return self.newest - SPREAD * (1 - (number - self.first_number) / self.count)


def fill(filling: Filling) -> None:
    """Store the copies, by a process for each core. Followers start behind them; the figures alone count them."""
    batches = range(filling.first_number, filling.first_number + filling.count, BATCH)
    processes = min(len(batches), cpu_count() or 1)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        shares = [
            pool.submit(_fill_batches, filling, batches[share::processes]) for share in range(processes)
        ]
        for share in shares:
            share.result()
    with psycopg.connect(filling.url, autocommit=True) as connection:
        connection.execute(_RESTOCK, {"copies": filling.count, "id": filling.session_id})
        connection.execute(_FOLLOWED)


def _fill_batches(filling: Filling, batches: range) -> None:
    with (
        open_database(filling.url, 2, role="") as database,
        psycopg.connect(filling.url, autocommit=True, row_factory=dict_row) as connection,
    ):
        vault = Vault(database, filling.master_key)
        form = Form(connection, vault, EventMacs(database, vault.keys), filling.session_id)
        for first in batches:
            last = min(first + BATCH, filling.first_number + filling.count)
            users = Random(first)
            with connection.transaction():
                node = connection.execute(_NEXT_POSITION).fetchone()
                assert node is not None
                lines = form.lines_of(
                    (
                        (number, filling.created_at(number), _user(filling, users))
                        for number in range(first, last)
                    ),
                    **node,
                )
                for table, names in form.columns.items():
                    _store(connection, table, names, lines[table])


def _user(filling: Filling, users: Random) -> int:
    if users.random() < filling.of_one_user:
        return filling.user
    return FIRST_OTHER_USER + users.randrange(OTHER_USERS)


class Form:
    """The rows of a session that has an order, as lines of COPY with gaps (`%(name)s`) where a copy differs."""

    def __init__(
        self, connection: psycopg.Connection[Row], vault: Vault, macs: EventMacs, session_id: UUID
    ) -> None:
        self._vault, self._macs = vault, macs
        rows = {
            table: connection.execute(f"SELECT * FROM {table} WHERE {where}", {"id": session_id}).fetchall()
            for table, where in TABLES.items()
        }
        self.columns = {table: list(of_table[0]) for table, of_table in rows.items()}
        self._created_at: datetime = rows["payment_sessions"][0]["created_at"]
        self._placed_at: datetime = rows["shop_orders"][0]["placed_at"]
        self._gaps = self._ids(rows, session_id)
        self._moments: dict[str, tuple[timedelta, bool]] = {}
        self._encrypted = self._read_encrypted(rows, session_id)
        self._events = [self._event(row) for row in rows[EVENTS]]
        self._lines = {
            table: [
                "\t".join(self._column(table, *column) for column in row.items()) + "\n" for row in of_table
            ]
            for table, of_table in rows.items()
        }

    def lines_of(self, copies: Any, *, origin: int, position: int) -> dict[str, list[str]]:
        """Return the lines of each table for copies, given as (number, created at, user), from a position onwards."""
        lines: dict[str, list[str]] = {table: [] for table in TABLES}
        for number, created_at, user in copies:
            values = self._values(number, created_at, user)
            for table, forms in self._lines.items():
                if table != EVENTS:
                    lines[table] += [form % values for form in forms]
            for form, signed in zip(self._lines[EVENTS], self._signed(values), strict=True):
                at = {"origin": origin, "position": position + len(lines[EVENTS])}
                lines[EVENTS].append(form % (values | signed | at))
        return lines

    def _ids(self, rows: Mapping[str, Sequence[Row]], session_id: UUID) -> dict[str, str]:
        """Return the names of gaps by the text of the original that stands there."""
        [message], [order] = rows["daraja_inbox"], rows["shop_orders"]
        [receipt] = [row["value"] for row in rows["payment_refs"] if row["kind"] == "mpesa_receipt"]
        return {
            str(session_id): "session",
            str(message["inbox_id"]): "message",
            receipt: "receipt",
            order["order_number"]: "order",
        }

    def _read_encrypted(
        self, rows: Mapping[str, Sequence[Row]], session_id: UUID
    ) -> dict[str, tuple[str, str, str]]:
        """Return the forms of each encrypted text and of its row, and its purpose, by the name of its gap."""
        user = rows["payment_sessions"][0]["user_id"]
        found: dict[str, tuple[str, str, str]] = {}
        for row in (row for table in rows.values() for row in table):
            for name, value in (row | _document_of(row)).items():
                if name in ENCRYPTED and value is not None and value not in self._gaps:
                    place = row_of(row) if name == "sealed_body" else str(session_id)
                    text = self._vault.decrypt(user, value, purpose=ENCRYPTED[name], row=place)
                    self._gaps[value] = f"encrypted{len(found)}"
                    if name == "checkout_sealed":
                        self._gaps |= {text: "checkout", self._vault.digest("checkout", text): "digest"}
                    found[self._gaps[value]] = text, place, ENCRYPTED[name]
        return {
            gap: (self._with_gaps(text), self._with_gaps(place), purpose)
            for gap, (text, place, purpose) in found.items()
        }

    def _with_gaps(self, text: str) -> str:
        text = text.replace("%", "%%")
        for original, gap in self._gaps.items():
            text = text.replace(original, f"%({gap})s")
        return text

    def _document(self, value: Any) -> str:
        text = self._with_gaps(canonical_json(value).decode())
        text = _MOMENT.sub(lambda found: self._moment(datetime.fromisoformat(found[0]), in_json=True), text)
        return _NUMBER.sub(lambda found: f'"{found[1]}":{_numbered(found[1], int(found[2]))}', text)

    def _moment(self, moment: datetime, *, in_json: bool) -> str:
        name = f"{'json' if in_json else 'column'} {moment.isoformat()}"
        self._moments[name] = moment - self._created_at, in_json
        return f"%({name})s"

    def _event(self, row: Row) -> tuple[str, str, str]:
        head = canonical_json([str(row["session_id"]), row["version"], row["topic"]]).decode()
        return self._with_gaps(head[:-1]), self._document(row["state"]), self._document(row["metadata"])

    def _column(self, table: str, name: str, value: Any) -> str:
        if value is None:
            return r"\N"
        if table == EVENTS and name in _OF_EACH_EVENT:
            return f"%({name})s"
        if name in _USERS or name in _NUMBERS:
            return _numbered(name, value)
        if name == "body_sha256":
            return "%(body_sha256)s"
        if name == "recorded_at":
            return "%(recorded_at)s"
        if isinstance(value, datetime):
            return self._moment(value, in_json=False)
        if isinstance(value, dict):
            return _escaped(self._document(value))
        return _escaped(self._with_gaps(_as_text(value)))

    def _values(self, number: int, created_at: datetime, user: int) -> dict[str, Any]:
        placed_at = (created_at + (self._placed_at - self._created_at)).astimezone(clock.NAIROBI)
        session_id, message, checkout = new_id(created_at), new_id(created_at), f"ws_CO_{number:020d}"
        values: dict[str, Any] = {
            "session": str(session_id),
            "message": str(message),
            "receipt": f"ZZ{number:010d}"[:12],
            "order": f"ORD-{placed_at:%Y%m%d}-{number}",
            "checkout": checkout,
            "digest": self._vault.digest("checkout", checkout),
            "user": user,
            "recorded_at": clock.now().isoformat(),  # It follows the positions, which several processes draw.
        }
        values |= {f"number{line}": number * 10 + line for line in range(10)}
        for name, (after, in_json) in self._moments.items():
            moment = created_at + after
            values[name] = msgspec.json.encode(moment).decode().strip('"') if in_json else moment.isoformat()
        for gap, (form, place, purpose) in self._encrypted.items():
            text = form % values
            values[gap] = self._vault.encrypt(user, text, purpose=purpose, row=place % values)
            if purpose == INBOX_BODY:
                values["body_sha256"] = hashlib.sha256(text.encode("latin-1")).hexdigest()
        return values

    def _signed(self, values: Mapping[str, Any]) -> list[Row]:
        """Return what differs in each event, with hashes and MACs."""
        previous, signed = GENESIS, []
        for head, state, metadata in self._events:
            document, caused_by = state % values, metadata % values
            content = f"{head % values},{document},{caused_by}]"
            event_hash = chained_hash(previous, hashlib.sha256(content.encode()).digest())
            signed.append(
                {
                    "state": _escaped(document),
                    "metadata": _escaped(caused_by),
                    "previous_hash": rf"\\x{previous.hex()}",
                    "hash": rf"\\x{event_hash.hex()}",
                }
            )
            previous = event_hash
        key_id, macs = self._macs.sign(bytes.fromhex(row["hash"][3:]) for row in signed)
        return [
            row | {"key_id": key_id, "mac": rf"\\x{mac.hex()}"} for row, mac in zip(signed, macs, strict=True)
        ]


def _numbered(name: str, number: int) -> str:
    # A cart has up to ten lines, numbered one after the other.
    return "%(user)s" if name in _USERS else f"%(number{number % 10})s"


def _as_text(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)  # With hyphens, so that it is found.
    transformer = Transformer()
    return bytes(transformer.get_dumper(value, PyFormat.TEXT).dump(value) or b"").decode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def _document_of(row: Row) -> Row:
    return row["state"] if isinstance(row.get("state"), dict) else {}


def _store(
    connection: psycopg.Connection[Row], table: str, names: Sequence[str], lines: Sequence[str]
) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        copy.write("".join(lines))

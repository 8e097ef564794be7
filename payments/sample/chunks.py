"""Sample sessions by the thousand, in the order of their time, each thousand written by COPY in one commit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

import psycopg
from psycopg import Connection, sql

from ledger import clock
from ledger.errors import Rejected
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from payments.sample.calendar import Calendar
from payments.sample.lives import NUMBERS_A_SESSION, Life, Product, Setting
from payments.sample.people import People
from payments.sample.records import EVENTS, ITEMS, SESSIONS, Records, Row, sold

SESSIONS_A_CHUNK = 1_000
NUMBERS_A_SEED = 1_000_000_000
MAX_SESSIONS = NUMBERS_A_SEED // NUMBERS_A_SESSION // 20
"""Of a seed: with more, some of its numbers would look like a phone's."""

_BUYERS_PER_SESSION = 2
_CHUNKS_A_CIRCLE = 4
_APART = timedelta(hours=1)
"""A buyer's sessions are further apart, so that no phone has two prompts at once."""

_NEXT_POSITION = (
    "SELECT origin, (epoch + pg_current_xact_id()::text::bigint) << 20 AS position FROM ledger_node"
)
_PRODUCTS = """
SELECT listing_id, product_name, farm_name, price_cents, unit_of_measure FROM shop_listings
WHERE NOT withdrawn ORDER BY listing_id
"""
_PLACES = "SELECT county_id, subcounty_id FROM shop_subcounties ORDER BY subcounty_id"
_IS_THERE = "SELECT EXISTS (SELECT FROM payment_sessions WHERE session_id = %s) AS there"
_STOCK_UP = """
INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_at)
SELECT listing_id, thousandths, 'stock of sample orders', now()
FROM unnest(%s::bigint[], %s::bigint[]) AS sold (listing_id, thousandths)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which sessions: so many, by a seed, from the first day to the last, as days of Nairobi, both included.

    The share `of_owner` belongs to the user `owner` in place of the sample's own buyers. So many sessions go `at_once`
    into one commit.
    """

    sessions: int
    seed: int
    first: date
    last: date
    owner: int | None = None
    of_owner: float = 0.0
    at_once: int = SESSIONS_A_CHUNK

    @property
    def chunks(self) -> int:
        """Into how many commits they are divided."""
        return -(-self.sessions // self.at_once)

    def numbers(self, chunk: int) -> range:
        """Return the numbers of the sessions of a chunk, from 0 on."""
        first = chunk * self.at_once
        return range(first, min(first + self.at_once, self.sessions))


@dataclass
class ChunkWriter:
    """Writes chunks of a sample by one connection, whose login owns the tables."""

    sample: Sample
    database: Database
    vault: Vault
    _macs: EventMacs = field(init=False)
    _people: People = field(init=False)
    _calendar: Calendar = field(init=False)
    _setting: Setting = field(init=False)

    def __post_init__(self) -> None:
        self._macs = EventMacs(self.database, self.vault.keys)
        with self.database.connection() as connection:
            products = tuple(Product(**row) for row in connection.execute(_PRODUCTS))
            places = [(row["county_id"], row["subcounty_id"]) for row in connection.execute(_PLACES)]
        self._people = People(self.sample.seed, places)
        self._calendar = Calendar(self.sample.first, self.sample.last)
        self._setting = Setting(self.vault, products, self._calendar.end)

    def write(self, chunk: int) -> int:
        """Write a chunk unless it is there; return how many sessions it has.

        Raises Rejected SAMPLE_IS_THERE if sessions with its numbers are there that are not the same.
        """
        numbers = self.sample.numbers(chunk)
        lives = self._lives(chunk, numbers)
        first = next(lives)
        with self.database.connection() as connection:
            [found] = connection.execute(_IS_THERE, (first.session_id,)).fetchall()
        if not found["there"]:
            records = [first, *lives]
            try:
                with self.database.transaction() as connection:
                    self._store(connection, records)
            except psycopg.errors.UniqueViolation as error:
                raise Rejected(
                    "SAMPLE_IS_THERE",
                    f"Sessions of seed {self.sample.seed} are there already, made with other options. To go on with "
                    "them, give the same options again; for more sessions, give another seed.",
                ) from error
        return len(numbers)

    def _lives(self, chunk: int, numbers: range) -> Iterator[Records]:
        draw = Random(f"{self.sample.seed} {chunk}")  # noqa: S311 - it draws no secret
        buyers = self._buyers(chunk)
        weights = list(accumulate(1 / (1 + place) ** 0.6 for place in range(len(buyers))))
        free_at: dict[int, datetime] = {}
        self.vault.make_keys([self._people.person(number).user_id for number in buyers])
        for number in numbers:
            began = self._calendar.moment((number + draw.random()) / self.sample.sessions)
            [buyer] = draw.choices(buyers, cum_weights=weights)
            while free_at.get(buyer, began) > began:
                buyer = draw.choice(buyers)
            person = self._people.person(buyer)
            user_id = person.user_id
            if self.sample.owner is not None and draw.random() < self.sample.of_owner:
                user_id = self.sample.owner
            own = (self.sample.seed * NUMBERS_A_SEED) + number * NUMBERS_A_SESSION
            life = Life(self._setting, draw, own, person, user_id, began.astimezone(clock.now().tzinfo))
            life.run()
            life.records.finish()
            free_at[buyer] = life.ended + _APART
            yield life.records

    def _buyers(self, chunk: int) -> range:
        """Return those of whom some buy in a chunk: the same ones come back some chunks later, never in the next."""
        circles = max(2, self.sample.chunks // _CHUNKS_A_CIRCLE)
        size = _BUYERS_PER_SESSION * self.sample.at_once
        first = chunk % circles * size
        return range(first, first + size)

    def _store(self, connection: Connection[Any], records: Sequence[Records]) -> None:
        rows: dict[str, list[Row]] = {}
        for each in records:
            for table, of_session in each.rows.items():
                rows.setdefault(table, []).extend(of_session)
        for table in sorted(rows, key=lambda name: name != SESSIONS):
            _copy(connection, table, rows[table])
        _copy(connection, EVENTS, self._in_the_log(connection, records))
        taken = sold(rows.get(ITEMS, ()))
        if taken:
            connection.execute(_STOCK_UP, (list(taken), list(taken.values())))

    def _in_the_log(self, connection: Connection[Any], records: Sequence[Records]) -> list[Row]:
        """Return the events of all sessions in the order of their time, with positions and MACs."""
        [node] = connection.execute(_NEXT_POSITION).fetchall()
        in_order = sorted((event for each in records for event in each.events), key=lambda event: event[0])
        key_id, macs = self._macs.sign(row["hash"] for _, row in in_order)
        # Not when it happened: recorded times follow the positions, and refunds come days after the next sessions.
        recorded_at = clock.now()
        return [
            row
            | {
                "origin": node["origin"],
                "position": node["position"] + ordinal,
                "recorded_at": recorded_at,
                "key_id": key_id,
                "mac": mac,
            }
            for ordinal, ((_, row), mac) in enumerate(zip(in_order, macs, strict=True))
        ]


def _copy(connection: Connection[Any], table: str, rows: Sequence[Row]) -> None:
    names = list(rows[0])
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))

"""What a connection reads in place of a value that PostgreSQL holds and Python does not.

Nothing of ours is such a value: somebody wrote it past Daftari, or a release before tables refused it. It must not keep
the rows beside it from being read. What its own row is worth, the MAC or the fold says.
"""

from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.json import JsonbBinaryLoader, JsonbLoader

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""The bounds of every time that tables take, at which another one is read; years above 9999 are none of Python's."""


class _BoundedMoment(Loader):
    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        known = psycopg.adapters.get_loader(oid, self.format)
        assert known is not None
        self._load = known(oid, context).load

    def load(self, data: Buffer) -> datetime:
        """Return a time, or the bound that it is beyond."""
        try:
            moment: datetime = self._load(data)
        except DataError:
            return EARLIEST if self.is_early(bytes(data)) else LATEST
        if EARLIEST <= moment <= LATEST:
            return moment
        return EARLIEST if moment < EARLIEST else LATEST

    @staticmethod
    def is_early(data: bytes) -> bool:
        """Say whether an unreadable time is before all others, and not after them."""
        return data.startswith(b"-") or data.endswith(b"BC")


class _BoundedBinaryMoment(_BoundedMoment):
    format = Format.BINARY

    @staticmethod
    def is_early(data: bytes) -> bool:
        """Say so of microseconds since the year 2000."""
        return data[0] >= 0x80


class _AnyJson(JsonbLoader):
    def load(self, data: Buffer) -> Any:
        """Return plain values, or an empty object for what is nested too deeply or has too long a number."""
        try:
            return super().load(data)
        except (ValueError, RecursionError):
            return {}


class _AnyBinaryJson(JsonbBinaryLoader):
    def load(self, data: Buffer) -> Any:
        """Return plain values, or an empty object for what is nested too deeply or has too long a number."""
        try:
            return super().load(data)
        except (ValueError, RecursionError):
            return {}


def read_all(connection: psycopg.Connection[Any]) -> None:
    """Have a connection read every time and every JSON value that PostgreSQL holds."""
    connection.adapters.register_loader("timestamptz", _BoundedMoment)
    connection.adapters.register_loader("timestamptz", _BoundedBinaryMoment)
    connection.adapters.register_loader("jsonb", _AnyJson)
    connection.adapters.register_loader("jsonb", _AnyBinaryJson)

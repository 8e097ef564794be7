"""Parts of one statement: several rooms read or write together, in one round trip and one commit.

Each room says what it needs of its own tables as a Part, usually a call of its own SQL function; nobody reaches into
another's tables. A statement that only calls the rooms' functions costs a third of the same statements one by one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import psycopg

from ledger.store.connection import Connection
from ledger.store.database import Database, once_more


@dataclass(frozen=True, slots=True)
class Part:
    """A scalar SQL expression, and the values of its placeholders. The text holds no values.

    `refusals` say what the SQLSTATEs mean with which the part refuses the whole statement.
    """

    sql: str
    values: tuple[Any, ...] = ()
    refusals: Mapping[str, Callable[[psycopg.Error], Exception]] = field(default_factory=dict)


def run_parts(connection: Connection, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Evaluate all parts as one statement; return the value of each by its name.

    On an autocommit connection that is one commit: all parts take effect, or none does. Later parts see what earlier
    ones wrote, if they are VOLATILE functions. Raises the refusal of a part, else what PostgreSQL says, as
    `Connection.execute` does.
    """
    statement = _statement(tuple((name, part.sql) for name, part in parts.items()))
    values = [value for part in parts.values() for value in part.values]
    try:
        [row] = connection.execute(statement, values).fetchall()
    except psycopg.Error as error:
        for part in parts.values():
            if refusal := part.refusals.get(error.sqlstate or ""):
                raise refusal(error) from error
        raise
    return row


@lru_cache(maxsize=200)
def _statement(columns: tuple[tuple[str, str], ...]) -> bytes:
    """Return the statement of parts by their names and texts, of which there are some dozens."""
    return f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in columns)}".encode()


def read_parts(database: Database, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Evaluate parts that only read, as `run_parts` does; once more if the connection was lost."""

    def read() -> dict[str, Any]:
        with database.connection() as connection:
            return run_parts(connection, parts)

    return once_more(read)


def together(*rooms: Callable[..., Mapping[str, Part]]) -> Callable[..., dict[str, Part]]:
    """Return a function that gives the parts of all rooms, in their order."""

    def parts(*decided: object) -> dict[str, Part]:
        return {name: part for room in rooms for name, part in room(*decided).items()}

    return parts

"""Parts of one statement: several rooms read or write together, in one round trip and one commit.

Each room says what it needs of its own tables as a Part, usually a call of its own SQL function; nobody reaches into
another's tables. A statement that only calls the rooms' functions costs a third of the same statements one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Part:
    """A scalar SQL expression, and the values of its placeholders. The text holds no values."""

    sql: str
    values: tuple[Any, ...] = ()


def run_parts(connection: Connection, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Evaluate all parts as one statement; return the value of each by its name.

    On an autocommit connection that is one commit: all parts take effect, or none does. Later parts see what earlier
    ones wrote, if they are VOLATILE functions. Raises what PostgreSQL says, as `Connection.execute` does.
    """
    columns = ", ".join(f"{part.sql} AS {name}" for name, part in parts.items())
    values = [value for part in parts.values() for value in part.values]
    [row] = connection.execute(f"SELECT {columns}".encode(), values).fetchall()
    return row

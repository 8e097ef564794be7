from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import dict_row

from ledger.store.listing import WALKED_AT_MOST, Listing, Place

START = datetime(2024, 1, 15, tzinfo=UTC)
ROWS = "SELECT at, name FROM things WHERE at <= %(as_of)s AND size = 0"
EVENS = Listing("things", "at, name, size", ("at", "name"), ROWS)
COUNT = 2 * WALKED_AT_MOST + 50
OFFSETS = (
    0,
    1,
    500,
    WALKED_AT_MOST,
    WALKED_AT_MOST + 1,
    COUNT // 2,
    COUNT - 20,
    COUNT - 3,
    COUNT,
    COUNT + 1,
    10**6,
)
LATER = START + timedelta(days=1)


@pytest.fixture(scope="module")
def connection(server_url: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(server_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE things (at timestamptz, name integer PRIMARY KEY, size integer)"
        )
        connection.execute(
            "INSERT INTO things SELECT %s + n / 4 * interval '1 s', n, n %% 2 FROM generate_series(0, %s) AS n",
            (START, 2 * COUNT - 1),
        )
        yield connection


@pytest.mark.parametrize("limit", [7, 20])
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_page_by_its_number_is_the_rows_at_its_offset(
    connection: Connection[Any], limit: int, offset: int
) -> None:
    newest_first = [2 * number for number in reversed(range(COUNT))]
    count, rows = EVENS.read(connection, Place(LATER, limit, offset), {})
    assert (count, [row["name"] for row in rows]) == (COUNT, newest_first[offset : offset + limit])


def test_a_page_beside_a_key_is_the_next_one_or_the_one_before(connection: Connection[Any]) -> None:
    _, page = EVENS.read(connection, Place(LATER, 5, 30), {})
    _, following = EVENS.read(connection, Place(LATER, 5, 35), {})
    first, last = ((row["at"], row["name"]) for row in (following[0], page[-1]))
    assert EVENS.read(connection, Place(LATER, 5, after=last), {}) == (COUNT, following)
    assert EVENS.read(connection, Place(LATER, 5, before=first), {}) == (COUNT, page)


def test_what_came_later_is_neither_listed_nor_counted(connection: Connection[Any]) -> None:
    count, [row] = EVENS.read(connection, Place(START, 1), {})
    assert (count, row["name"]) == (2, 2)

"""A statement means the same whether psycopg runs it or its prepared form is run directly."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event, Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from ledger.store.connection import MAX_PREPARED, Connection, Rows
from ledger.store.database import Database

NOON = datetime(2026, 11, 16, 12, 0, 0, 123456, tzinfo=UTC)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**62,
    "text with 'quotes', % and ünïcode",
    "",
    b"\x00\xff",
    UUID("a38d0889-82a5-42db-b32b-2746a2a26d6f"),
    NOON,
    NOON.date(),
    timedelta(days=1, seconds=2),
    Decimal("12.340"),
    1.5,
    ["a", None, 'b"c'],
    [1, 2],
    [UUID(int=1)],
    Jsonb({"a": [1, None]}),
)
NAMES = "SELECT count(*) AS count FROM pg_prepared_statements WHERE name LIKE 'daftari_%'"


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection that may make tables."""
    with closing(Database(database_url, role="")) as database, database.connection() as lent:
        yield lent


def three_times(connection: Connection, query: str | bytes, params: Any = None, **options: Any) -> list[Any]:
    """Return the rows of a statement that is run by psycopg, then prepared, then prepared already."""
    cursors: list[Any] = [connection.execute(query, params, **options) for _ in range(3)]
    assert isinstance(cursors[-1], Rows)
    results = [(cursor.rowcount, cursor.fetchall()) for cursor in cursors]
    assert results[0] == results[1] == results[2]
    rows: list[Any] = results[0][1]
    return rows


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value}"[:30])
def test_a_value_comes_back_as_from_psycopg(connection: Connection, value: object, *, binary: bool) -> None:
    [row] = three_times(connection, "SELECT %s AS a, %s AS b", (value, 1), binary=binary)
    assert list(row) == ["a", "b"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{value}"[:30])
def test_a_value_that_is_sent_in_binary_comes_back_as_from_psycopg(
    connection: Connection, value: object
) -> None:
    [row] = three_times(connection, "SELECT %b AS a, %s AS b", (value, 1))
    assert row["a"] == connection.execute("SELECT %b AS a", (value,), prepare=False).fetchall()[0]["a"]


@pytest.mark.parametrize("binary", [False, True])
def test_a_value_means_the_same_after_any_other(connection: Connection, *, binary: bool) -> None:
    """How to write and read a type is kept from one statement to the next."""

    def read() -> list[Any]:
        found = [
            connection.execute("SELECT %s AS value", (value,), binary=binary).fetchall() for value in VALUES
        ]
        return [*found, connection.execute("SELECT ARRAY[1, 2] AS value", binary=binary).fetchall()]

    by_psycopg = read()
    assert read() == by_psycopg
    assert read() == by_psycopg


def test_placeholders_are_those_of_psycopg(connection: Connection) -> None:
    named = "SELECT %(b)s::int AS b, %(a)s::int AS a, %(b)s::int AS again, '%%' AS percent"
    [row] = three_times(connection, named, {"a": 1, "b": 2, "unused": 3})
    assert row == {"b": 2, "a": 1, "again": 2, "percent": "%"}
    [row] = three_times(connection, b"SELECT '%' AS percent")
    assert row == {"percent": "%"}


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT %s", ()),
        ("SELECT %s", (1, 2)),
        ("SELECT %(a)s", {}),
        ("SELECT %(a)s, %s", {"a": 1}),
        ("SELECT %x", (1,)),
        ("SELECT %", (1,)),
    ],
)
def test_wrong_placeholders_are_refused_as_by_psycopg(
    connection: Connection, query: str, params: Any
) -> None:
    for _ in range(3):
        with pytest.raises((psycopg.ProgrammingError, TypeError)):
            connection.execute(query, params)


def test_rows_are_taken_once_and_changes_are_counted(connection: Connection) -> None:
    for _ in range(3):
        cursor = connection.execute("SELECT n FROM generate_series(1, %s) AS n", (4,))
        assert cursor.fetchone() == {"n": 1}
        assert next(iter(cursor)) == {"n": 2}
        assert cursor.fetchall() == [{"n": 3}, {"n": 4}]
        assert cursor.fetchone() is None
        assert cursor.rowcount == 4
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE TEMPORARY TABLE counted (n integer) ON COMMIT DROP")
        for _ in range(3):
            assert connection.execute("INSERT INTO counted VALUES (%s), (%s)", (1, 2)).rowcount == 2
        assert connection.execute("DELETE FROM counted").rowcount == 6


def test_several_statements_at_once_stay_with_psycopg(connection: Connection) -> None:
    for _ in range(3):
        connection.execute("SET LOCAL lock_timeout = 0; SELECT 1")


@pytest.mark.parametrize("state", ["22012", "DX001"])
def test_an_error_has_its_state_and_its_words(connection: Connection, state: str) -> None:
    query = f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{state}', HINT = 'asked'; END $$"
    connection.execute("SELECT 1")
    for _ in range(3):
        with pytest.raises(psycopg.Error, match="told") as raised:
            connection.execute(query)
        assert raised.value.sqlstate == state
        assert raised.value.diag.message_hint == "asked"
    assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_an_error_of_a_prepared_statement_has_its_state_and_its_words(connection: Connection) -> None:
    kinds = set()
    for divisor in (1, 1, 0):
        try:
            connection.execute("SELECT 1 / %s::int", (divisor,))
        except psycopg.Error as error:
            kinds.add((type(error), error.sqlstate, error.diag.message_primary))
    assert kinds == {(psycopg.errors.DivisionByZero, "22012", "division by zero")}


@pytest.mark.parametrize("force", [True, False])
def test_after_a_rollback_statements_are_prepared_anew(connection: Connection, *, force: bool) -> None:
    def work() -> None:
        with connection.transaction(force_rollback=force):
            for _ in range(3):
                connection.execute("SELECT %s::int AS one", (1,))
            connection.cursor().executemany("SELECT %s", [(1,), (2,)])
            if not force:
                raise psycopg.Rollback

    for _ in range(3):
        work()
        assert three_times(connection, "SELECT %s::int AS one", (1,)) == [{"one": 1}]
        with connection.transaction():
            assert three_times(connection, "SELECT %s::int AS two", (2,)) == [{"two": 2}]
            connection.cursor().executemany("SELECT %s", [(1,), (2,)])


def test_a_table_that_is_made_anew_is_read_anew(connection: Connection) -> None:
    for columns in ("a integer", "b text, c text"):
        connection.execute("DROP TABLE IF EXISTS pg_temp.remade")
        connection.execute(f"CREATE TEMPORARY TABLE remade ({columns})")
        with connection.transaction():
            assert three_times(connection, "SELECT * FROM remade") == []


def test_a_connection_remembers_so_many_statements(connection: Connection) -> None:
    for number in range(MAX_PREPARED + 20):
        connection.execute(f"SELECT {number}", prepare=True)
    row = connection.execute(NAMES, prepare=False).fetchone()
    assert row is not None
    assert MAX_PREPARED - 1 <= row["count"] <= MAX_PREPARED
    assert connection.execute("SELECT 0 AS first", prepare=True).fetchone() == {"first": 0}


def test_a_statement_that_waits_holds_no_other_thread(database: Database) -> None:
    is_locked, may_end = Event(), Event()

    def hold() -> None:
        with database.transaction() as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7)")
            is_locked.set()
            may_end.wait(30)

    holding = Thread(target=hold)
    holding.start()
    assert is_locked.wait(30)
    with database.connection() as waiting:
        waiting.execute("SELECT pg_try_advisory_lock(7)", prepare=True)
        ended = Thread(target=may_end.set)
        ended.start()  # It runs while this thread waits for the lock in libpq.
        waiting.execute("SELECT pg_advisory_lock(7)", prepare=True)
        waiting.execute("SELECT pg_advisory_unlock_all()")
    holding.join()
    ended.join()

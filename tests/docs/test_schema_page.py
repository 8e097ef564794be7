"""docs/schema.md is what a database that was just migrated looks like, and each part of it has its sentence."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.schema_catalog import Row, read_functions, read_sequences, read_tables, trigger_moment
from tests.support.schema_page import PAGE, write_page
from tests.support.schema_words import COLUMNS, FUNCTIONS, PURPOSES, SEQUENCES, WRITERS

ROOT = Path(__file__).resolve().parents[2]


def without_sentence(rows: list[Row], sentences: dict[str, str]) -> list[str]:
    return [row["name"] for row in rows if not row["comment"] and not sentences.get(row["name"])]


def test_the_page_is_what_a_migrated_database_gives(database_url: str) -> None:
    assert PAGE.read_bytes() == write_page(database_url).encode(), (
        "Run `make schema` and commit docs/schema.md."
    )


def test_every_table_function_and_sequence_has_its_sentence(database_url: str) -> None:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        tables = read_tables(connection)
        assert without_sentence(tables, PURPOSES) == []
        assert without_sentence(read_functions(connection), FUNCTIONS) == []
        assert without_sentence(read_sequences(connection), SEQUENCES) == []
    assert {table["name"] for table in tables} == set(WRITERS)


def test_a_comment_in_the_database_wins_over_our_sentence(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("COMMENT ON TABLE shop_orders IS 'Said by the migration.'")
    assert "\nSaid by the migration.\n" in write_page(database_url)


def test_what_changes_in_the_database_changes_the_page(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE shop_orders ALTER COLUMN order_number DROP NOT NULL")
    assert PAGE.read_text("utf-8") != write_page(database_url)


def test_no_sentence_is_left_of_what_is_gone(database_url: str) -> None:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        names = {
            row["name"] for read in (read_tables, read_functions, read_sequences) for row in read(connection)
        }
        columns = {
            f"{table['name']}.{column['name']}"
            for table in read_tables(connection)
            for column in table["columns"]
        }
    assert {*PURPOSES, *FUNCTIONS, *SEQUENCES} <= names
    assert set(COLUMNS) <= columns


@pytest.mark.parametrize(
    ("bits", "moment"),
    [
        (1 + 2 + 8 + 16, "before UPDATE or DELETE, for each row"),
        (2 + 32, "before TRUNCATE, for each statement"),
        (4, "after INSERT, for each statement"),
    ],
)
def test_a_trigger_says_when_it_fires(bits: int, moment: str) -> None:
    assert trigger_moment(bits) == moment


@pytest.mark.parametrize("table", sorted(WRITERS))
def test_the_room_that_writes_a_table_names_it(table: str) -> None:
    files = [file for kind in ("*.py", "*.sql") for file in (ROOT / WRITERS[table]).rglob(kind)]
    assert any(re.search(rf"\b{table}\b", file.read_text("utf-8")) for file in files)

"""The list of what is held about a person names every table of the schema, and every column of personal data."""

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.session.events import EVENT_CLASSES
from payments.erasure.held_data import HELD, SEALED_FIELDS
from payments.erasure.impersonal_tables import NOTHING_OF_A_PERSON
from payments.erasure.reencryption import COLUMNS as REENCRYPTED
from projections.history import ENCRYPTED_FIELDS
from tests.support.schema_catalog import Row, read_tables

OF_A_PERSON = ("user_id", "session_id", "payer", "phone", "customer", "buyer", "key_owner")
"""Parts of the names of columns that point at a person."""


@pytest.fixture
def tables(database_url: str) -> dict[str, Row]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return {table["name"]: table for table in read_tables(connection)}


def columns(table: Row) -> set[str]:
    return {column["name"] for column in table["columns"]}


def test_every_table_is_in_the_list_or_holds_nothing_of_a_person(tables: dict[str, Row]) -> None:
    held = {held.table for held in HELD}
    assert held | NOTHING_OF_A_PERSON == set(tables)
    assert held & NOTHING_OF_A_PERSON == set()
    assert len(HELD) == len(held)


def test_no_table_outside_the_list_points_at_a_person(tables: dict[str, Row]) -> None:
    found = {
        f"{name}.{column}"
        for name in NOTHING_OF_A_PERSON
        if not name.endswith("_rebuilt")
        for column in columns(tables[name])
        if any(part in column for part in OF_A_PERSON)
    }
    assert found == set()


def test_each_encrypted_column_of_a_person_has_its_purpose(tables: dict[str, Row]) -> None:
    for held in HELD:
        sealed = {column for column in columns(tables[held.table]) if "sealed" in column}
        known = set(held.sealed) if held.table != "payment_events" else set()
        assert sealed == known, held.table
        assert held.hidden <= columns(tables[held.table]), held.table
    purposes = {held.table: set(held.sealed.values()) for held in HELD}
    for column in REENCRYPTED:
        assert column.table in NOTHING_OF_A_PERSON or column.purpose in purposes[column.table]


def test_each_encrypted_field_of_an_event_has_its_purpose() -> None:
    fields = {
        name
        for event in EVENT_CLASSES
        for name in vars(event).get("__annotations__", {})
        if name.endswith(ENCRYPTED_FIELDS)
    }
    assert fields <= set(SEALED_FIELDS)

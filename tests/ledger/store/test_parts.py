"""Parts of one statement take effect together or not at all."""

import psycopg
import pytest

from ledger.store.database import Database
from ledger.store.parts import Part, run_parts

CLAIM = "reserve_reference(%s, %s, %s)"
SESSION = "018f3f6e-0000-7000-8000-000000000001"


def test_each_part_answers_by_its_name(database: Database) -> None:
    with database.connection() as connection:
        found = run_parts(connection, {"sum": Part("%s::int + %s", (1, 2)), "word": Part("'word'")})
    assert found == {"sum": 3, "word": "word"}


def test_a_later_part_sees_what_an_earlier_one_wrote(database: Database) -> None:
    other = SESSION.replace("1", "2")
    with database.connection() as connection:
        found = run_parts(
            connection,
            {"first": Part(CLAIM, ("R1", "test", SESSION)), "second": Part(CLAIM, ("R1", "test", other))},
        )
    assert [str(value) for value in found.values()] == [SESSION, SESSION]


def test_no_part_stays_where_one_fails(database: Database) -> None:
    with database.connection() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            run_parts(
                connection,
                {"claim": Part(CLAIM, ("R1", "test", SESSION)), "fails": Part("1 / %s::int", (0,))},
            )
        other = SESSION.replace("1", "2")
        assert str(run_parts(connection, {"claim": Part(CLAIM, ("R1", "test", other))})["claim"]) == other

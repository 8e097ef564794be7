"""The double of a statement made of parts: whole or not at all, as on PostgreSQL."""

from typing import Any

import pytest

from ledger.store.parts import Part, run_parts
from tests.simulation.memory_database import MemoryDatabase, Tables
from tests.simulation.parts import Effects, PartDoubles

ADD, FAIL = "add(%s, %s)", "fail()"


class Refused(Exception):
    """What a part raises."""


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def tables(told: list[int]) -> Tables:
    tables, sums = Tables(), [0]

    def add(values: Any, effects: Effects) -> int:
        sums.append(sums[-1] + sum(values))
        effects.undone_by(sums.pop)
        effects.then(lambda: told.append(sums[-1]))
        return sums[-1]

    def fail(_: Any, __: Effects) -> None:
        raise Refused

    tables.parts = PartDoubles({ADD: add, FAIL: fail})
    return tables


def test_each_part_gets_its_values_and_answers_by_its_name(tables: Tables, told: list[int]) -> None:
    with MemoryDatabase(tables).connection() as connection:
        found = run_parts(connection, {"one": Part(ADD, (1, 2)), "two": Part(ADD, (3, 4))})
    assert found == {"one": 3, "two": 10}
    assert told == [10, 10]


def test_no_part_stays_where_one_fails(tables: Tables, told: list[int]) -> None:
    with MemoryDatabase(tables).connection() as connection:
        with pytest.raises(Refused):
            run_parts(connection, {"one": Part(ADD, (1, 2)), "two": Part(FAIL)})
        assert run_parts(connection, {"one": Part(ADD, (5, 5))}) == {"one": 10}
    assert told == [10]


def test_a_part_without_a_double_is_named(tables: Tables) -> None:
    with MemoryDatabase(tables).connection() as connection, pytest.raises(KeyError, match="does not know"):
        run_parts(connection, {"one": Part("unknown(%s)", (1,))})

"""What the tracer counts as a call of a function of ours, and what as a commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
import pytest

from tests.architecture.tracing import Call, Commit, Function, Trace, Tracer
from tests.architecture.ways import WRITES

HERE = "tests/architecture/test_tracing.py"


@dataclass
class Thing:
    """Something with all kinds of members."""

    size: int

    @property
    def double(self) -> int:
        return 2 * self.size

    @cached_property
    def triple(self) -> int:
        return 3 * self.size

    def half(self) -> int:
        return self.size // 2


@contextmanager
def _lent() -> Iterator[int]:
    yield 1


def _count() -> Iterator[int]:
    yield 1
    yield 2


def _read(thing: Thing) -> int:
    return thing.double + thing.triple + sum(n for n in (1, 2)) + len([n for n in (1, 2)])  # noqa: C416


def _inside() -> int:
    class Local:
        """A class body is no function."""

    with _lent():
        return len(Local.__name__)


def _names(run: Callable[[], Any]) -> list[str]:
    with Tracer(("tests",), WRITES).recording() as recorded:
        run()
    return [call.callee.name for call in recorded[0].calls if call.callee.file == HERE]


def test_properties_and_code_of_dataclasses_are_no_calls() -> None:
    thing = Thing(3)
    assert _names(lambda: _read(Thing(3)))[1:] == ["_read"]
    assert _names(thing.half) == ["Thing.half"]


def test_a_generator_is_called_once_however_often_it_goes_on() -> None:
    assert _names(lambda: list(_count()))[1:] == ["_count"]
    assert _names(_inside) == ["_inside", "_lent"]


def test_inner_functions_are_named_by_where_they_are_written() -> None:
    prefix = "test_inner_functions_are_named_by_where_they_are_written.<locals>"
    assert (
        _names(lambda: sorted([2, 1], key=lambda n: n))
        == [f"{prefix}.<lambda>"] + [f"{prefix}.<lambda>.<locals>.<lambda>"] * 2
    )


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_commit_is_noted_when_it_happens(server_url: str, in_transaction: bool) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE noted (number int)")
        with Tracer(("tests",), WRITES).recording() as recorded:
            _write(connection, in_transaction=in_transaction)
    kinds = [
        type(moment).__name__
        for moment in recorded[0].moments
        if isinstance(moment, Commit) or moment.callee.name in ("_write", "_after")
    ]
    assert kinds == (["Call", "Call", "Commit"] if in_transaction else ["Call", "Commit", "Call"])


def _write(connection: psycopg.Connection[Any], *, in_transaction: bool) -> None:
    connection.execute("SELECT number FROM noted")
    if in_transaction:
        with connection.transaction():
            with connection.transaction():  # A savepoint.
                connection.execute("INSERT INTO noted VALUES (1)")
            _after()
    else:
        connection.execute("INSERT INTO noted VALUES (1)")
        _after()


def _after() -> None:
    pass


def test_a_part_ends_at_its_last_commit() -> None:
    view, use_case = Function("a.py", "view"), Function("b.py", "run")
    inside = (Call(view, ()), Call(use_case, (view,)), Commit("INSERT", (view, use_case)))
    before, after = Call(use_case, ()), Call(use_case, (view,))
    trace = Trace((before, *inside, after, Commit("INSERT", ())))
    assert trace.within(view).moments == inside
    assert trace.within(view).files == ["a.py", "b.py"]


def test_a_call_back_into_a_running_file_is_upward() -> None:
    view, use_case = Function("a.py", "view"), Function("b.py", "run")
    inner = Function("b.py", "run.<locals>.<lambda>")
    ledger, helper = Function("c.py", "decide"), Function("d.py", "help")
    down = (Call(view, ()), Call(use_case, (view,)), Call(ledger, (view, use_case)))
    back, around = Call(inner, (view, use_case, ledger)), Call(inner, (view, use_case, helper))
    trace = Trace((*down, Call(helper, (view, use_case)), back, around))
    assert trace.upward(["a.py", "b.py", "c.py"]) == [back, around]
    assert trace.upward(["a.py", "c.py"]) == []

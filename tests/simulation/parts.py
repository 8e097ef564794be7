"""The doubles of parts: `run_parts` joins the SQL of several rooms, and each room's tables answer for its own part.

A part is known by its SQL, as a statement is. Its double returns the part's value and says in `Effects` how to undo it,
so that a statement of several parts takes effect whole or not at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

Step = Callable[[], object]
_PREFIX = "SELECT "


class Effects:
    """What a statement did: how to undo it, and whom to tell of it once it is whole."""

    __slots__ = ("_told", "_undo")

    def __init__(self) -> None:
        self._undo: list[Step] = []
        self._told: list[Step] = []

    def undone_by(self, step: Step) -> None:
        """Note how to take back what was just done."""
        self._undo.append(step)

    def then(self, step: Step) -> None:
        """Note what follows if the whole statement succeeds."""
        self._told.append(step)

    def undo(self) -> None:
        """Take everything back, the last first."""
        for step in reversed(self._undo):
            step()

    def tell(self) -> None:
        """Do what follows from the whole statement."""
        for step in self._told:
            step()


def putting_back(table: dict[Any, dict[str, Any]], key: Any) -> Callable[[], None]:
    """Return what puts a row back as it is now."""
    before = dict(table[key]) if key in table else None

    def put_back() -> None:
        if before is None:
            table.pop(key, None)
        else:
            table[key] = before

    return put_back


PartDouble = Callable[[Sequence[Any], Effects], Any]
"""Given the values of a part, it returns the part's value, or raises what PostgreSQL raises."""


@cache
def _names(statement: bytes, known: frozenset[str]) -> tuple[tuple[str, str, int], ...] | None:
    text, found = statement.decode().removeprefix(_PREFIX), []
    while text:
        sql = max((each for each in known if text.startswith(each + " AS ")), key=len, default=None)
        if sql is None:
            return None
        name, _, text = text[len(sql) + len(" AS ") :].partition(", ")
        found.append((name, sql, sql.count("%s")))
    return tuple(found)


class PartDoubles:
    """The doubles of all parts, by their SQL."""

    def __init__(self, doubles: Mapping[str, PartDouble]) -> None:
        self._doubles = dict(doubles)
        self._known = frozenset(doubles)

    def parts_of(self, statement: object) -> tuple[tuple[str, str, int], ...] | None:
        """Return name, SQL and number of values of each part of a statement; None if it is not made of known ones."""
        is_made_of_parts = isinstance(statement, bytes) and statement.startswith(_PREFIX.encode())
        return _names(statement, self._known) if is_made_of_parts else None

    def evaluate(
        self, parts: tuple[tuple[str, str, int], ...], values: Sequence[Any], effects: Effects
    ) -> Iterator[tuple[str, str, Sequence[Any], Any]]:
        """Yield name, SQL, values and value of each part, in their order."""
        start = 0
        for name, sql, count in parts:
            own = values[start : start + count]
            yield name, sql, own, self._doubles[sql](own, effects)
            start += count

"""What charts and their tables are made of: lines with a bar each, columns over time, and differences in words."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from api.pages.wording import NOTHING

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Change:
    """The difference to the period before, with its sign and in words; "" as its words if there is none."""

    before: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: a name, a remark, how many, how long its bar is in percent, and the difference."""

    name: str
    remark: str
    count: int
    bar: float
    share: str
    change: Change


@dataclass(frozen=True, slots=True)
class Column:
    """One step of time: what was created, paid and ordered in it, and how high these are of the highest, in percent."""

    name: str
    created: int
    paid: int
    ordered: int
    created_height: float
    paid_height: float


def changed(
    now: int | Decimal | None,
    before: int | Decimal | None,
    *,
    unit: str = "",
    more: str = "more",
    fewer: str = "less",
    show: Callable[[Any], str] = "{:,}".format,
) -> Change:
    """Return the difference between two figures: "+3: 25.0 % more"; with a unit it is in that: "+1.2 points more"."""
    if before is None:
        return Change(NOTHING, "" if now is None else "nothing before")
    suffix = f" {'%' if unit == 'points' else unit}" if unit else ""
    shown = f"{show(before)}{suffix}"
    if now is None or now == before:
        return Change(shown, "nothing now" if now is None else "no change")
    word, sign = (more, "+") if now > before else (fewer, MINUS)
    text = f"{sign}{show(abs(now - before))}"
    if unit:
        return Change(shown, f"{text} {unit} {word}")
    part = f"{100 * abs(Decimal(now - before)) / before:,.1f} % {word}" if before else "none before"
    return Change(shown, f"{text}: {part}")


def lines_of(rows: Iterable[tuple[str, str, int, int | None]], of: int | None = None) -> list[Line]:
    """Return the lines of (name, remark, count, count before); a share is of `of`, or of all of them together.

    A bar is as long as its share, or else as its part of the longest.
    """
    rows = list(rows)
    whole = sum(count for _, _, count, _ in rows) if of is None else of
    longest = max((count for _, _, count, _ in rows), default=0) if of is None else of
    return [
        Line(
            name,
            remark,
            count,
            _percent_of(count, longest),
            f"{_percent_of(count, whole):.1f} %" if whole else NOTHING,
            changed(count, before, fewer="fewer"),
        )
        for name, remark, count, before in rows
    ]


def columns_of(
    rows: Iterable[dict[str, Any]], key: str, steps: Iterable[Any], name: Callable[[Any], str]
) -> list[Column]:
    """Return a column for each step, those without a row included."""
    by_step = {row[key]: row for row in rows}
    highest = max((row["created"] for row in by_step.values()), default=0)
    empty = {"created": 0, "paid": 0, "ordered": 0}
    return [
        Column(
            name(step),
            row["created"],
            row["paid"],
            row["ordered"],
            _percent_of(row["created"], highest),
            _percent_of(row["paid"], highest),
        )
        for step in steps
        for row in [by_step.get(step, empty)]
    ]


def _percent_of(count: int, whole: int) -> float:
    return round(min(100 * count / whole, 100), 1) if whole else 0

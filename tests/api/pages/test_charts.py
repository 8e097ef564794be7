"""Differences in words, and the lengths of bars."""

from decimal import Decimal

import pytest

from api.pages.console.charts import Change, changed, columns_of, lines_of
from api.pages.wording import NOTHING, shillings

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (15, 12, "+3: 25.0 % more"),
        (1_009, 2_018, f"{MINUS}1,009: 50.0 % less"),
        (3, 0, "+3: none before"),
        (3, 3, "no change"),
        (0, 0, "no change"),
        (3, None, "nothing before"),
        (None, 3, "nothing now"),
        (None, None, ""),
    ],
)
def test_a_difference_has_its_sign_and_words(now: int | None, before: int | None, text: str) -> None:
    assert changed(now, before).text == text


def test_a_difference_in_a_unit_says_so() -> None:
    rate = changed(Decimal("71.5"), Decimal("72.0"), unit="points")
    assert rate == Change("72.0 %", f"{MINUS}0.5 points less")
    slower = changed(Decimal("9.0"), Decimal("8.5"), unit="s", more="slower", fewer="faster")
    assert slower == Change("8.5 s", "+0.5 s slower")
    assert changed(150_00, 100_00, show=shillings) == Change("KES 100.00", "+KES 50.00: 50.0 % more")


def test_a_bar_is_as_long_as_its_share_of_what_it_is_a_part_of() -> None:
    created, paid = lines_of([("Created", "", 8, 4), ("Paid", "", 2, None)], of=8)
    assert (created.bar, created.share, paid.bar, paid.share) == (100, "100.0 %", 25, "25.0 %")
    assert paid.change == Change(NOTHING, "nothing before")
    most, least = lines_of([("a", "", 6, 6), ("b", "", 3, 3)])
    assert (most.bar, most.share, least.bar, least.share) == (100, "66.7 %", 50, "33.3 %")
    [none] = lines_of([("a", "", 0, 0)])
    assert (none.bar, none.share) == (0, NOTHING)


def test_a_step_without_sessions_has_its_column() -> None:
    row = {"hour": 7, "created": 4, "paid": 1, "ordered": 1}
    steps = columns_of([row], "hour", range(6, 9), "{:02d}:00".format)
    assert [(step.name, step.created, step.paid, step.ordered) for step in steps] == [
        ("06:00", 0, 0, 0),
        ("07:00", 4, 1, 1),
        ("08:00", 0, 0, 0),
    ]
    assert (steps[1].created_height, steps[1].paid_height, steps[0].created_height) == (100, 25, 0)

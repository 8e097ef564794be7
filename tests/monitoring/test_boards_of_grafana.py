"""The boards of docs/monitoring are of the form that Grafana's documents give for its classic JSON model.

Only the fields that the boards use are known here: one more, or one that is misspelt, which Grafana would pass over
silently, is refused.
"""

import re
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct, json

from tests.monitoring.test_rules_and_boards import BOARDS, GROUPED

GRID_COLUMNS = 24
Whole = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Strict(Struct, forbid_unknown_fields=True):
    """A part of a board, all of whose fields are known."""


class Source(Strict):
    type: Literal["prometheus"]
    uid: Text


class Target(Strict):
    datasource: Source
    expr: Text
    legendFormat: str  # noqa: N815 - as Grafana names it, and so below
    refId: Annotated[str, Meta(pattern="^[A-Z]$")]  # noqa: N815


class Place(Strict):
    x: Whole
    y: Whole
    w: Annotated[int, Meta(ge=1, le=GRID_COLUMNS)]
    h: Annotated[int, Meta(ge=1)]


class Custom(Strict):
    drawStyle: Literal["line", "bars", "points"]  # noqa: N815
    fillOpacity: Annotated[int, Meta(ge=0, le=100)]  # noqa: N815
    showPoints: Literal["auto", "never", "always"]  # noqa: N815


class Defaults(Strict):
    unit: Literal["d", "none", "percentunit", "reqps", "s"]
    min: float | None = None
    custom: Custom | None = None


class FieldConfig(Strict):
    defaults: Defaults
    overrides: Annotated[list[None], Meta(max_length=0)]


class Legend(Strict):
    displayMode: Literal["list", "table", "hidden"]  # noqa: N815
    placement: Literal["bottom", "right"]
    showLegend: bool  # noqa: N815


class Reduce(Strict):
    calcs: Annotated[list[Literal["lastNotNull"]], Meta(min_length=1)]


class Options(Strict):
    legend: Legend | None = None
    reduceOptions: Reduce | None = None  # noqa: N815


class Panel(Strict):
    id: Whole
    type: Literal["stat", "timeseries"]
    title: Text
    description: Text
    datasource: Source
    gridPos: Place  # noqa: N815
    fieldConfig: FieldConfig  # noqa: N815
    options: Options
    targets: Annotated[list[Target], Meta(min_length=1)]

    @property
    def cells(self) -> set[tuple[int, int]]:
        """Where on the grid it lies."""
        place = self.gridPos
        return set(product(range(place.x, place.x + place.w), range(place.y, place.y + place.h)))


class Variable(Strict):
    name: Text
    label: Text
    type: Literal["datasource"]
    query: Literal["prometheus"]


class Templating(Strict):
    list: Annotated[list[Variable], Meta(min_length=1)]


class Times(Strict, rename={"since": "from"}):
    """The time that is shown at first."""

    since: Annotated[str, Meta(pattern="^now-[0-9]+[hd]$")]
    to: Literal["now"]


class Board(Strict):
    uid: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{8,40}$")]
    title: Text
    tags: list[Text]
    timezone: Literal["Africa/Nairobi"]
    editable: bool
    refresh: Annotated[str, Meta(pattern="^[0-9]+[smh]$")]
    schemaVersion: Annotated[int, Meta(ge=30, le=41)]  # noqa: N815
    version: Whole
    time: Times
    templating: Templating
    panels: Annotated[list[Panel], Meta(min_length=1)]


@pytest.fixture(params=BOARDS, ids=lambda path: path.stem)
def board(request: pytest.FixtureRequest) -> Board:
    path: Path = request.param
    return json.decode(path.read_bytes(), type=Board)


def test_panels_lie_side_by_side_and_are_told_apart(board: Board) -> None:
    panels = board.panels
    assert len({panel.id for panel in panels}) == len({panel.title for panel in panels}) == len(panels)
    cells = [cell for panel in panels for cell in panel.cells]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < GRID_COLUMNS
    for panel in panels:
        assert len({target.refId for target in panel.targets}) == len(panel.targets)
        assert (panel.options.reduceOptions is not None) == (panel.type == "stat")


def test_every_query_asks_the_prometheus_that_was_chosen(board: Board) -> None:
    [variable] = board.templating.list
    for panel in board.panels:
        chosen = Source(variable.query, f"${{{variable.name}}}")
        assert [panel.datasource, *(target.datasource for target in panel.targets)].count(chosen) == 1 + len(
            panel.targets
        )


def test_a_legend_names_the_labels_by_which_its_query_is_grouped(board: Board) -> None:
    for panel in board.panels:
        for target in panel.targets:
            grouped = GROUPED.search(target.expr)
            labels = set(grouped[1].split(", ")) - {"le"} if grouped and panel.type != "stat" else set()
            assert set(re.findall(r"{{(\w+)}}", target.legendFormat)) == labels, panel.title

"""The figures in docs/performance.md are those of docs/performance.json, and nobody typed them."""

import json

from tests.bench.chart import chart
from tests.bench.page import CHART, FIGURES, PAGE, tables, with_tables
from tests.bench.results import Figures, middle, ratios


def _turn(subject: str, pair: int, rate: float) -> Figures:
    return {
        "part": "lifecycles",
        "subject": subject,
        "pair": pair,
        "clients": 32,
        "lifecycles_per_second": rate,
        "processor_milliseconds_per_lifecycle": dict.fromkeys(
            ("own", "API", "worker", "PostgreSQL", "simulator", "client"), rate
        ),
    }


RESULTS: Figures = {
    "machine": {
        "at": "2026-11-27T09:00:00+00:00",
        "commit": "abc1234",
        "cores": 2,
        "python": "3.11.7",
        "load_before": [0.1],
        "load_after": [2.0],
        "steal_percent": 0.2,
    },
    "bounds": {},
    "api_process_megabytes": [],
    "turns": [
        _turn("Daftari", 0, 150.0),
        _turn("plain rows", 0, 100.0),
        _turn("plain rows", 1, 10.0),
        _turn("Daftari", 2, 180.0),
        _turn("plain rows", 2, 90.0),
    ],
}


def test_the_page_shows_the_figures_of_the_file() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_tables(page, json.loads(FIGURES.read_text("utf-8")))


def test_the_chart_shows_the_figures_of_the_file() -> None:
    assert CHART.read_text("utf-8") == chart(json.loads(FIGURES.read_text("utf-8")))


def test_a_turn_without_its_pair_gives_no_ratio() -> None:
    found = ratios(RESULTS, "lifecycles", "Daftari", "plain rows", "lifecycles_per_second", clients=32)
    assert found == [1.5, 2.0]
    assert middle(found, "{:.2f}") == "1.75 (1.50 to 2.00)"


def test_what_was_not_measured_is_left_out() -> None:
    lines = tables(RESULTS)
    assert any(line.startswith("| lifecycles over plain rows, 32 clients | 1.75") for line in lines)
    assert not any("poll" in line or line == "-" for line in lines)


def test_tables_take_the_place_of_older_ones() -> None:
    page = PAGE.read_text("utf-8")
    changed = with_tables(page, RESULTS)
    assert changed.startswith("# Performance\n")
    assert "on commit abc1234" in changed
    assert with_tables(changed, json.loads(FIGURES.read_text("utf-8"))) == page

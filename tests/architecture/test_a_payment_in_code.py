"""A payment goes through the code in a straight line, through few files, and the page that tells the way is right."""

import shutil
from collections.abc import Iterator

import pytest

from tests.architecture.page import PAGE, read_page
from tests.architecture.tracing import Call, Trace
from tests.architecture.walking import walk
from tests.architecture.ways import APPEND, MAX_SPINE_FILES, WAYS, Piece, Way, counted_files, files_to_list
from tests.support.database import new_database, reachable_folder

PIECES = [piece for way in WAYS for piece in way.pieces]

each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
each_piece = pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.trace)


@pytest.fixture(scope="module")
def traces(server_url: str, template_database: str) -> Iterator[dict[str, Trace]]:
    """Every command, taken through a running instance once."""
    folder = reachable_folder()
    with new_database(server_url, template_database) as url:
        yield walk(url, folder)
    shutil.rmtree(folder)


@each_piece
def test_a_command_is_carried_by_few_files(piece: Piece, traces: dict[str, Trace]) -> None:
    assert len(piece.spine) <= MAX_SPINE_FILES
    carriers = set(piece.part(traces).carriers(APPEND))
    assert carriers, "nothing was written"
    assert carriers <= set(piece.spine)


@each_piece
def test_each_file_of_the_spine_is_entered_from_above(piece: Piece, traces: dict[str, Trace]) -> None:
    part = piece.part(traces)
    assert set(piece.spine) <= set(part.files)
    for above, file in zip(piece.spine[:-3], piece.spine[1:], strict=False):
        first = next(call for call in part.entries if call.callee.file == file)
        assert above in [function.file for function in first.stack]


@each_piece
def test_nothing_calls_back_up(piece: Piece, traces: dict[str, Trace]) -> None:
    assert _told(piece.part(traces).upward(piece.spine)) == []


@each_way
def test_a_command_takes_few_files(way: Way, traces: dict[str, Trace]) -> None:
    files = counted_files(way.part(traces))
    assert way.max_files is None or len(files) <= way.max_files, files


@each_way
def test_the_page_tells_the_way(way: Way, traces: dict[str, Trace]) -> None:
    assert read_page(PAGE.read_text("utf-8")).get(way.title) == files_to_list(way, way.part(traces))


def test_the_page_tells_of_nothing_else() -> None:
    assert list(read_page(PAGE.read_text("utf-8"))) == [way.title for way in WAYS]


def test_the_page_is_read_by_headings_and_items() -> None:
    text = (
        "# Title\n\n1. `no/section.py`\n\n## One\n\n1. `a.py` does this.\n2. `b.py`\n\n## Two\n\nNothing.\n"
    )
    assert read_page(text) == {"One": ["a.py", "b.py"]}


def _told(calls: list[Call]) -> list[str]:
    return [f"{call.caller} -> {call.callee}" for call in calls]

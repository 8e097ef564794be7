"""`python -m tests.architecture.report`: what each command runs, in which order, and where it goes back.

With `--page`, the sections of docs/a-payment-in-code.md as they should be, without words.
"""

import logging
import shutil
import sys
from collections.abc import Iterator

import structlog

from tests.architecture.page import write_section
from tests.architecture.tracing import Call, Trace
from tests.architecture.walking import walk
from tests.architecture.ways import APPEND, WAYS, Piece, Way, counted_files, files_to_list, why_uncounted
from tests.support.database import migrated_database, reachable_folder

_FRAMEWORK = "the framework"


def report(way: Way, traces: dict[str, Trace]) -> str:
    """Return all that is to be said of a command."""
    part = way.part(traces)
    counted = counted_files(part)
    whole = sum((traces[piece.trace] for piece in way.pieces), Trace(()))
    bound = "" if way.max_files is None else f", at most {way.max_files}"
    lines = [
        f"## {way.title}",
        f"\nFiles that count: {len(counted)}{bound}. From the beginning to the last commit: {len(part.files)} files, "
        f"entered {len(part.entries)} times, in {len(part.visits)} visits. Whole request: {len(whole.files)} files, "
        f"{len(whole.entries)} entries.",
        "\nFiles in the order of the first entry, how often each is entered, from where first, by which functions:",
        *_files(way, part),
        *(line for piece in way.pieces for line in _piece(piece, piece.part(traces))),
        "\nFiles entered more than once:",
        *(f"  {times:3} {file}" for file, times in part.times_entered.most_common() if times > 1),
        "\nOutside (before the beginning, or after the last commit):",
        *(f"  {file}" for file in whole.files if file not in part.files),
        "\nVisits:\n  " + " > ".join(part.visits),
    ]
    return "\n".join(lines) + "\n"


def _piece(piece: Piece, part: Trace) -> list[str]:
    upward = part.upward(piece.spine)
    jumps = [one for one in part.entries if one.jumps_back and one not in upward]
    jumps = [one for one in jumps if why_uncounted(one.callee.file) is None]
    off_spine = [file for file in part.carriers(APPEND) if file not in piece.spine]
    return [
        f"\n### The piece from {piece.begins}",
        "\nSpine, and how often each file is entered:",
        *(f"  {part.times_entered[file]:3} {file}" for file in piece.spine),
        "\nFiles that carry the append and are not of the spine: " + (", ".join(off_spine) or "none"),
        "\nUpward calls into the spine:",
        *_arrows(upward),
        "\nOther jumps back into a file that is running:",
        *_arrows(jumps),
        "\nEntries of the spine:",
        *_arrows([one for one in part.entries if one.callee.file in piece.spine]),
        "\nCommits:",
        *(f"  {number}. {commit.statement[:100]}" for number, commit in enumerate(part.commits, 1)),
    ]


def _files(way: Way, part: Trace) -> Iterator[str]:
    number = 0
    for file in part.files:
        why = why_uncounted(file)
        number += why is None
        mark = f"{number:2}." if why is None else "  -"
        notes = ", ".join(note for note in (why, "spine" if file in way.spine else None) if note)
        caller = next(call for call in part.entries if call.callee.file == file).caller
        yield f"  {mark} {file} {f'[{notes}] ' if notes else ''}x{part.times_entered[file]} <- {caller or _FRAMEWORK}"
        yield "       " + ", ".join(part.functions_entered(file))


def _arrows(calls: list[Call]) -> list[str]:
    return [f"  {call.caller or _FRAMEWORK} -> {call.callee}" for call in calls] or ["  none"]


def main() -> None:
    """Print the report, or the page's sections."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = reachable_folder()
    try:
        with migrated_database() as database_url:
            traces = walk(database_url, folder)
    finally:
        shutil.rmtree(folder)
    for way in WAYS:
        if "--page" in sys.argv:
            part = way.part(traces)
            listed = {file: part.functions_entered(file) for file in files_to_list(way, part)}
            print(write_section(way.title, listed))  # noqa: T201
        else:
            print(report(way, traces))  # noqa: T201


if __name__ == "__main__":
    main()

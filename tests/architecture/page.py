"""`docs/a-payment-in-code.md`: for each command, a numbered list of files in the order in which they are entered."""

import re
from collections.abc import Mapping, Sequence

from tests.architecture.tracing import ROOT

PAGE = ROOT / "docs" / "a-payment-in-code.md"

_HEADING = re.compile(r"^## (.+?)\s*$")
_ITEM = re.compile(r"^\d+\. `([^`]+)`")


def read_page(text: str) -> dict[str, list[str]]:
    """Return the files of each section: the names in backticks at which its numbered items begin."""
    sections: dict[str, list[str]] = {}
    files: list[str] = []
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            files = sections.setdefault(heading[1], [])
        elif item := _ITEM.match(line):
            files.append(item[1])
    return {title: files for title, files in sections.items() if files}


def write_section(title: str, functions: Mapping[str, Sequence[str]]) -> str:
    """Return a section that lists files with the functions by which they are entered, to be put into words by hand."""
    items = [
        f"{number}. `{file}`: {', '.join(f'`{name}`' for name in names)}"
        for number, (file, names) in enumerate(functions.items(), 1)
    ]
    return f"## {title}\n\n" + "\n".join(items) + "\n"

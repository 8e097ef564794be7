"""docs/glossary.md defines each word once, on one line, and the stored names that it lists are stored."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")
PACKAGES = ("api", "daraja", "ledger", "payments", "projections", "shop")
WORDS = [word.lower() for word in re.findall(r"^- \*\*([^*]+)\*\*", PAGE, re.MULTILINE)]
STORED = [
    name
    for row in PAGE.partition("| stored name |")[2].splitlines()[2:]
    for name in re.findall(r"`([^`]+)`", row.split("|")[1])
]


@cache
def code() -> str:
    files = [file for name in PACKAGES for kind in ("*.py", "*.sql") for file in (ROOT / name).rglob(kind)]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_each_word_is_defined_once_and_on_one_line() -> None:
    assert len(WORDS) > 50
    assert len(WORDS) == len(set(WORDS))
    entries = [line for line in PAGE.splitlines() if line.startswith("- ")]
    assert [line for line in entries if not re.fullmatch(r"- \*\*[^*]+\*\*(?: \([^)]+\))?: .+\.", line)] == []


@pytest.mark.parametrize("name", STORED)
def test_a_stored_name_is_in_the_code_or_the_migrations(name: str) -> None:
    assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", code(), re.IGNORECASE)

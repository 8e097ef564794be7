"""The codes that are raised, the table of codes, and docs/errors.md agree."""

import ast
import re
from pathlib import Path

from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.error_responses import CODE_OF_STATUS
from ledger import errors

ROOT = Path(__file__).parents[4]
PACKAGES = ("api", "ledger", "payments", "projections", "shop")
KINDS = ("InvalidValue", "Unauthenticated", "NotAllowed", "Rejected", "NotFound", "Conflict", "Unavailable")
CODE_FIRST = ("Unauthenticated", "NotAllowed", "Rejected")
"""The kinds whose first argument is the code; the others take it second, or by name, or have one of their own."""

CODE_SECOND = ("NotFound", "Conflict", "Unavailable")
A_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")

RAISED_BY_ENDPOINTS = {*CODE_OF_STATUS.values(), "BAD_REQUEST", "INTERNAL_ERROR"}
ON_THE_COMMAND_LINE_ALONE = {
    "KEY_NAME_TAKEN",
    "KEY_NOT_FOUND",
    "KEY_ROTATED",
    "SAMPLE_IS_THERE",
    "STORE_HAS_PAYMENTS",
    "UNKNOWN_VIEW",
}
ANSWERED_BY_THE_SERVER = {"REQUEST_TIMEOUT", "HEAD_TOO_LARGE", "SERVER_BUSY"}
HAVE_A_CODE_OF_THEIR_OWN = {
    errors.InvalidValue("").code,
    errors.NotFound().code,
    errors.Conflict().code,
    errors.Unavailable().code,
    "ERASED",
    "EVENT_FORGED",
}


def codes_in(source: str) -> set[str]:
    """Return the codes of all refusals that a module makes, in calls or in a table of (code, sentence)."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given += node.args[:1] if name in CODE_FIRST else []
            given += node.args[1:2] if name in CODE_SECOND else []
            given += [word.value for word in node.keywords if word.arg == "code"] if name in KINDS else []
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and _is_sentence(node.elts[1]):
            given += node.elts[:1]
        texts = {str(part.value) for part in given if isinstance(part, ast.Constant)}
        found |= {text for text in texts if A_CODE.fullmatch(text)}
    return found


def _is_sentence(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value


def raised() -> set[str]:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return set().union(*(codes_in(file.read_text("utf-8")) for file in files))


def documented() -> dict[str, tuple[int, str]]:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (\d{3}) \| (.*) \|$", text, re.MULTILINE)
    return {code: (int(status), meaning) for code, status, meaning in rows}


def test_every_code_that_is_raised_is_in_the_table_and_no_other() -> None:
    of_endpoints = raised() - ON_THE_COMMAND_LINE_ALONE
    assert of_endpoints | RAISED_BY_ENDPOINTS | ANSWERED_BY_THE_SERVER | HAVE_A_CODE_OF_THEIR_OWN == set(
        ERROR_CODES
    )


def test_the_document_lists_the_codes_with_status_and_meaning() -> None:
    assert documented() == ERROR_CODES


def test_codes_are_capitals_and_meanings_are_sentences() -> None:
    for code, entry in ERROR_CODES.items():
        assert re.fullmatch(r"[A-Z_]+", code)
        assert entry.meaning.endswith(".")

"""The APIs of the portal: the simulator has those that docs/simulator.md says it has, and says so of the others."""

import re
from pathlib import Path

import pytest

from tests.daraja.simulator.conftest import Shop

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulator.md"
ROW = re.compile(r"^\| [^|]+ \| (.+) \| (there|absent) \|$", re.MULTILINE)
NOT_FOUND = "404.001.01"

LISTED = [
    (path, presence == "there")
    for paths, presence in ROW.findall(DOCUMENT.read_text("utf-8"))
    for path in re.findall(r"`(/[^`]+)`", paths)
]


def test_the_page_lists_them() -> None:
    assert len([path for path, is_there in LISTED if is_there]) == 14
    assert len([path for path, is_there in LISTED if not is_there]) > 8


@pytest.mark.parametrize(("path", "is_there"), LISTED)
def test_an_api_answers_as_daraja_does_or_is_not_found_as_there(
    shop: Shop, path: str, is_there: bool
) -> None:
    method = "GET" if path.startswith("/oauth") else "POST"
    answer = shop.http.request(method, f"{shop.url}{path}", json={}, headers=shop.headers(), timeout=10)
    error = answer.json()
    assert set(error) == {"requestId", "errorCode", "errorMessage"}
    assert (error["errorCode"] != NOT_FOUND) is is_there
    if not is_there:
        assert (answer.status_code, error["errorMessage"]) == (404, "Resource not found")

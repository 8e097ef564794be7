from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from freezegun import freeze_time

Bearer = Callable[..., dict[str, str]]
LIST = "/api/probes/list/"


@pytest.fixture
def get(client: FlaskClient, bearer: Bearer) -> Callable[[str], Any]:
    return lambda url: client.get(url, headers=bearer()).json


def test_the_first_page_has_twenty_rows_and_an_absolute_link_to_the_next(get: Callable[[str], Any]) -> None:
    page = get(LIST)
    assert (page["count"], page["previous"], page["results"]) == (45, None, list(range(1, 21)))
    assert page["next"].startswith("http://localhost/api/probes/list/?")


def test_the_links_lead_through_all_rows_and_back(get: Callable[[str], Any]) -> None:
    page = get(LIST + "?page_size=7")
    seen = page["results"]
    while page["next"]:
        page = get(page["next"])
        seen += page["results"]
    assert seen == list(range(1, 46))
    assert get(page["previous"])["results"] == list(range(36, 43))


def test_the_links_keep_the_moment_of_the_first_page_and_the_filters(get: Callable[[str], Any]) -> None:
    with freeze_time("2024-01-15T10:30:00.123456Z"):
        first = get(LIST + "?page_size=20")
    second = get(first["next"])
    for link in (first["next"], second["next"]):
        query = parse_qs(urlsplit(link).query)
        assert query["as_of"] == ["2024-01-15T10:30:00.123456Z"]
        assert query["page_size"] == ["20"]


def test_the_page_size_is_capped(get: Callable[[str], Any]) -> None:
    page = get(LIST + "?page_size=5000")
    assert len(page["results"]) == 45
    assert page["next"] is None


def test_a_page_behind_the_last_is_empty(get: Callable[[str], Any]) -> None:
    page = get(LIST + "?page=99")
    assert (page["results"], page["next"]) == ([], None)
    assert get(page["previous"])["results"] == list(range(41, 46))


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=", "page=1.5", "page=9999999999", "page_size=0", "as_of=yesterday"],
)
def test_a_page_that_cannot_be_is_400_and_named(client: FlaskClient, bearer: Bearer, query: str) -> None:
    answer = client.get(f"{LIST}?{query}", headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert list(answer.json["errors"]) == [query.partition("=")[0]]

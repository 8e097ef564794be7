from api.issued_tokens import Role
from tests.api.http.resources.shop.conftest import Ask, code_of, content

COUNTIES = "/api/places/counties/"


def test_counties_are_public(ask: Ask) -> None:
    for role in ("", *Role):
        listed = content(ask("GET", COUNTIES, role=role))
        assert (listed["count"], listed["next"], listed["previous"]) == (47, None, None)
        assert [county["county_id"] for county in listed["results"]] == list(range(1, 48))
        assert listed["results"][0] == {"county_id": 1, "name": "Mombasa"}


def test_subcounties_are_public(ask: Ask) -> None:
    for path in (f"{COUNTIES}1/subcounties/", f"{COUNTIES}1/subcounties"):
        listed = content(ask("GET", path, role=""))
        assert listed["count"] == len(listed["results"])
        assert {"subcounty_id": 5, "county_id": 1, "name": "Mvita"} in listed["results"]
        assert {place["county_id"] for place in listed["results"]} == {1}


def test_every_county_has_subcounties_with_ids_of_their_own(ask: Ask) -> None:
    lists = [content(ask("GET", f"{COUNTIES}{county}/subcounties/"))["results"] for county in range(1, 48)]
    ids = [place["subcounty_id"] for places in lists for place in places]
    assert len(ids) == len(set(ids))
    assert all(lists)


def test_a_county_that_does_not_exist_is_not_found(ask: Ask) -> None:
    for county in ("0", "48", "-1", "abc", "1.0", "9" * 4_000, "9" * 5_000):
        assert code_of(ask("GET", f"{COUNTIES}{county}/subcounties/")) == (404, "NOT_FOUND")


def test_places_cannot_be_changed_here(ask: Ask) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (COUNTIES, f"{COUNTIES}1/subcounties/"):
            answer = ask(method, path, role=Role.OPERATOR)
            assert code_of(answer) == (405, "METHOD_NOT_ALLOWED")
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"

"""Whom the application believes about its own address, the client's, and the scheme."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.settings import Settings

Bearer = Callable[..., dict[str, str]]
LIST = "/api/probes/list/"
FORWARDED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=https",
}


@pytest.fixture
def next_link(
    make_app: Callable[[Settings], Flask], settings: Settings, bearer: Bearer
) -> Callable[..., str]:
    """Returns the link to the second page under changed settings, as a request with headers gets it."""

    def ask(headers: dict[str, str], **changed: object) -> str:
        app = make_app(replace(settings, **changed))  # type: ignore[arg-type]  # the names are the callers' matter
        answer = app.test_client().get(LIST, headers=bearer() | headers)
        assert answer.json is not None
        return str(answer.json["next"])

    return ask


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:9", "[::1]:8000"])
def test_links_repeat_a_host_that_is_this_machine(next_link: Callable[..., str], host: str) -> None:
    assert next_link({"Host": host}).startswith(f"http://{host}{LIST}?")


def test_links_never_repeat_another_host(next_link: Callable[..., str]) -> None:
    assert next_link({"Host": "evil.example"}).startswith(f"http://127.0.0.1:8000{LIST}?")


def test_links_begin_with_the_public_url_and_no_header_changes_that(next_link: Callable[..., str]) -> None:
    link = next_link(
        {"Host": "evil.example"} | FORWARDED,
        daftari_public_url="https://shop.example/pay/",
        daftari_trusted_proxies=1,
    )
    assert link.startswith(f"https://shop.example/pay{LIST}?page=2")


def test_proxy_headers_of_a_client_are_ignored(next_link: Callable[..., str]) -> None:
    assert next_link({"Host": "localhost"} | FORWARDED).startswith(f"http://localhost{LIST}?")


def test_a_proxy_of_ours_tells_the_scheme_and_never_the_host(next_link: Callable[..., str]) -> None:
    link = next_link({"Host": "localhost"} | FORWARDED, daftari_trusted_proxies=1)
    assert link.startswith(f"https://localhost{LIST}?")


@pytest.mark.parametrize(
    "host", ['x"><script>', "a b", "evil.example/path?", "evil@shop.example", "[evil", ""]
)
def test_an_invalid_host_is_not_repeated(next_link: Callable[..., str], host: str) -> None:
    assert urlsplit(next_link({"Host": host})).hostname == "127.0.0.1"


def test_the_page_of_the_document_shows_the_public_url(
    make_app: Callable[[Settings], Flask], settings: Settings
) -> None:
    app = make_app(replace(settings, daftari_public_url="https://shop.example/pay/"))
    client: FlaskClient = app.test_client()
    assert "https://shop.example/pay/api/cart/" in client.get("/docs/").text

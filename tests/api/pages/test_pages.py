"""The shop's pages as answers: who may see them, and what they carry."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.http.app import create_app
from api.issued_tokens import make_token
from api.local.local_settings import local_settings
from api.pages import install_pages
from api.settings import Settings
from api.wiring import build_services
from payments.services import Services
from shop.demo import demo_data
from tests.support.instance import DELIVERY, SIMULATED

PATHS = (
    "/",
    "/shop/",
    "/shop/cart/",
    "/shop/checkout/",
    "/shop/sessions/",
    "/orders/1",
    "/shop/static/shop.css",
)
SIMULATOR = "http://127.0.0.1:9"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    places = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path), "MPESA_BASE_URL": SIMULATOR}
    return local_settings({**places, **SIMULATED})


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """The services of a shop with two buyers."""
    services = build_services(settings)
    demo_data(services.database, users=2)
    yield services
    services.close()


@pytest.fixture
def client(settings: Settings, services: Services) -> FlaskClient:
    return create_app(settings, lambda: services, install_pages).test_client()


def open_session(settings: Settings, client: FlaskClient, user: int) -> str:
    """Open a session for a buyer's cart; return its id."""
    bearer = {"Authorization": f"Bearer {make_token(settings, user, ['customer'], 5)}"}
    answer = client.post("/api/payments/sessions/", json={"delivery_details": DELIVERY}, headers=bearer)
    assert answer.json is not None
    session_id: str = answer.json["session_id"]
    return session_id


def test_the_root_says_what_runs_where_and_leads_there(client: FlaskClient) -> None:
    shown = client.get("/").text
    for link in ("/shop/", f"{SIMULATOR}/", "/console/", "/docs/"):
        assert f'href="{link}"' in shown
    assert "PostgreSQL at " in shown


def test_the_root_names_the_database_without_its_login(settings: Settings, services: Services) -> None:
    settings = replace(settings, database_url="postgresql://shop:secret@db.example:5433/ledger")
    shown = create_app(settings, lambda: services, install_pages).test_client().get("/").text
    assert "PostgreSQL at db.example, ledger" in shown
    assert "secret" not in shown


def test_the_contracts_path_of_an_order_redirects_to_its_page(client: FlaskClient) -> None:
    assert client.get("/orders/789").headers["Location"] == "/shop/orders/789/"


def test_in_production_there_are_no_pages(settings: Settings, services: Services) -> None:
    client = create_app(
        replace(settings, daftari_mode="production"), lambda: services, install_pages
    ).test_client()
    assert {client.get(path).status_code for path in PATHS} == {404}


def test_pages_are_not_cached_and_frame_nothing(client: FlaskClient) -> None:
    headers = client.get("/shop/").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].endswith("; frame-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_where_mpesa_is_real_there_is_no_shop(settings: Settings, services: Services) -> None:
    services = replace(services, daraja_url="https://sandbox.safaricom.co.ke")
    client = create_app(settings, lambda: services, install_pages).test_client()
    assert client.get("/shop/checkout/").status_code == 404


def test_a_buyer_is_remembered_and_leaves_the_address(client: FlaskClient) -> None:
    answer = client.get("/shop/?user=2")
    assert answer.headers["Location"] == "/shop/"
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "Carrots" in client.get("/shop/cart/").text


def test_what_is_no_buyer_changes_nothing(client: FlaskClient) -> None:
    for user in ("0", "-1", "seven", "²", "9" * 30):
        answer = client.get("/shop/", query_string={"user": user})
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers


def test_anothers_payment_and_order_look_like_none(settings: Settings, client: FlaskClient) -> None:
    session_id = open_session(settings, client, user=2)
    for path in (f"/shop/sessions/{session_id}/", "/shop/orders/1/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.mimetype == "text/html"
        assert "There is no such" in answer.text


def test_a_county_that_does_not_exist_is_not_found(client: FlaskClient) -> None:
    assert client.get("/shop/subcounties/?delivery_details.county_id=99").status_code == 404


def test_where_others_issue_the_tokens_the_page_says_what_to_unset(
    settings: Settings, services: Services
) -> None:
    settings = replace(settings, daftari_jwt_jwks_url="http://127.0.0.1:9/keys", daftari_jwt_secret="")
    answer = create_app(settings, lambda: services, install_pages).test_client().get("/shop/")
    assert answer.status_code == 503
    assert "unset DAFTARI_JWT_PUBLIC_KEY_FILE" in answer.text

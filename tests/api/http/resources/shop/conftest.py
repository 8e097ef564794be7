"""The application with all services, and a shop with two products in stock."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.issued_tokens import Role
from api.local.local_settings import local_settings
from api.settings import Settings
from api.wiring import build_services
from payments.services import Services
from shop.builtin import BuiltinShop
from shop.builtin.catalogue import ListingDraft
from tests.api.http.conftest import SECRET
from tests.shop.conftest import EGGS, TOMATOES

BUYER, STRANGER, OPERATOR = 7, 8, 99

Ask = Callable[..., TestResponse]


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return local_settings(
        {
            "DATABASE_URL": database_url,
            "DAFTARI_DATA_DIR": str(tmp_path),
            "DAFTARI_JWT_SECRET": SECRET,
            "MPESA_CONSUMER_KEY": "key-of-the-tests",
            "MPESA_CONSUMER_SECRET": "secret-of-the-tests",
            "MPESA_BUSINESS_SHORTCODE": "174379",
            "MPESA_PASSKEY": "passkey-of-the-tests",
            "MPESA_BASE_URL": "http://127.0.0.1:9",
        }
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    services = build_services(settings)
    yield services
    services.close()


@pytest.fixture(autouse=True)
def shop(services: Services) -> BuiltinShop:
    """Ten kilograms of tomatoes and ten trays of eggs."""
    for listing_id, name, price_cents, unit in (
        (TOMATOES, "Fresh Tomatoes", 150_00, "kg"),
        (EGGS, "Kienyeji Eggs", 480_00, "tray"),
    ):
        draft = ListingDraft("Green Valley Farm", name, price_cents, unit, 1_000, stock_thousandths=10_000)
        services.shop.catalogue.put(listing_id, draft, OPERATOR)
    return services.shop


@pytest.fixture
def ask(client: FlaskClient, bearer: Callable[..., dict[str, str]]) -> Ask:
    """Sends a request: `ask("PUT", path, {"quantity": "2"}, user=8)`; text is sent as it is, role "" sends no token."""

    def send(
        method: str, path: str, body: Any = None, *, user: int = BUYER, role: str = Role.CUSTOMER
    ) -> TestResponse:
        headers = bearer(user, role) if role else {}
        if isinstance(body, str):
            return client.open(
                path, method=method, data=body, headers=headers, content_type="application/json"
            )
        return client.open(path, method=method, json=body, headers=headers)

    return send


def code_of(answer: TestResponse) -> tuple[int, str]:
    """Return the status and the error code of a refusal."""
    assert answer.json is not None
    return answer.status_code, answer.json["error_code"]


def content(answer: TestResponse, status: int = 200) -> Any:
    """Return the body of an answer that has the status it should have."""
    assert answer.status_code == status, answer.text
    return answer.json

"""A scripted Daraja, and a client that talks to it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daraja import Accepted, AccessToken, DarajaClient, DarajaConfig, MemoryTokenStore
from tests.daraja.client import scripted
from tests.daraja.client.scripted import Script, json_reply

CHECKOUT_ID = "ws_CO_1511202609070557708374149"
NOW = datetime(2026, 11, 15, 6, 7, 5, tzinfo=UTC)
ACCEPTANCE = {
    "MerchantRequestID": "7c1e-4a90-b2d4-0e5f6a7b8c9d123456",
    "CheckoutRequestID": CHECKOUT_ID,
    "ResponseCode": "0",
    "ResponseDescription": "Success. Request accepted for processing",
    "CustomerMessage": "Success. Request accepted for processing",
}

MakeClient = Callable[..., DarajaClient]


@pytest.fixture
def script() -> Iterator[Script]:
    """Give a server that hands out a token and accepts every push, until the test says otherwise."""
    script, stop = scripted.serve()
    script.at(scripted.OAUTH, token_reply("token-1"))
    script.at(scripted.PUSH, json_reply(200, ACCEPTANCE))
    yield script
    stop()


@pytest.fixture
def make_client(script: Script) -> Iterator[MakeClient]:
    """Give a function that makes clients of the scripted server; settings may be changed by name."""
    clients = []

    def make(tokens: MemoryTokenStore | None = None, **changes: Any) -> DarajaClient:
        config = make_config(**({"base_url": script.base_url} | changes))
        client = DarajaClient(config, tokens or make_store(), clock=lambda: NOW)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> DarajaClient:
    """Give a client with plain settings."""
    return make_client()


def make_store(value: str | None = None, lifetime_seconds: int = 3599) -> MemoryTokenStore:
    """Make a token store at the fixed time, empty or with a token in it."""
    store = MemoryTokenStore(clock=lambda: NOW)
    if value is not None:
        store.refresh(None, lambda: AccessToken(value, NOW + timedelta(seconds=lifetime_seconds)))
    return store


def make_config(**changes: Any) -> DarajaConfig:
    """Make a paybill's configuration."""
    settings: dict[str, Any] = {
        "base_url": "http://127.0.0.1:9",
        "consumer_key": "test-key",
        "consumer_secret": "test-secret",
        "shortcode": "174379",
        "passkey": "testpasskey",
        "connect_timeout_seconds": 2.0,
        "read_timeout_seconds": 5.0,
    }
    return DarajaConfig(**(settings | changes))


def token_reply(value: str, expires_in: object = "3599") -> scripted.Deed:
    """Answer with a token."""
    return json_reply(200, {"access_token": value, "expires_in": expires_in})


def push(client: DarajaClient, **changes: Any) -> Accepted:
    """Push 650 shillings to a phone."""
    request: dict[str, Any] = {
        "phone": "254708374149",
        "amount_shillings": 650,
        "callback_url": "https://shop.example/pay/callbacks/abc/",
        "account_reference": "ORD-1",
        "description": "Order",
    }
    return client.push(**(request | changes))

"""A running instance with the shop of the checkout contract, a frozen clock, and the invariants after every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from api.local.local_settings import local_settings
from ledger.store.database import Database
from ledger.store.vault import Vault
from tests.scenarios.steps import TOMATOES, Clock, put_in_cart, put_on_shelf
from tests.support.daraja_proxy import DarajaProxy, daraja_proxy
from tests.support.instance import DELIVERY, Client, Instance, running_instance
from tests.support.invariants import assert_invariants_hold

MORNING = "2026-11-16T07:30:00Z"
"""Half past ten in Nairobi."""


@pytest.fixture(autouse=True)
def _invariants_hold(database_url: str, data_folder: Path) -> Iterator[None]:
    yield
    settings = local_settings({"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)})
    database = Database(database_url, max_connections=2)
    try:
        assert_invariants_hold(
            database,
            Vault(database, settings.daftari_master_key),
            known_texts=(str(DELIVERY["full_name"]), str(DELIVERY["detailed_address"])),
            with_messages=True,
            prompt_seconds=settings.daftari_prompt_seconds,
        )
    finally:
        database.close()


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Stopped time. Ask for it before `instance`, so that no token is from the future."""
    with freeze_time(MORNING) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture
def mpesa() -> Iterator[DarajaProxy]:
    """What stands between an instance and its simulator, for tests that make an instance of their own with it."""
    with daraja_proxy() as server:
        yield server


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """A running instance that sells 40 kg of tomatoes at 150.00."""
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


@pytest.fixture
def buyer(instance: Instance) -> Client:
    """User 1, with 2 kg of tomatoes in the cart: 300.00, and 50.00 for the delivery."""
    client = instance.client(1)
    put_in_cart(client, TOMATOES, "2")
    return client

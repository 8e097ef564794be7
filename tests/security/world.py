"""One running instance for the tests of who may do what, with something of everything in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from ledger import clock
from ledger.store.block_signer import BlockSigner
from payments.api_keys.api_key import ROLES
from payments.webhooks.messages import MESSAGE_TYPES
from shop.demo import make_buyers
from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, put_in_cart
from tests.support.api_keys import make_key
from tests.support.checkouts import Checkout
from tests.support.database import new_database, reachable_folder
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

OWNER, OTHER, OPERATOR, AUDITOR, ANALYST = 1, 2, 9, 10, 11
SERVER = ["server"]


@dataclass(frozen=True)
class World:
    """A running instance, the parameters that name something of OWNER's, and its OpenAPI document.

    `keys` are API keys by their role.
    """

    instance: Instance
    known: dict[str, str]
    document: dict[str, Any]
    keys: dict[str, str]

    def token(self, user: int, roles: list[str]) -> str:
        """Return what opens an operation for who has these roles: a token, or the key of a server."""
        return self.keys["server"] if roles == SERVER else self.instance.token(user, *roles)


@contextmanager
def running_world(server_url: str, template_database: str) -> Iterator[World]:
    """OWNER has a paid session with an order, one that is open, and a refund that is due."""
    folder = reachable_folder()
    with (
        new_database(server_url, template_database) as url,
        running_instance(url, folder, DAFTARI_STREAM_SECONDS="1") as instance,
    ):
        assert list(make_buyers(instance.services.database, 1, 2))
        buyer = instance.client(OWNER)
        paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
        refund = _due_refund(instance)
        instance.work()
        put_in_cart(buyer, TOMATOES, "2")
        known = {
            "session_id": buyer.create().json()["session_id"],
            "order_id": str(buyer.status(paid)["order"]["order_id"]),
            "listing_id": str(TOMATOES),
            "refund_session_id": str(refund.session_id),
            "refund": "1",
            "user_id": "12",
            "county_id": "1",
            "endpoint_id": str(_disabled_endpoint(instance)),
            "reconciliation_id": "550e8400-e29b-41d4-a716-446655440000",
        }
        sign(instance)
        made = instance.anonymous().get("/openapi.json").json()
        services = instance.services
        keys = {role: make_key(services.database, services.vault, f"a-{role}", role) for role in ROLES}
        yield World(instance, known, made, keys)
    shutil.rmtree(folder)


def sign(instance: Instance) -> None:
    """Sign a block over all events, so that they can be proved."""
    services = instance.services
    until_readable(services.database)
    BlockSigner(services.database, lambda: services.vault.block_key).run()


def _disabled_endpoint(instance: Instance) -> UUID:
    """Add a webhook endpoint that nothing is sent to."""
    endpoints = instance.services.webhook_endpoints
    added, _ = endpoints.add("https://shop.example/hook", MESSAGE_TYPES, key=None, by="cli")
    endpoints.change(added.endpoint_id, enabled=False, by="cli")
    return added.endpoint_id


def _due_refund(instance: Instance) -> Checkout:
    checkout = Checkout(instance.services.ledger, at=clock.now() - timedelta(minutes=1))
    return checkout.request().pay("UKG7Q2X9LM").refuse_order()

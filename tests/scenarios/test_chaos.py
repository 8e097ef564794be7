"""All faults of the simulator at once, by seed: no shilling is lost or counted twice."""

from typing import Any

import pytest

from tests.scenarios.steps import TOMATOES, Clock, observe, put_in_cart
from tests.support.instance import DELIVERY, Client, Instance

pytestmark = pytest.mark.usefixtures("clock")

BUYERS = 14
MAX_ATTEMPTS = 3


@pytest.fixture
def _chaos(instance: Instance) -> None:
    """Switch on chaos, and C2B confirmations of prompts."""
    confirmation_url, validation_url = instance.services.c2b.urls
    instance.services.daraja.register_c2b(
        confirmation_url=confirmation_url, validation_url=validation_url, response_type="Completed"
    )
    instance.simulator.c2b.confirm_prompts("after")
    instance.simulator.chaos.turn_on(11)


def pay(buyer: Client, session_id: str) -> None:
    """Ask for prompts until one was, or may have been, shown."""
    for _ in range(MAX_ATTEMPTS):
        if buyer.initiate(session_id).status_code != 503:
            return


def received(instance: Instance) -> list[tuple[Any, ...]]:
    return observe(
        instance,
        "SELECT receipt, received_cents FROM payment_sessions WHERE received_cents > 0 ORDER BY receipt",
    )


@pytest.mark.usefixtures("_chaos")
def test_payments_during_chaos_are_each_received_once_and_nothing_else_is(
    clock: Clock, instance: Instance
) -> None:
    buyers = [instance.client(100 + number) for number in range(BUYERS)]
    for number, buyer in enumerate(buyers):
        put_in_cart(buyer, TOMATOES, "2")
        session_id = buyer.create(
            delivery_details=_delivery(f"07125000{number:02}"),
        ).json()["session_id"]
        pay(buyer, session_id)
        clock.tick(1)
        instance.work()
    instance.simulator.chaos.turn_off()
    for _ in range(6):
        clock.tick(30)
        instance.work()
    instance.services.reconciler.reconcile(instance.simulator.statement().encode())
    instance.work()
    paid = instance.simulator.movements()
    assert received(instance) == sorted((movement.receipt, movement.change_cents) for movement in paid)
    assert len(paid) > BUYERS / 2
    counts = instance.simulator.statistics()
    assert sum(count for name, count in counts.items() if name.startswith("chaos_")) > BUYERS / 2


def _delivery(phone: str) -> dict[str, object]:
    return {**DELIVERY, "phone_number": phone}

"""Each event says what caused it, and who, and money names the message that proves it."""

from typing import Any
from uuid import UUID

import pytest

from tests.scenarios.steps import CALLBACK_LOST, PHONE, Clock, approve, observe
from tests.support.instance import Client, Instance
from tests.support.shop_faults import listings_held

pytestmark = pytest.mark.usefixtures("clock")

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
REQUEST = "0123456789abcdef0123"
CAUSES = """
SELECT substring(topic FROM 'payment_session\\.(.*)\\.v1'), metadata FROM payment_events
WHERE session_id = %s ORDER BY version
"""
MESSAGES = "SELECT inbox_id, channel, state, is_proven FROM daraja_inbox WHERE session_id = %s"


def causes(instance: Instance, session_id: str) -> dict[str, dict[str, Any]]:
    return dict(observe(instance, CAUSES, session_id))


def test_each_event_of_a_payment_says_what_caused_it(instance: Instance, buyer: Client) -> None:
    buyer.headers.update({"X-Request-ID": REQUEST, "traceparent": TRACE})
    session_id = instance.pay(buyer, phone_number=PHONE)
    approve(instance)
    instance.work()
    found = causes(instance, session_id)
    request = {"cause": "request", "actor": "user:1", "request_id": REQUEST, "traceparent": TRACE}
    assert found["created"] == found["payment_requested"] == found["payment_initiated"] == request
    [(inbox_id, channel, state, _)] = observe(instance, MESSAGES, session_id)
    assert (channel, state) == ("stk", "acted_on")
    paid = found["paid"]
    assert (paid["cause"], paid["source"], paid["actor"]) == ("callback", str(inbox_id), "mpesa")
    message = instance.services.worker.inbox.message(inbox_id)
    assert message is not None
    assert (paid["source_commitment"], len(paid["source_commitment"])) == (message.commitment, 64)
    assert "source_commitment" not in found["order_created"]
    order = {"cause": "event", "process": "orders", "source": "4", "actor": "system"}
    assert found["order_created"].items() >= order.items()
    assert found["order_created"].get("request_id") == paid.get("request_id")
    instance.work()
    assert causes(instance, session_id) == found


def test_an_order_made_by_the_worker_has_the_same_cause(instance: Instance, buyer: Client) -> None:
    with listings_held(instance.settings.database_url):
        session_id = instance.pay(buyer, phone_number=PHONE)
        approve(instance)
    instance.work()
    assert causes(instance, session_id)["order_created"] == {
        "cause": "event",
        "process": "orders",
        "source": "4",
        "actor": "system",
    }


def test_a_payment_known_by_a_query_names_mpesas_stored_answer(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    clock.tick(20)
    instance.work()
    paid = causes(instance, session_id)["paid"]
    assert (paid["cause"], paid["process"]) == ("status_query", "ladder")
    assert (UUID(paid["source"]), "status_query", "acted_on", True) in observe(instance, MESSAGES, session_id)
    message = instance.services.worker.inbox.message(UUID(paid["source"]))
    assert message is not None
    assert b'"ResultCode"' in message.body
    assert paid["source_commitment"] == message.commitment
    assert not instance.services.verifier.run().violations


@pytest.mark.parametrize("request_id", ["254712345678", "call-0712345678", "+254712345678"])
def test_a_request_id_that_may_be_a_phone_is_in_no_event(
    instance: Instance, buyer: Client, request_id: str
) -> None:
    buyer.headers.update({"X-Request-ID": request_id, "traceparent": "00-zz-1-1"})
    session_id = buyer.create().json()["session_id"]
    created = causes(instance, session_id)["created"]
    assert created.keys() <= {"cause", "actor", "request_id"}
    assert request_id not in created.values()


def test_an_event_of_a_sweep_names_its_process(clock: Clock, instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(60 * 60)
    instance.work()
    assert causes(instance, session_id)["expired"] == {
        "cause": "sweep",
        "process": "expiry",
        "actor": "system",
    }

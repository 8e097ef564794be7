"""M-Pesa sends a prompt, says how it ended, and then answers the request for it with a refusal."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.steps import (
    CALLBACK_FIRST,
    TOMATOES,
    event_names,
    put_in_cart,
    put_on_shelf,
)
from tests.support.daraja_proxy import DarajaProxy
from tests.support.instance import Instance, running_instance

REFUSALS = {"400.002.02": 400, "500.003.02": 500}
"""The request is invalid; the system is busy."""


@pytest.fixture
def instance(database_url: str, data_folder: Path, mpesa: DarajaProxy) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, MPESA_BASE_URL=mpesa.url) as running:
        mpesa.target = running.simulator.base_url
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


@pytest.mark.parametrize("code", REFUSALS)
def test_a_buyer_who_has_paid_is_not_told_that_nothing_was_charged(
    instance: Instance, mpesa: DarajaProxy, code: str
) -> None:
    refusal = {"requestId": "1", "errorCode": code, "errorMessage": "System is busy. Please try again."}
    mpesa.refusal = REFUSALS[code], json.dumps(refusal).encode()
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = buyer.create().json()["session_id"]

    path = f"/api/payments/sessions/{session_id}/initiate_payment/"
    headers, body = {"Idempotency-Key": "one-attempt-of-this-buyer"}, {"phone_number": CALLBACK_FIRST}
    answer = buyer.post(path, headers=headers, json=body)
    assert (answer.status_code, answer.json().get("checkout_request_id", "")) == (202, None)
    assert buyer.post(path, headers=headers, json=body).json() == answer.json()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert "PaymentRefused" not in event_names(instance, session_id)

"""The steps of scenarios: what buyers, operators and M-Pesa do, and what the tables hold afterwards."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import requests
from freezegun.api import FrozenDateTimeFactory

from daraja.simulator.prompts import StkPrompt
from ledger import clock
from payments.exceptions import work_list
from projections import history
from tests.support.instance import Client, Instance

TOMATOES, MAIZE, HONEY = 123, 124, 125
PHONE = "254712345678"
"""The phone of the contract's delivery details, which waits for a tap."""

PAYS_AT_ONCE = "254700010001"
CALLBACK_LOST = "254700010101"
CALLBACK_FIRST = "254700010401"
ANSWER_LOST = "254700010501"
ANSWER_AND_CALLBACK_LOST = "254700010601"
CANCELS = "254700001032"

CALLBACKS = "/api/payments/callbacks/"
CONTRACT_CALLBACKS = "/api/payments/transactions/mpesa_callback/"
ACKNOWLEDGED = {"ResultCode": 0, "ResultDesc": "Accepted"}
RECEIPT = "UKG1AB2CD3"

Answer = TypeVar("Answer")
Clock = FrozenDateTimeFactory
"""Frozen time that a test advances."""


def put_on_shelf(instance: Instance, listing_id: int, **changed: Any) -> None:
    """Put a listing on sale as an operator; `changed` replaces members of the body."""
    listing = {
        "product_name": f"Produce {listing_id}",
        "farm_name": "Green Valley Farm",
        "price": "150.00",
        "unit_of_measure": "kg",
    }
    answer = instance.client(9, "operator").put(f"/api/catalogue/{listing_id}/", json=listing | changed)
    assert answer.status_code in (200, 201), answer.text


def put_in_cart(client: Client, listing_id: int, quantity: str) -> None:
    """Set the quantity of a listing in a buyer's cart."""
    answer = client.put(f"/api/cart/items/{listing_id}/", json={"quantity": quantity})
    assert answer.status_code == 200, answer.text


def cart(client: Client) -> dict[int, float]:
    """Return the quantities in a cart by listing."""
    items = client.get("/api/cart/").json()["items"]
    return {item["listing_id"]: item["quantity"] for item in items}


def on_shelf(client: Client, listing_id: int = TOMATOES) -> float:
    """Return the stock of a listing."""
    stock: float = client.get(f"/api/catalogue/{listing_id}/").json()["stock"]
    return stock


def prompt_of(instance: Instance, phone: str = PHONE) -> StkPrompt:
    """Return the newest prompt of a phone, open or closed."""
    return instance.simulator.prompts(phone)[0]


def approve(instance: Instance, phone: str = PHONE) -> None:
    """Enter the PIN on the phone, and wait for M-Pesa's callback."""
    instance.simulator.approve(instance.simulator.wait_for_prompt(phone).checkout_request_id)
    assert instance.simulator.wait_until_idle(20)


def let_phones_answer(instance: Instance) -> None:
    """Let those answer that answer at once, before the clock is moved."""
    assert instance.simulator.wait_until_idle(20)
    instance.simulator.run_due()


def callback(prompt: StkPrompt, code: object = 0, **items: object) -> dict[str, Any]:
    """Return a callback of a prompt; `items` replaces metadata of a success, None leaves an item out."""
    body = written_callback(code, amount=prompt.amount_shillings, **items)
    body["Body"]["stkCallback"] |= {
        "MerchantRequestID": prompt.merchant_request_id,
        "CheckoutRequestID": prompt.checkout_request_id,
    }
    return body


def written_callback(code: object, *, amount: int, **items: object) -> dict[str, Any]:
    """Return a callback of an unknown prompt."""
    content: dict[str, Any] = {
        "MerchantRequestID": "7c1e-4a90-b2d4-0e5f6a7b8c9d123456",
        "CheckoutRequestID": "ws_CO_161120261030000000000000",
        "ResultCode": code,
        "ResultDesc": "As it is.",
    }
    if str(code) == "0":
        metadata = {"Amount": float(amount), "MpesaReceiptNumber": RECEIPT} | items
        content["CallbackMetadata"] = {
            "Item": [{"Name": name, "Value": value} for name, value in metadata.items() if value is not None]
        }
    return {"Body": {"stkCallback": content}}


def receipt_of(prompt: StkPrompt) -> str:
    """Return the receipt of a prompt that was paid."""
    assert prompt.outcome is not None
    assert prompt.outcome.receipt is not None
    return prompt.outcome.receipt


def own_path(prompt: StkPrompt) -> str:
    """Return the path of a prompt's callback URL."""
    return urlsplit(prompt.callback_url).path


def report(instance: Instance, path: str, body: object) -> requests.Response:
    """Post a callback body as JSON, or bytes as they are; no login is needed."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return instance.anonymous().post(path, data=data, headers={"Content-Type": "application/json"})


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Make all calls at the same moment, each in a thread of its own; return their answers in order."""
    barrier = Barrier(len(calls))

    def started_together(call: Callable[[], Answer]) -> Answer:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(started_together, calls))


def event_names(instance: Instance, session_id: str) -> list[str]:
    """Return the names of a session's events, oldest first, as the log holds them."""
    services = instance.services
    entries = history.history(services.database, services.ledger.macs, UUID(session_id))
    return [entry.name for entry in entries]


def observe(instance: Instance, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT."""
    with psycopg.connect(instance.settings.database_url) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def count(instance: Instance, table: str) -> int:
    """Return how many rows a table has."""
    [[rows]] = observe(instance, f"SELECT count(*) FROM {table}")
    return int(rows)


def refund_due_cents(instance: Instance, session_id: str) -> int:
    """Return the sum of a session's refunds due."""
    statement = "SELECT refund_due_cents FROM payment_sessions WHERE session_id = %s"
    [[cents]] = observe(instance, statement, session_id)
    return int(cents)


def messages(instance: Instance) -> list[tuple[str, str | None]]:
    """Return (state, reason) of every inbound message, oldest first."""
    statement = "SELECT state, reason FROM daraja_inbox ORDER BY received_at"
    return [(state, reason) for state, reason in observe(instance, statement)]


def cases(instance: Instance) -> list[tuple[str, str]]:
    """Return (kind, detail) of every open case, oldest first."""
    found = work_list.open_cases(instance.services.database, clock.now(), page_size=work_list.MAX_OF_A_PAGE)
    return [(str(case.kind), case.detail) for case in found]

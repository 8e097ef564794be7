"""The instance whose database becomes the fixture, on a frozen clock, and its invented buyers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

import requests

from daraja.simulator.c2b_payments import PromptConfirmation
from daraja.simulator.prompts import StkPrompt
from ledger import clock
from payments.exceptions.next_steps import Kind
from tests.scenarios.steps import (
    MAIZE,
    TOMATOES,
    Clock,
    event_names,
    observe,
    prompt_of,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import Client, Instance

PAID_AT_ONCE, CALLBACK_LOST, ANSWER_LOST, ALL_LOST = "00", "01", "05", "06"
PAID_ONE_SHILLING, WAITS_FOR_PIN = "08", "99"
"""Kinds of phones that the simulator knows: see daraja.simulator.outcomes."""

CANCELLED, NO_FUNDS, NO_RESPONSE, WRONG_PIN, NOT_SET_UP = "1032", "1", "1037", "2001", "2028"
"""Result codes of prompts."""

_OPERATOR = 9


def phone_of(kind: str, number: int) -> str:
    """Return one of the hundred phones of a kind."""
    return f"25470001{kind}{number % 100:02}"


def phone_that_ends_with(code: str) -> str:
    """Return the phone whose prompts end at once with a result code."""
    return f"25470000{int(code):04}"


@dataclass(frozen=True)
class Buyer:
    """An invented buyer with a token issued now."""

    number: int
    client: Client

    @property
    def delivery(self) -> dict[str, Any]:
        """The delivery details."""
        return {
            "full_name": f"Test Buyer {self.number}",
            "phone_number": f"2547000000{self.number % 100:02}",
            "county_id": 1,
            "subcounty_id": 5,
            "detailed_address": f"Test Street {self.number}",
        }

    def create(self, listing: int = TOMATOES, key: str | None = None) -> str:
        """Fill the cart and create a session; return its id."""
        put_in_cart(self.client, listing, str(1 + self.number % 3))
        answer = self.client.create(key=key, delivery_details=self.delivery)
        assert answer.status_code == 201, answer.text
        session_id: str = answer.json()["session_id"]
        return session_id

    def initiate(self, session_id: str, phone: str, status: int = 200) -> None:
        """Initiate a payment on a phone."""
        answer = self.client.initiate(session_id, phone_number=phone)
        assert answer.status_code == status, answer.text


class Past:
    """The history of the fixture, step by step; `named` are the sessions that tests look up."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.named: dict[str, dict[str, Any]] = {}
        self._numbers = count(101)
        self._instance: Instance | None = None

    @property
    def instance(self) -> Instance:
        """The running instance."""
        assert self._instance is not None
        return self._instance

    @contextmanager
    def running(self, instance: Instance) -> Iterator[None]:
        """Use an instance; register C2B and put listings on sale."""
        self._instance = instance
        confirmation_url, validation_url = instance.services.c2b.urls
        instance.services.daraja.register_c2b(
            confirmation_url=confirmation_url,
            validation_url=validation_url,
            response_type=instance.services.c2b.response_type,
        )
        for listing in (TOMATOES, MAIZE):
            put_on_shelf(instance, listing, stock="900")
        yield
        self._instance = None

    def buyer(self) -> Buyer:
        """Return a new buyer, a few seconds later."""
        self.clock.tick(3)
        number = next(self._numbers)
        return Buyer(number, self.instance.client(number))

    def prompt(self, kind: str, listing: int = TOMATOES, status: int = 200) -> tuple[str, StkPrompt]:
        """Take a new buyer to a prompt on a phone of a kind; return session id and prompt."""
        buyer = self.buyer()
        session_id = buyer.create(listing)
        phone = phone_of(kind, buyer.number)
        buyer.initiate(session_id, phone, status)
        return session_id, prompt_of(self.instance, phone)

    def fail(self, code: str) -> tuple[str, StkPrompt]:
        """Take a new buyer to a prompt that ends unpaid; return session id and prompt."""
        buyer = self.buyer()
        session_id = buyer.create()
        buyer.initiate(session_id, phone_that_ends_with(code))
        assert self.instance.simulator.wait_until_idle(20)
        return session_id, prompt_of(self.instance, phone_that_ends_with(code))

    def work(self) -> None:
        """Run the worker until it is idle."""
        self.instance.work()

    def wait(self, **span: float) -> None:
        """Advance the clock, then run the worker."""
        self.clock.tick(span.get("seconds", 0) + 60 * span.get("minutes", 0))
        self.work()

    def notify_of_prompts(self, order: PromptConfirmation) -> None:
        """Let M-Pesa confirm prompts by C2B too, before or after their callback, or never."""
        self.instance.simulator.c2b.confirm_prompts(order)

    def pay_by_hand(self, shillings: int, reference: str) -> None:
        """Pay to the shortcode by hand."""
        payer = phone_of(WAITS_FOR_PIN, next(self._numbers))
        assert self.instance.simulator.pay_by_hand(payer, shillings, reference).receipt
        self.work()

    def operate(self, path: str, **body: str) -> requests.Response:
        """Post a decision as the operator."""
        answer = self.instance.client(_OPERATOR, "operator").post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer

    def close_newest(self, kind: Kind, action: str = "close", **body: str) -> None:
        """Act as the operator on the newest case of a kind."""
        operator = self.instance.client(_OPERATOR, "operator")
        cases = operator.get("/api/work-list/", params={"kind": str(kind), "page_size": "100"}).json()
        path = f"/api/work-list/{kind}/{cases['results'][-1]['case_id']}/{action}/"
        self.operate(path, **(body or {"note": "Looked at it."}))

    def name(self, name: str, session_id: str, **more: Any) -> None:
        """Name a session for the tests."""
        self.named[name] = {"session_id": session_id} | more

    def describe_named(self) -> dict[str, dict[str, Any]]:
        """Return the named sessions, each with its user, status, version and history."""
        statement = "SELECT user_id, session_status, version FROM payment_sessions WHERE session_id = %s"
        described = {}
        for name, entry in self.named.items():
            [[user_id, status, version]] = observe(self.instance, statement, entry["session_id"])
            history = event_names(self.instance, entry["session_id"])
            described[name] = {"user_id": user_id, "status": status, "version": version, **entry}
            described[name]["history"] = history
        return described

    def now(self) -> datetime:
        """Return the time of the frozen clock."""
        return clock.now()

"""A running instance of the past, at a clock that is moved by hand, and the made-up people who use it."""

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
from payments.exceptions.work_list import Kind
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
PAID_ONE_SHILLING, WAITS_FOR_A_PERSON = "08", "99"
"""Kinds of phones that the simulator knows: see daraja.simulator.outcomes."""

CANCELLED, NOT_ENOUGH, SILENT, WRONG_PIN, NOT_SET_UP = "1032", "1", "1037", "2001", "2028"
"""Results with which a prompt may end."""

_OPERATOR = 9


def phone_of(kind: str, number: int) -> str:
    """Return a phone that behaves as a kind, one of a hundred."""
    return f"25470001{kind}{number % 100:02}"


def phone_that_ends_with(code: str) -> str:
    """Return the phone whose prompts end at once with a result code."""
    return f"25470000{int(code):04}"


@dataclass(frozen=True)
class Buyer:
    """A made-up customer with a token of this moment."""

    number: int
    client: Client

    @property
    def delivery(self) -> dict[str, Any]:
        """Where the goods would go."""
        return {
            "full_name": f"Test Buyer {self.number}",
            "phone_number": f"2547000000{self.number % 100:02}",
            "county_id": 1,
            "subcounty_id": 5,
            "detailed_address": f"Test Street {self.number}",
        }

    def create(self, listing: int = TOMATOES, key: str | None = None) -> str:
        """Put something into the cart and open a session for it; return its id."""
        put_in_cart(self.client, listing, str(1 + self.number % 3))
        answer = self.client.create(key=key, delivery_details=self.delivery)
        assert answer.status_code == 201, answer.text
        session_id: str = answer.json()["session_id"]
        return session_id

    def initiate(self, session_id: str, phone: str, status: int = 200) -> None:
        """Ask for a prompt on a phone."""
        answer = self.client.initiate(session_id, phone_number=phone)
        assert answer.status_code == status, answer.text


class Past:
    """What happens in the past, step by step; `named` is what the tests want to find again."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.named: dict[str, dict[str, Any]] = {}
        self._numbers = count(101)
        self._instance: Instance | None = None

    @property
    def instance(self) -> Instance:
        """What runs now."""
        assert self._instance is not None
        return self._instance

    @contextmanager
    def running(self, instance: Instance) -> Iterator[None]:
        """Let an instance be the one that runs; C2B is registered, and goods are on the shelf."""
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
        """Return somebody new, a few seconds later."""
        self.clock.tick(3)
        number = next(self._numbers)
        return Buyer(number, self.instance.client(number))

    def prompt(self, kind: str, listing: int = TOMATOES, status: int = 200) -> tuple[str, StkPrompt]:
        """Take somebody new to a prompt on a phone of a kind; return the session and the prompt."""
        buyer = self.buyer()
        session_id = buyer.create(listing)
        phone = phone_of(kind, buyer.number)
        buyer.initiate(session_id, phone, status)
        return session_id, prompt_of(self.instance, phone)

    def fail(self, code: str) -> tuple[str, StkPrompt]:
        """Take somebody new to a prompt that ends unpaid."""
        buyer = self.buyer()
        session_id = buyer.create()
        buyer.initiate(session_id, phone_that_ends_with(code))
        assert self.instance.simulator.wait_until_idle(20)
        return session_id, prompt_of(self.instance, phone_that_ends_with(code))

    def work(self) -> None:
        """Let the worker do what there is to do."""
        self.instance.work()

    def wait(self, **span: float) -> None:
        """Let time pass, then the worker work."""
        self.clock.tick(span.get("seconds", 0) + 60 * span.get("minutes", 0))
        self.work()

    def notify_of_prompts(self, order: PromptConfirmation) -> None:
        """Let M-Pesa confirm payments by prompt through C2B as well, before or after their callback, or never."""
        self.instance.simulator.c2b.confirm_prompts(order)

    def pay_by_hand(self, shillings: int, reference: str) -> None:
        """Let somebody pay to the shortcode by hand."""
        payer = phone_of(WAITS_FOR_A_PERSON, next(self._numbers))
        assert self.instance.simulator.pay_by_hand(payer, shillings, reference).receipt
        self.work()

    def operate(self, path: str, **said: str) -> requests.Response:
        """Let the operator do something."""
        answer = self.instance.client(_OPERATOR, "operator").post(path, json=said)
        assert answer.status_code == 200, answer.text
        return answer

    def close_newest(self, kind: Kind, action: str = "close", **said: str) -> None:
        """Let the operator do something about the newest case of a kind."""
        operator = self.instance.client(_OPERATOR, "operator")
        cases = operator.get("/api/work-list/", params={"kind": str(kind), "page_size": "100"}).json()
        path = f"/api/work-list/{kind}/{cases['results'][-1]['case_id']}/{action}/"
        self.operate(path, **(said or {"note": "Looked at it."}))

    def name(self, name: str, session_id: str, **more: Any) -> None:
        """Remember a session under a name."""
        self.named[name] = {"session_id": session_id} | more

    def describe_named(self) -> dict[str, dict[str, Any]]:
        """Return what was named, with where each session stands now and what happened to it."""
        statement = "SELECT user_id, session_status, version FROM payment_sessions WHERE session_id = %s"
        described = {}
        for name, entry in self.named.items():
            [[user_id, status, version]] = observe(self.instance, statement, entry["session_id"])
            history = event_names(self.instance, entry["session_id"])
            described[name] = {"user_id": user_id, "status": status, "version": version, **entry}
            described[name]["history"] = history
        return described

    def now(self) -> datetime:
        """Return the moment at which the past stands."""
        return clock.now()

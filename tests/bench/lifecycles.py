"""The load generator: concurrent buyers from the filled cart to the order, with each step timed."""

import json
import queue
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Any
from uuid import uuid4

from tests.bench.connection import BadAnswer, Connection

SESSIONS = "/api/payments/sessions/"
LIFECYCLE_WITHIN_SECONDS = 60.0
POLL_BACKOFF = 1.5
MAX_POLL_SECONDS = 0.25
FIRST_PHONE = 710_000_000
"""Phones for which the simulator has no scripted behaviour."""

BUYERS_NAME = "Wanjiku Kamau"
BUSY = (429, 503)
OPEN = frozenset({"pending", "payment_initiated", "paid"})


@dataclass(frozen=True)
class Buyer:
    """A user with a filled cart: one line of the tokens file."""

    auth: str
    user: int
    county_id: int
    subcounty_id: int


@dataclass
class Lifecycle:
    """The seconds of each step of one buyer; `failure` says why there was no order.

    `order` lasts from the answer about the prompt to the status that has the order.
    """

    create: float = 0.0
    initiate: float = 0.0
    order: float = 0.0
    statuses: list[float] = field(default_factory=list)
    whole: float = 0.0
    failure: str | None = None


def delivery_of(buyer: Buyer) -> dict[str, Any]:
    """Return the delivery details of a buyer."""
    return {
        "full_name": BUYERS_NAME,
        "phone_number": f"0{FIRST_PHONE + buyer.user}",
        "county_id": buyer.county_id,
        "subcounty_id": buyer.subcounty_id,
        "detailed_address": "123 Main Street, Apartment 4B",
    }


class _Failed(Exception):
    """The lifecycle failed; the argument says at which step, and why."""


def serve(
    port: int, buyers: Sequence[Buyer], clients: int, poll_seconds: float, *, with_keys: bool = False
) -> list[Lifecycle]:
    """Take each buyer from cart to order, with `clients` at once; return the timings.

    A client has one connection, and takes one buyer after another. It reads the status at once, then after
    `poll_seconds`, then in growing intervals, as a page does. With `with_keys` each POST has an Idempotency-Key.
    """
    waiting: queue.SimpleQueue[Buyer | None] = queue.SimpleQueue()
    for buyer in [*buyers, *[None] * clients]:
        waiting.put(buyer)
    done: list[Lifecycle] = []
    stopping = Event()

    def work() -> None:
        with Connection(port) as connection:
            while (buyer := waiting.get()) is not None and not stopping.is_set():
                done.append(Purchase(connection, buyer, poll_seconds, with_keys=with_keys).run())

    threads = [Thread(target=work, daemon=True) for _ in range(clients)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stopping.set()
    return done


class Purchase:
    """One buyer's purchase."""

    def __init__(
        self, connection: Connection, buyer: Buyer, poll_seconds: float, *, with_keys: bool = False
    ) -> None:
        self.session = ""
        self._connection = connection
        self._buyer = buyer
        self._poll_seconds = poll_seconds
        self._with_keys = with_keys
        self._taken = Lifecycle()

    def run(self) -> Lifecycle:
        """Buy; return the timings, or the failure."""
        started = perf_counter()
        try:
            self.session = self._create()
            self._initiate(self.session)
            prompted = perf_counter()
            self._await_order(self.session, started + LIFECYCLE_WITHIN_SECONDS)
            self._taken.order = perf_counter() - prompted
        except _Failed as failed:
            self._taken.failure = str(failed)
        except (OSError, BadAnswer) as error:
            self._taken.failure = f"connection: {type(error).__name__}"
        self._taken.whole = perf_counter() - started
        return self._taken

    def _create(self) -> str:
        body = json.dumps({"delivery_details": delivery_of(self._buyer)}).encode()
        self._taken.create, session = self._ask("create", "POST", SESSIONS, body, 201)
        return f"{SESSIONS}{session['session_id']}/"

    def _initiate(self, session: str) -> None:
        self._taken.initiate, _ = self._ask("initiate", "POST", f"{session}initiate_payment/", b"{}", 200)

    def _await_order(self, session: str, deadline: float) -> None:
        wait_seconds = self._poll_seconds
        while (status := self._look(session)) in OPEN:
            if perf_counter() > deadline:
                raise _Failed(f"status: still {status} after {LIFECYCLE_WITHIN_SECONDS:.0f} s")
            sleep(wait_seconds)
            wait_seconds = min(wait_seconds * POLL_BACKOFF, MAX_POLL_SECONDS)
        if status != "order_created":
            raise _Failed(f"status: {status}")

    def _look(self, session: str) -> str:
        seconds, shown = self._ask("status", "GET", f"{session}status/", None, 200)
        self._taken.statuses.append(seconds)
        return str(shown["session_status"])

    def _ask(
        self, step: str, method: str, path: str, body: bytes | None, wanted: int
    ) -> tuple[float, dict[str, Any]]:
        """Return the seconds until the answer, and the answer; raise _Failed if the status is another."""
        started = perf_counter()
        key = str(uuid4()) if self._with_keys and method == "POST" else None
        status, text = self._connection.request(method, path, self._buyer.auth, body, key=key)
        seconds = perf_counter() - started
        shown: dict[str, Any] = json.loads(text)
        if status != wanted:
            hint = "" if self._connection.says_when_to_retry else ", without Retry-After"
            raise _Failed(f"{step}: {status} {shown.get('error_code', '')}{hint if status in BUSY else ''}")
        return seconds, shown

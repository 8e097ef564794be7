"""A flood of forged callbacks beside buyers who really pay: none may be believed, or delay the others."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from random import Random
from threading import Lock, Thread
from time import monotonic, perf_counter, sleep
from typing import Any

from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.inbox.inbox import MAX_UNAUTHENTICATED_KEPT
from tests.bench.connection import Connection
from tests.bench.lifecycles import SESSIONS, Buyer, delivery_of
from tests.bench.report import spread
from tests.support.ports import LOCALHOST
from tests.torture.acknowledgements import Created, Ordered, Prompted
from tests.torture.draining import database_of
from tests.torture.forged_callbacks import RECEIPT_PREFIX, Forger, Target
from tests.torture.result import Result
from tests.torture.system import System

TARGETS_AT_ONCE = 10
NEW_TARGETS_AFTER_SECONDS = 20.0
PAID_BEFOREHAND = 10
ORDERED_WITHIN_SECONDS = 60.0
PURGED_WITHIN_SECONDS = 150.0
BETWEEN_PAYMENTS_SECONDS = 0.2

_BELIEVED = "SELECT count(*) AS n FROM payment_events WHERE state->>'receipt' LIKE %s"
_MESSAGES = "SELECT state, count(*) AS n FROM daraja_inbox WHERE NOT is_proven GROUP BY state"
_SIZE = "SELECT pg_total_relation_size('daraja_inbox') AS bytes"


class PayingBuyers:
    """The buyers beside the flood: some are prompted and do not pay, some pay."""

    def __init__(self, system: System, buyers: Sequence[Buyer], result: Result) -> None:
        self._system = system
        self._buyers = iter(buyers)
        self._result = result
        self._connection = Connection(system.api_port)
        self.open: list[Target] = []
        self.paid: list[Target] = []

    def prompt(self) -> tuple[Buyer, Target]:
        """Take a buyer to an open prompt."""
        buyer = next(self._buyers)
        acknowledged = self._result.acknowledged
        acknowledged.use_key_for_session(buyer.user)
        session = self._ask(buyer, "POST", SESSIONS, {"delivery_details": delivery_of(buyer)}, 201)
        session_id, total = session["session_id"], Decimal(session["total_amount"])
        acknowledged.record(Created(session_id, buyer.user, int(total * 100)))
        acknowledged.use_key(session_id, "initiate")
        sent = self._ask(buyer, "POST", f"{SESSIONS}{session_id}/initiate_payment/", {}, 200)
        checkout_id = sent["checkout_request_id"]
        acknowledged.record(Prompted(session_id, sent["transaction_id"], checkout_id))
        phone = f"254{session['phone_number'][1:]}"
        return buyer, Target(session_id, checkout_id, int(total), phone)

    def pay(self) -> float:
        """Take a buyer to an order; return the seconds from PIN to order."""
        buyer, target = self.prompt()
        self._approve(target)
        began = perf_counter()
        path = f"{SESSIONS}{target.session_id}/status/"
        while (shown := self._ask(buyer, "GET", path, None, 200))["session_status"] != "order_created":
            if perf_counter() - began > ORDERED_WITHIN_SECONDS:
                self._result.violations.append(f"session {target.session_id}: paid, and no order was made")
                break
            sleep(0.02)
        else:
            order = shown["order"]
            self._result.acknowledged.record(
                Ordered(target.session_id, order["order_id"], order["order_number"])
            )
        self.paid.append(target)
        return perf_counter() - began

    def _approve(self, target: Target) -> None:
        url = (
            f"http://{LOCALHOST}:{self._system.simulator_port}/simulator/api/prompts/"
            f"{target.checkout_request_id}/approve"
        )
        with urllib.request.urlopen(urllib.request.Request(url, b"", method="POST"), timeout=30):
            pass

    def _ask(
        self, buyer: Buyer, method: str, path: str, wanted: dict[str, Any] | None, expected: int
    ) -> dict[str, Any]:
        body = None if wanted is None else json.dumps(wanted).encode()
        status, text = self._connection.request(method, path, buyer.auth, body)
        if status != expected:
            raise AssertionError(f"{method} {path} was answered {status}: {text[:200]!r}")
        answered: dict[str, Any] = json.loads(text)
        return answered


class Flood:
    """Threads that post forged callbacks as fast as they are answered."""

    def __init__(
        self, system: System, paying: PayingBuyers, vault: Vault, *, count: int, at_once: int, seed: int
    ) -> None:
        self.answers = Counter[int]()
        self.sent = Counter[str]()
        self._system = system
        self._paying = paying
        self._vault = vault
        self._left = count
        self._lock = Lock()
        self._threads = [
            Thread(target=self._post, args=(Random(f"{seed}/{number}"),), daemon=True)
            for number in range(at_once)
        ]

    def start(self) -> None:
        """Start posting."""
        for thread in self._threads:
            thread.start()

    @property
    def is_over(self) -> bool:
        """Whether all are posted."""
        return not any(thread.is_alive() for thread in self._threads)

    def _post(self, random_source: Random) -> None:
        forger = Forger(random_source, self._vault.sign)
        with Connection(self._system.api_port) as connection:
            while self._take():
                forged = forger.make(
                    random_source.choice(self._paying.open), random_source.choice(self._paying.paid)
                )
                status, _ = connection.request("POST", forged.path, "none", forged.body)
                with self._lock:
                    self.answers[status] += 1
                    self.sent[forged.kind] += 1

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0


def forgeries(
    system: System, buyers: Sequence[Buyer], result: Result, *, count: int, at_once: int, seed: int
) -> None:
    """Post `count` forged callbacks while buyers pay; add to the result how long these waited."""
    paying = PayingBuyers(system, buyers, result)
    before = [paying.pay() for _ in range(PAID_BEFOREHAND)]
    paying.open = [paying.prompt()[1] for _ in range(TARGETS_AT_ONCE)]
    with database_of(system) as database:
        vault = Vault(database, system.settings.daftari_master_key)
        flood = Flood(system, paying, vault, count=count, at_once=at_once, seed=seed)
        began = perf_counter()
        flood.start()
        during = list(_pay_meanwhile(paying, flood))
        seconds = perf_counter() - began
        result.seconds += seconds
        result.more |= {
            "forged": sum(flood.sent.values()),
            "forged_per_second": round(sum(flood.sent.values()) / seconds),
            "forged_by_kind": dict(flood.sent),
            "answers": {str(status): n for status, n in flood.answers.items()},
            "order_milliseconds_without": spread(before),
            "order_milliseconds_beside": spread(during),
            "paid_beside": len(during),
        }
        _measure_inbox(database, result)


def count_believed(system: System, result: Result) -> None:
    """Count the events with a forged receipt after the wind-down: each is a violation."""
    with database_of(system) as database, database.connection() as connection:
        row = connection.execute(_BELIEVED, (f"{RECEIPT_PREFIX}%",)).fetchone()
    assert row is not None
    result.more["believed"] = row["n"]
    if row["n"]:
        result.violations.append(f"{row['n']} events have a forged receipt")


def _pay_meanwhile(paying: PayingBuyers, flood: Flood) -> Iterator[float]:
    """Let buyers pay until the flood is over; yield the seconds each waited for the order."""
    renew_at = monotonic() + NEW_TARGETS_AFTER_SECONDS
    while not flood.is_over:
        if monotonic() > renew_at:
            paying.open = [paying.prompt()[1] for _ in range(TARGETS_AT_ONCE)]
            renew_at = monotonic() + NEW_TARGETS_AFTER_SECONDS
        yield paying.pay()
        sleep(BETWEEN_PAYMENTS_SECONDS)


def _measure_inbox(database: Database, result: Result) -> None:
    """Measure the inbox, then wait until the worker has purged unauthenticated messages down to the bound."""
    messages = _messages(database)
    with database.connection() as connection:
        row = connection.execute(_SIZE).fetchone()
        assert row is not None
        result.more |= {"inbox_megabytes": row["bytes"] // 1_000_000, "inbox_after_the_flood": messages}
    give_up_at = monotonic() + PURGED_WITHIN_SECONDS
    while sum((messages := _messages(database)).values()) > MAX_UNAUTHENTICATED_KEPT:
        if monotonic() > give_up_at:
            result.violations.append(f"the inbox keeps more unauthenticated messages than it may: {messages}")
            break
        sleep(1)
    result.more["inbox_after_purge"] = messages


def _messages(database: Database) -> dict[str, int]:
    with database.connection() as connection:
        return {row["state"]: row["n"] for row in connection.execute(_MESSAGES)}

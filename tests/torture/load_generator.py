"""The load: buyers who take carts to orders, or leave halfway, and record what was acknowledged."""

import queue
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import Any

from tests.bench.lifecycles import SESSIONS, Buyer, delivery_of
from tests.torture.acknowledgements import Acknowledgements, Created, Extended, Ordered, Prompted
from tests.torture.retrying_client import RetryingClient

MAX_ATTEMPTS = 3
FINISHED_WITHIN_SECONDS = 20.0
WATCH_SECONDS = 14.0
"""Longer than a prompt is live by the settings of tests/torture/storm.py: then a buyer may retry."""

LONG_POLL_SECONDS = 5
FIRST_OTHER_PHONE = 720_000_000
ENDS = frozenset({"order_created", "failed", "expired"})

LEAVE_BEFORE_PAYING = 0.05
LEAVE_BEFORE_THE_END = 0.10
EXTEND = 0.20
WAIT_BY_LONG_POLL = 0.30
TRY_ANOTHER_PHONE = 0.50


class LoadGenerator:
    """Buyers in `at_once` threads, until `finish` or until no buyer is left.

    Some leave halfway, unless `all_pay`.
    """

    def __init__(
        self,
        port: int,
        buyers: Sequence[Buyer],
        at_once: int,
        seed: int,
        acknowledged: Acknowledgements,
        *,
        all_pay: bool = False,
    ) -> None:
        self._port = port
        self._seed = seed
        self._acknowledged = acknowledged
        self._all_pay = all_pay
        self._closing = Event()
        self._stop = Event()
        self._carts: queue.SimpleQueue[Buyer] = queue.SimpleQueue()
        for buyer in buyers:
            self._carts.put(buyer)
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(at_once)]

    def start(self) -> None:
        """Start buying."""
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Let each thread finish its buyer, within a bound, and take no other."""
        self._closing.set()
        give_up_at = monotonic() + FINISHED_WITHIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - monotonic()))
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def is_done(self) -> bool:
        """Whether no buyer is left."""
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                buyer = self._carts.get_nowait()
            except queue.Empty:
                return
            client = RetryingClient(self._port, buyer.auth, self._acknowledged, self._stop)
            try:
                random_source = Random(f"{self._seed}/{buyer.user}")
                purchase = _Purchase(buyer, client, random_source, self._acknowledged, self._stop)
                purchase.run(may_leave=not self._all_pay)
            finally:
                client.close()


class _Purchase:
    """One purchase; every acknowledgement is recorded."""

    def __init__(
        self,
        buyer: Buyer,
        client: RetryingClient,
        random_source: Random,
        acknowledged: Acknowledgements,
        stop: Event,
    ) -> None:
        self._buyer = buyer
        self._client = client
        self._random = random_source
        self._acknowledged = acknowledged
        self._stop = stop

    def run(self, *, may_leave: bool) -> None:
        """Buy, as far as it goes."""
        session_id = self._create()
        if session_id is None or (may_leave and self._happens(LEAVE_BEFORE_PAYING)):
            return
        if self._happens(EXTEND):
            self._extend(session_id)
        if self._initiate(session_id) and not (may_leave and self._happens(LEAVE_BEFORE_THE_END)):
            self._watch(session_id)

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance

    def _create(self) -> str | None:
        self._acknowledged.use_key_for_session(self._buyer.user)
        answer = self._client.post(SESSIONS, {"delivery_details": delivery_of(self._buyer)})
        if answer is None or answer.status != 201:
            return None
        session_id = str(answer.body["session_id"])
        total = int(Decimal(answer.body["total_amount"]) * 100)
        self._acknowledged.record(Created(session_id, self._buyer.user, total))
        return session_id

    def _extend(self, session_id: str) -> None:
        self._acknowledged.use_key(session_id, "extend")
        answer = self._client.post(f"{SESSIONS}{session_id}/extend_session/", {})
        if answer is not None and answer.status == 200:
            self._acknowledged.record(Extended(session_id, answer.body["expires_at"]))

    def _initiate(self, session_id: str, **wanted: str) -> bool:
        """Initiate the payment, a few times if M-Pesa refuses; return whether a prompt may have been sent."""
        for attempt in range(MAX_ATTEMPTS):
            if attempt and self._stop.wait(self._random.uniform(0.2, 1.0)):
                return False
            self._acknowledged.use_key(session_id, "initiate")
            answer = self._client.post(f"{SESSIONS}{session_id}/initiate_payment/", wanted)
            if answer is None:
                return False
            if answer.status in (200, 202):
                shown = answer.body
                sent = Prompted(session_id, shown["transaction_id"], shown["checkout_request_id"])
                self._acknowledged.record(sent)
                return True
            if answer.code == "PAYMENT_IN_PROGRESS":
                return True
            if answer.status not in (409, 502, 503):
                return False
        return False

    def _watch(self, session_id: str) -> None:
        """Poll the status until it is final; the version shown must never go back."""
        give_up_at = monotonic() + WATCH_SECONDS
        path = f"{SESSIONS}{session_id}/status/"
        seen, has_another_phone = 0, self._happens(TRY_ANOTHER_PHONE)
        while monotonic() < give_up_at and not self._stop.is_set():
            waits = self._happens(WAIT_BY_LONG_POLL)
            asked = f"{path}?wait={LONG_POLL_SECONDS}&after={seen}" if waits else path
            answer = self._client.get(asked)
            if answer is None or answer.status != 200:
                return
            shown = answer.body
            seen = self._check_version(session_id, seen, int(shown["version"]))
            if shown["session_status"] in ENDS:
                self._note_order(session_id, shown)
                return
            if has_another_phone and shown["can_retry"] and shown["retry_after"] == 0:
                has_another_phone = False
                self._initiate(session_id, phone_number=f"0{FIRST_OTHER_PHONE + self._buyer.user}")
            self._stop.wait(self._random.uniform(0.1, 0.6))

    def _check_version(self, session_id: str, seen: int, version: int) -> int:
        if version < seen:
            self._acknowledged.report_violation(
                f"session {session_id} was shown at version {seen}, then at {version}"
            )
        return version

    def _note_order(self, session_id: str, shown: dict[str, Any]) -> None:
        order = shown["order"]
        if order is not None:
            self._acknowledged.record(Ordered(session_id, order["order_id"], order["order_number"]))

"""Thousands of answers lost after the command was carried out: a retry gets the first answer and changes nothing."""

import json
import queue
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from random import Random
from threading import Thread
from time import perf_counter
from typing import Any
from uuid import uuid4

from tests.bench.connection import BadAnswer, Connection
from tests.bench.lifecycles import SESSIONS, Buyer, delivery_of
from tests.torture.acknowledgements import Acknowledgements, Created, Extended, Prompted
from tests.torture.answer_loss import AnswerDroppingProxy, answer_dropping_proxy
from tests.torture.result import Result
from tests.torture.system import System

MAX_LOST_PER_COMMAND = 3
MIN_LOST_PER_BUYER = 3


def retries(
    system: System, buyers: Sequence[Buyer], result: Result, *, lost: int, at_once: int, seed: int
) -> None:
    """Let buyers lose at least `lost` answers, one to three of each command, and compare the final answers."""
    waiting = queue.SimpleQueue[Buyer]()
    for buyer in buyers:
        waiting.put(buyer)
    began = perf_counter()
    with answer_dropping_proxy(system.api_port) as proxy:

        def work() -> None:
            with Connection(system.api_port) as direct, suppress(queue.Empty):
                while proxy.count < lost:
                    buyer = waiting.get_nowait()
                    _RetryingBuyer(
                        buyer, direct, proxy, result.acknowledged, Random(f"{seed}/{buyer.user}")
                    ).buy()

        threads = [Thread(target=work, daemon=True) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        result.more |= {"answers_lost": proxy.count, "commands": len(proxy.dropped)}
    result.seconds += perf_counter() - began
    if proxy.count < lost:
        result.violations.append(f"only {proxy.count} answers were lost: there were no more buyers")


class _RetryingBuyer:
    """A buyer whose first answers to each command are lost."""

    def __init__(
        self,
        buyer: Buyer,
        direct: Connection,
        proxy: AnswerDroppingProxy,
        acknowledged: Acknowledgements,
        random_source: Random,
    ) -> None:
        self._buyer = buyer
        self._direct = direct
        self._proxy = proxy
        self._acknowledged = acknowledged
        self._random = random_source

    def buy(self) -> None:
        """Create, extend, initiate, each retried under its key; the first failure ends it."""
        self._acknowledged.use_key_for_session(self._buyer.user)
        session = self._ask(SESSIONS, {"delivery_details": delivery_of(self._buyer)}, 201)
        if session is None:
            return
        session_id = str(session["session_id"])
        total_cents = int(Decimal(session["total_amount"]) * 100)
        self._acknowledged.record(Created(session_id, self._buyer.user, total_cents))
        self._acknowledged.use_key(session_id, "extend")
        extended = self._ask(f"{SESSIONS}{session_id}/extend_session/", {}, 200)
        if extended is not None:
            self._acknowledged.record(Extended(session_id, extended["expires_at"]))
        self._acknowledged.use_key(session_id, "initiate")
        sent = self._ask(f"{SESSIONS}{session_id}/initiate_payment/", {}, 200)
        if sent is not None:
            self._acknowledged.record(
                Prompted(session_id, sent["transaction_id"], sent["checkout_request_id"])
            )

    def _ask(self, path: str, wanted: dict[str, Any], expected: int) -> dict[str, Any] | None:
        """Lose some answers, then get one: it must be the first, byte for byte."""
        key, body = str(uuid4()), json.dumps(wanted).encode()
        for _ in range(self._random.randint(1, MAX_LOST_PER_COMMAND)):
            with Connection(self._proxy.port) as connection, suppress(OSError, BadAnswer):
                connection.request("POST", path, self._buyer.auth, body, key=key)
                self._acknowledged.report_violation(f"POST {path} was answered through the dropping proxy")
        status, text = self._direct.request("POST", path, self._buyer.auth, body, key=key)
        if set(self._proxy.dropped[key]) != {(status, text)}:
            self._acknowledged.report_violation(f"POST {path} was not answered as the first time")
        if status != expected:
            self._acknowledged.report_violation(f"POST {path} was answered {status}")
            return None
        answered: dict[str, Any] = json.loads(text)
        return answered

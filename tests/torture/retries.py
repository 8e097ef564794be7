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
from tests.torture.acknowledgements import Created, Extended, Promises, Prompted
from tests.torture.answer_loss import AnswerEater, answer_eater
from tests.torture.result import Result
from tests.torture.system import Machine

MOST_LOST_OF_ONE = 3
FEWEST_LOST_OF_A_BUYER = 3


def retries(
    machine: Machine, buyers: Sequence[Buyer], result: Result, *, lost: int, at_once: int, seed: int
) -> None:
    """Let buyers lose at least `lost` answers, one to three of each command, and compare what they get in the end."""
    waiting = queue.SimpleQueue[Buyer]()
    for buyer in buyers:
        waiting.put(buyer)
    began = perf_counter()
    with answer_eater(machine.api_port) as eater:

        def work() -> None:
            with Connection(machine.api_port) as direct, suppress(queue.Empty):
                while eater.count < lost:
                    buyer = waiting.get_nowait()
                    _Patient(buyer, direct, eater, result.promises, Random(f"{seed}/{buyer.user}")).buy()

        threads = [Thread(target=work, daemon=True) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        result.more |= {"answers_lost": eater.count, "commands": len(eater.eaten)}
    result.seconds += perf_counter() - began
    if eater.count < lost:
        result.violations.append(f"only {eater.count} answers were lost: there were no more buyers")


class _Patient:
    """A buyer whose first answers are all lost."""

    def __init__(
        self, buyer: Buyer, direct: Connection, eater: AnswerEater, promises: Promises, random_source: Random
    ) -> None:
        self._buyer = buyer
        self._direct = direct
        self._eater = eater
        self._promises = promises
        self._random = random_source

    def buy(self) -> None:
        """Create, extend, initiate, each asked for again and again under its key; the first failure ends it."""
        self._promises.use_key_for_session(self._buyer.user)
        session = self._ask(SESSIONS, {"delivery_details": delivery_of(self._buyer)}, 201)
        if session is None:
            return
        session_id = str(session["session_id"])
        total_cents = int(Decimal(session["total_amount"]) * 100)
        self._promises.keep(Created(session_id, self._buyer.user, total_cents))
        self._promises.use_key(session_id, "extend")
        extended = self._ask(f"{SESSIONS}{session_id}/extend_session/", {}, 200)
        if extended is not None:
            self._promises.keep(Extended(session_id, extended["expires_at"]))
        self._promises.use_key(session_id, "initiate")
        sent = self._ask(f"{SESSIONS}{session_id}/initiate_payment/", {}, 200)
        if sent is not None:
            self._promises.keep(Prompted(session_id, sent["transaction_id"], sent["checkout_request_id"]))

    def _ask(self, path: str, wanted: dict[str, Any], expected: int) -> dict[str, Any] | None:
        """Lose some answers, then take one: it must be the first, byte for byte."""
        key, body = str(uuid4()), json.dumps(wanted).encode()
        for _ in range(self._random.randint(1, MOST_LOST_OF_ONE)):
            with Connection(self._eater.port) as way, suppress(OSError, BadAnswer):
                way.request("POST", path, self._buyer.auth, body, key=key)
                self._promises.complain(f"POST {path} was answered where no answer should come through")
        status, text = self._direct.request("POST", path, self._buyer.auth, body, key=key)
        if set(self._eater.eaten[key]) != {(status, text)}:
            self._promises.complain(f"POST {path} was not answered as the first time")
        if status != expected:
            self._promises.complain(f"POST {path} was answered {status}")
            return None
        answered: dict[str, Any] = json.loads(text)
        return answered

"""Chaos by seed: which fault each request, each callback and each person meets, while it is turned on.

Every choice has dice of its own, made of the seed, the occasion, a reference that the shop chose, and how often that
reference was there before. Threads share no stream of chance, so the same seed and the same submissions give the same
choices, however they are interleaved. The books tell the truth all the while.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from random import Random

from daraja.simulator.faults import TRUTH, VOID_TOKEN, DeliveryKind, Endpoint
from daraja.simulator.outcomes import (
    CANCELLED,
    INSUFFICIENT_FUNDS,
    NO_RESPONSE,
    PAID,
    WRONG_PIN,
    CallbackDelivery,
    Script,
)

_MAX_REMEMBERED = 100_000
_SHORT_SECONDS = 3.0
"""How long people think, answers stall and callbacks are held to let others overtake, at most."""
_STALL = "stall"
_FAULTS_OF_ANY_ENDPOINT = {"html-503": 2, "empty-503": 1, "empty-504": 1, "server-error": 1, "busy": 2}

_FAULTS_OF_OTHER_ENDPOINTS: Mapping[str, float] = {
    TRUTH: 80,
    "lose-answer": 5,
    _STALL: 2,
    "reset": 1,
    "html-403": 1,
    "spike-arrest": 2,
    VOID_TOKEN: 2,
    **_FAULTS_OF_ANY_ENDPOINT,
}
_ANSWERS: Mapping[Endpoint, Mapping[str, float]] = {
    "token": {TRUTH: 94, "html-503": 2, "lose-answer": 2, "empty-503": 1, "server-error": 1},
    "push": {
        TRUTH: 80,
        "lose-answer": 4,
        _STALL: 2,
        "no-checkout-id": 1,
        "reset": 1,
        "html-403": 1,
        "spike-arrest": 2,
        "spike-arrest-500": 1,
        "quota": 0.5,
        "subscriber-locked": 0.5,
        VOID_TOKEN: 2,
        **_FAULTS_OF_ANY_ENDPOINT,
    },
    "query": {
        TRUTH: 72,
        "4999": 4,
        "empty-message": 4,
        "empty-message-200": 3,
        "being-processed": 2,
        "unknown-transaction": 1,
        "invalid-checkout-id": 1,
        "spike-arrest": 3,
        "lose-answer": 2,
        _STALL: 1,
        VOID_TOKEN: 1,
        **_FAULTS_OF_ANY_ENDPOINT,
    },
}
"""What a request meets, by weight. The retries of a shop meet dice of their own, so that none is unlucky for ever."""

_DELIVERY_FAULTS: Mapping[DeliveryKind, Mapping[str, float]] = {
    "result": {
        TRUTH: 70,
        "lost": 8,
        "doubled": 7,
        "late": 7,
        "early": 2,
        "truncated": 1,
        "timeout": 2,
        "timeout-then-result": 3,
    },
    "confirmation": {TRUTH: 74, "lost": 9, "doubled": 7, "late": 8, "truncated": 2},
}

_OUTAGES_IN_PUSHES = 0.002
_OUTAGE_FAULTS = ("html-503", "empty-503", "text-503")

_PEOPLE = {PAID: 78, CANCELLED: 9, NO_RESPONSE: 6, WRONG_PIN: 5, INSUFFICIENT_FUNDS: 2}
_CALLBACKS_OF_SUCCESS = {
    "": 58,
    "lost": 9,
    "doubled": 7,
    "late": 7,
    "reordered": 6,
    "early": 4,
    "garbled": 3,
    "contradicted": 3,
    "forged": 3,
}
_CALLBACKS_OF_FAILURE = {
    "": 60,
    "lost": 9,
    "doubled": 7,
    "late": 7,
    "reordered": 6,
    "early": 3,
    "garbled": 2,
    "forged": 6,
}
_GARBLED_SUCCESSES = (
    "empty-object",
    "truncated",
    "receipt-missing",
    "text-code",
    "amount-as-text",
    "items-shuffled",
    "phone-masked",
    "phone-missing",
)
_GARBLED_FAILURES = ("empty-object", "truncated")
_LYING_QUERIES = 0.03
"""Of the successes that a callback tells: the sandbox was seen to call such payments failed when it was asked."""


class Chaos:
    """Rolls the dice; safe to use from any thread. Without a seed it is off until it is turned on."""

    def __init__(self, seed: int | None, longest_delay_seconds: float, prompt_seconds: float) -> None:
        self._lock = threading.Lock()
        self._turns: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._longest_seconds = longest_delay_seconds
        self._prompt_seconds = prompt_seconds
        self.is_on = seed is not None
        self.seed = 0 if seed is None else seed

    def turn_on(self, seed: int | None = None) -> None:
        """Begin, or go on where it was turned off; a seed begins anew."""
        with self._lock:
            if seed is not None:
                self.seed = seed
                self._turns.clear()
            self.is_on = True

    def turn_off(self) -> None:
        """Behave from now on; people and callbacks that are under way go on as they were rolled."""
        self.is_on = False

    def fault_for(self, endpoint: Endpoint, reference: str) -> str:
        """Return the name of the fault that a request at a door meets, TRUTH for most of them."""
        if not self.is_on:
            return TRUTH
        random_source = self._random(endpoint, reference)
        name = _pick(random_source, _ANSWERS.get(endpoint, _FAULTS_OF_OTHER_ENDPOINTS))
        return f"{_STALL}:{self._short(random_source):.2f}" if name == _STALL else name

    def delivery_fault_of(self, what: DeliveryKind, reference: str) -> str:
        """Return the fate of a result or a confirmation, TRUTH for most of them."""
        if not self.is_on:
            return TRUTH
        random_source = self._random(what, reference)
        delivery_fault = _pick(random_source, _DELIVERY_FAULTS[what])
        return (
            f"{delivery_fault}:{self._long(random_source):.3f}"
            if delivery_fault == "late"
            else delivery_fault
        )

    def outage_after(self, reference: str) -> tuple[float, str] | None:
        """Return how many seconds of which fault all doors meet from this push on, or None."""
        if not self.is_on:
            return None
        random_source = self._random("outage", reference)
        if random_source.random() >= _OUTAGES_IN_PUSHES:
            return None
        return self._short(random_source), random_source.choice(_OUTAGE_FAULTS)

    def script_for(self, reference: str) -> Script:
        """Return what the person does with a prompt, when, and what the callbacks and queries say of it."""
        random_source = self._random("prompt", reference)
        code = _pick(random_source, _PEOPLE)
        fault = _pick(random_source, _CALLBACKS_OF_SUCCESS if code == PAID else _CALLBACKS_OF_FAILURE)
        deliveries = self._deliveries(random_source, code, fault)
        lies = code == PAID and fault in ("", "doubled", "early") and random_source.random() < _LYING_QUERIES
        return Script(
            "Chaos",
            code=code,
            after_seconds=0 if fault == "early" else self._thinking_seconds(random_source, code),
            deliveries=deliveries,
            forgeries=(self._forgery(random_source),) if fault == "forged" else (),
            query_code=CANCELLED if lies else None,
            callback_first=fault == "early",
            fault=None if fault in ("", "forged") else fault,
        )

    def _deliveries(self, random_source: Random, code: str, fault: str) -> tuple[CallbackDelivery, ...]:
        if fault == "lost":
            return ()
        if fault == "doubled":
            return (
                CallbackDelivery(),
                CallbackDelivery(delay_seconds=random_source.choice((0.0, self._long(random_source)))),
            )
        if fault == "late":
            return (CallbackDelivery(delay_seconds=self._long(random_source)),)
        if fault == "reordered":
            return (CallbackDelivery(delay_seconds=self._short(random_source)),)
        if fault == "garbled":
            return (
                CallbackDelivery(
                    random_source.choice(_GARBLED_SUCCESSES if code == PAID else _GARBLED_FAILURES)
                ),
            )
        if fault == "contradicted":
            later = self._short(random_source)
            truth_first = (CallbackDelivery(), CallbackDelivery("cancelled", later))
            return random_source.choice(
                (truth_first, (CallbackDelivery("cancelled"), CallbackDelivery(delay_seconds=later)))
            )
        return (CallbackDelivery(),)

    def _forgery(self, random_source: Random) -> CallbackDelivery:
        return CallbackDelivery("forged", self._short(random_source), to_wrong_address=True)

    def _thinking_seconds(self, random_source: Random, code: str) -> float:
        ignores = code == NO_RESPONSE
        return min(self._prompt_seconds, self._longest_seconds) if ignores else self._short(random_source)

    def _short(self, random_source: Random) -> float:
        return random_source.uniform(0, min(_SHORT_SECONDS, self._longest_seconds))

    def _long(self, random_source: Random) -> float:
        """Return seconds up to the longest delay, so that each order of magnitude from one second on is as common."""
        shortest = min(1.0, self._longest_seconds)
        return (
            float(shortest * (self._longest_seconds / shortest) ** random_source.random()) if shortest else 0
        )

    def _random(self, occasion: str, reference: str) -> Random:
        with self._lock:
            key = (occasion, reference)
            turn = self._turns.pop(key, 0) + 1
            self._turns[key] = turn
            if len(self._turns) > _MAX_REMEMBERED:
                self._turns.popitem(last=False)
            # Guards nothing: the money is not real.
            return Random(f"{self.seed}/{occasion}/{reference}/{turn}")  # noqa: S311


def _pick(random_source: Random, weights: Mapping[str, float]) -> str:
    return random_source.choices(list(weights), list(weights.values()))[0]

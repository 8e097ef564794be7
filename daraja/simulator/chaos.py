"""Chaos by seed: which fault each request and each callback meets, and what each payer does, while it is on.

Every choice is a random draw of its own, seeded by the seed, the occasion, a reference that the shop chose, and how
often that reference came before. Threads share no random stream, so the same seed and the same submissions give the
same choices, however they are interleaved. The books hold the truth all the while.
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
"""How long payers think, answers stall, and callbacks are held back for others to overtake, at most."""
_STALL = "stall"
_COMMON_FAULTS = {"html-503": 2, "empty-503": 1, "empty-504": 1, "server-error": 1, "busy": 2}

_FAULTS_OF_OTHERS: Mapping[str, float] = {
    TRUTH: 80,
    "lose-answer": 5,
    _STALL: 2,
    "reset": 1,
    "html-403": 1,
    "spike-arrest": 2,
    VOID_TOKEN: 2,
    **_COMMON_FAULTS,
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
        **_COMMON_FAULTS,
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
        **_COMMON_FAULTS,
    },
}
"""What a request meets, by weight. A retry is a new draw, so that no request fails for ever."""

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

_PAYERS = {PAID: 78, CANCELLED: 9, NO_RESPONSE: 6, WRONG_PIN: 5, INSUFFICIENT_FUNDS: 2}
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
_CONTRADICTING_QUERIES = 0.03
"""Of the successes that a callback reports: the sandbox was seen to answer queries for such payments with a failure."""


class Chaos:
    """Draws the faults; safe to use from any thread. Without a seed it is off until it is turned on."""

    def __init__(self, seed: int | None, longest_delay_seconds: float, prompt_seconds: float) -> None:
        self._lock = threading.Lock()
        self._draws: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._longest_seconds = longest_delay_seconds
        self._prompt_seconds = prompt_seconds
        self.is_on = seed is not None
        self.seed = 0 if seed is None else seed

    def turn_on(self, seed: int | None = None) -> None:
        """Start, or go on after `turn_off`; a seed starts over."""
        with self._lock:
            if seed is not None:
                self.seed = seed
                self._draws.clear()
            self.is_on = True

    def turn_off(self) -> None:
        """Draw nothing from now on; what was drawn before still happens."""
        self.is_on = False

    def fault_for(self, endpoint: Endpoint, reference: str) -> str:
        """Return the name of the fault that a request meets, TRUTH for most of them."""
        if not self.is_on:
            return TRUTH
        random = self._random_for(endpoint, reference)
        name = _pick(random, _ANSWERS.get(endpoint, _FAULTS_OF_OTHERS))
        return f"{_STALL}:{self._short(random):.2f}" if name == _STALL else name

    def delivery_fault_for(self, kind: DeliveryKind, reference: str) -> str:
        """Return the fault that a result or a confirmation meets, TRUTH for most of them."""
        if not self.is_on:
            return TRUTH
        random = self._random_for(kind, reference)
        delivery_fault = _pick(random, _DELIVERY_FAULTS[kind])
        return f"{delivery_fault}:{self._long(random):.3f}" if delivery_fault == "late" else delivery_fault

    def outage_after(self, reference: str) -> tuple[float, str] | None:
        """Return how many seconds of which fault all requests meet from this push on, or None."""
        if not self.is_on:
            return None
        random = self._random_for("outage", reference)
        if random.random() >= _OUTAGES_IN_PUSHES:
            return None
        return self._short(random), random.choice(_OUTAGE_FAULTS)

    def script_for(self, reference: str) -> Script:
        """Return what the payer does with a prompt, when, and what the callbacks and queries say of it."""
        random = self._random_for("prompt", reference)
        code = _pick(random, _PAYERS)
        fault = _pick(random, _CALLBACKS_OF_SUCCESS if code == PAID else _CALLBACKS_OF_FAILURE)
        deliveries = self._deliveries(random, code, fault)
        contradicts = (
            code == PAID and fault in ("", "doubled", "early") and random.random() < _CONTRADICTING_QUERIES
        )
        return Script(
            "Chaos",
            code=code,
            after_seconds=0 if fault == "early" else self._thinking_seconds(random, code),
            deliveries=deliveries,
            forgeries=(self._forgery(random),) if fault == "forged" else (),
            query_code=CANCELLED if contradicts else None,
            callback_first=fault == "early",
            fault=None if fault in ("", "forged") else fault,
        )

    def _deliveries(self, random: Random, code: str, fault: str) -> tuple[CallbackDelivery, ...]:
        if fault == "lost":
            return ()
        if fault == "doubled":
            return (
                CallbackDelivery(),
                CallbackDelivery(delay_seconds=random.choice((0.0, self._long(random)))),
            )
        if fault == "late":
            return (CallbackDelivery(delay_seconds=self._long(random)),)
        if fault == "reordered":
            return (CallbackDelivery(delay_seconds=self._short(random)),)
        if fault == "garbled":
            return (
                CallbackDelivery(random.choice(_GARBLED_SUCCESSES if code == PAID else _GARBLED_FAILURES)),
            )
        if fault == "contradicted":
            later = self._short(random)
            truth_first = (CallbackDelivery(), CallbackDelivery("cancelled", later))
            return random.choice(
                (truth_first, (CallbackDelivery("cancelled"), CallbackDelivery(delay_seconds=later)))
            )
        return (CallbackDelivery(),)

    def _forgery(self, random: Random) -> CallbackDelivery:
        return CallbackDelivery("forged", self._short(random), to_wrong_address=True)

    def _thinking_seconds(self, random: Random, code: str) -> float:
        ignores = code == NO_RESPONSE
        return min(self._prompt_seconds, self._longest_seconds) if ignores else self._short(random)

    def _short(self, random: Random) -> float:
        return random.uniform(0, min(_SHORT_SECONDS, self._longest_seconds))

    def _long(self, random: Random) -> float:
        """Return seconds up to the longest delay; each order of magnitude from one second on is equally likely."""
        shortest = min(1.0, self._longest_seconds)
        return float(shortest * (self._longest_seconds / shortest) ** random.random()) if shortest else 0

    def _random_for(self, occasion: str, reference: str) -> Random:
        with self._lock:
            key = (occasion, reference)
            draw = self._draws.pop(key, 0) + 1
            self._draws[key] = draw
            if len(self._draws) > _MAX_REMEMBERED:
                self._draws.popitem(last=False)
            # Guards nothing: the money is not real.
            return Random(f"{self.seed}/{occasion}/{reference}/{draw}")  # noqa: S311


def _pick(random: Random, weights: Mapping[str, float]) -> str:
    return random.choices(list(weights), list(weights.values()))[0]

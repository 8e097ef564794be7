"""Faults set by hand: for the next requests or deliveries, for queries, or for all endpoints over a period."""

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from daraja.simulator.answers import ERRORS, PAGES, GatewayAnswer, error_answer, refusal
from daraja.simulator.kenya_time import Clock
from daraja.simulator.outcomes import RESULT_TEXTS
from daraja.simulator.spike_arrest import CallRate, SpikeArrest

Endpoint = Literal[
    "token",
    "push",
    "query",
    "reversal",
    "status",
    "b2c",
    "balance",
    "c2b_register",
    "c2b_simulate",
    "pull_register",
    "pull",
]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
DeliveryKind = Literal["result", "confirmation"]
"""What is posted later, and may meet a delivery fault."""
DELIVERY_KINDS: tuple[DeliveryKind, ...] = get_args(DeliveryKind)

PENDING_SHAPES = ("4999", "being-processed", "being-processed-200", "empty-message", "empty-message-200")
LOSE_ANSWER = "lose-answer"
NO_CHECKOUT_ID = "no-checkout-id"
VOID_TOKEN = "void-token"  # noqa: S105 - a fault's name
TRUTH = "truth"
_SPIKE_ARREST = "spike-arrest"
MAX_SCRIPTED = 10_000
MAX_STALL_SECONDS = 120.0

MAX_LATE_SECONDS = 864_000
LATE = re.compile(r"late(?::([0-9]{1,6}(?:\.[0-9]{1,3})?))?")
_DELIVERY_FAULTS: dict[DeliveryKind, tuple[str, ...]] = {
    "result": (TRUTH, "lost", "doubled", "truncated", "early", "timeout", "timeout-then-result"),
    "confirmation": (TRUTH, "lost", "doubled", "truncated"),
}
_STALL = re.compile(r"stall:([0-9]{1,3}(?:\.[0-9]{1,3})?)")
_RESULT_CODE = re.compile(r"[0-9]{1,5}|[A-Z]{1,4}[A-Z0-9_]{1,12}")


class UnknownFault(ValueError):
    """No fault has that name here; the message lists those that exist."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What one request meets: an `error` or a `page` in place of the true answer, or a twist of the true one.

    `stall_seconds` delays the true answer; `twist` is `lose-answer`, `no-checkout-id` or `void-token`; `result_code`
    is what a query answers.
    """

    error: str | None = None
    page: GatewayAnswer | None = None
    stall_seconds: float = 0
    twist: str | None = None
    result_code: str | None = None

    def answer(self, request_id: Callable[[], str]) -> GatewayAnswer | None:
        """Return what replaces the true answer, or None; `request_id` is called only if an id is needed."""
        return self.page if self.error is None else error_answer(refusal(self.error), request_id())


NO_FAULT = Fault()


class Faults:
    """The faults that are set now; safe to use from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Remove every fault."""
        with self._lock:
            self._next: dict[Endpoint, deque[str]] = {endpoint: deque() for endpoint in ENDPOINTS}
            self._next_delivery_faults: dict[DeliveryKind, deque[str]] = {
                kind: deque() for kind in DELIVERY_KINDS
            }
            self._limits: dict[Endpoint, SpikeArrest] = {}
            self._query_script: deque[str] = deque()
            self._pending_shape = PENDING_SHAPES[0]
            self._outage: tuple[datetime, str] | None = None

    def add(self, endpoint: Endpoint, names: Iterable[str]) -> None:
        """Let the next requests at an endpoint meet these faults, one each; raise UnknownFault."""
        added = list(names)
        for name in added:
            read_fault(name, endpoint)
        with self._lock:
            if len(self._next[endpoint]) + len(added) > MAX_SCRIPTED:
                raise UnknownFault(
                    f"At most {MAX_SCRIPTED} faults can wait at an endpoint; clear them first."
                )
            self._next[endpoint].extend(added)

    def add_delivery_faults(self, kind: DeliveryKind, delivery_faults: Iterable[str]) -> None:
        """Let the next results or confirmations meet these faults, one each; raise UnknownFault."""
        added = list(delivery_faults)
        for delivery_fault in added:
            _check_delivery_fault(kind, delivery_fault)
        with self._lock:
            if len(self._next_delivery_faults[kind]) + len(added) > MAX_SCRIPTED:
                raise UnknownFault(f"At most {MAX_SCRIPTED} delivery faults can wait; clear them first.")
            self._next_delivery_faults[kind].extend(added)

    def take_delivery_fault(self, kind: DeliveryKind) -> str | None:
        """Return the fault of the next result or confirmation, and use it up; None if none was set."""
        with self._lock:
            return self._next_delivery_faults[kind].popleft() if self._next_delivery_faults[kind] else None

    def limit(self, endpoint: Endpoint, rate: CallRate | None) -> None:
        """Let an endpoint take no more calls than a rate allows, and answer 429 beyond; None takes all."""
        with self._lock:
            self._limits.pop(endpoint, None)
            if rate is not None:
                self._limits[endpoint] = SpikeArrest(rate)

    def script_queries(self, *names: str) -> None:
        """Let queries meet these answers in turn, the last one for ever; none restores the truth."""
        script = deque(names, MAX_SCRIPTED)
        for name in script:
            read_fault(name, "query")
        with self._lock:
            self._query_script = script

    def set_pending_shape(self, shape: str) -> None:
        """Choose how a query says "not finished yet"; raise UnknownFault."""
        if shape not in PENDING_SHAPES:
            raise UnknownFault(f"Pending shapes are {', '.join(PENDING_SHAPES)}.")
        with self._lock:
            self._pending_shape = shape

    @property
    def pending_shape(self) -> str:
        """How a query says "not finished yet"."""
        return self._pending_shape

    def start_outage(self, seconds: float, name: str = "html-503") -> None:
        """Let every request meet one fault until so much simulated time has passed; raise UnknownFault."""
        read_fault(name, "token")
        with self._lock:
            self._outage = (self._clock() + timedelta(seconds=seconds), name)

    def take(self, endpoint: Endpoint) -> Fault | None:
        """Return the fault that a request meets, and use it up; None if none was set."""
        with self._lock:
            name = self._take_name(endpoint, self._clock())
        return None if name is None else read_fault(name, endpoint)

    def describe(self) -> dict[str, object]:
        """Return what is set: the waiting faults of each endpoint counted by name, and the rest as it was set."""
        with self._lock:
            outage = self._outage is not None and self._clock() < self._outage[0]
            return {
                **{endpoint: dict(Counter(waiting)) for endpoint, waiting in self._next.items()},
                **{kind: dict(Counter(waiting)) for kind, waiting in self._next_delivery_faults.items()},
                "rates": {endpoint: asdict(limit.rate) for endpoint, limit in self._limits.items()},
                "query_script": list(self._query_script)[:100],
                "pending": self._pending_shape,
                "outage": outage,
            }

    def _take_name(self, endpoint: Endpoint, now: datetime) -> str | None:
        if self._outage is not None:
            until, name = self._outage
            if now < until:
                return name
            self._outage = None
        if endpoint in self._limits and not self._limits[endpoint].takes(now):
            return _SPIKE_ARREST
        if self._next[endpoint]:
            return self._next[endpoint].popleft()
        if endpoint == "query" and self._query_script:
            return self._query_script.popleft() if len(self._query_script) > 1 else self._query_script[0]
        return None


def read_fault(name: str, endpoint: Endpoint) -> Fault:
    """Return the fault of that name; raise UnknownFault with the names that the endpoint knows."""
    if name == TRUTH:
        return NO_FAULT
    if name in ERRORS:
        return Fault(error=name)
    if name in PAGES:
        return Fault(page=PAGES[name])
    if name in _twists_of(endpoint):
        return Fault(twist=name)
    if (stall := _STALL.fullmatch(name)) and float(stall[1]) <= MAX_STALL_SECONDS:
        return Fault(stall_seconds=float(stall[1]))
    if endpoint == "query" and _RESULT_CODE.fullmatch(name):
        return Fault(result_code=name)
    raise UnknownFault(f"There is no fault {name[:40]!r} for {endpoint}. {_names_for(endpoint)}")


def _twists_of(endpoint: Endpoint) -> list[str]:
    if endpoint == "token":
        return [LOSE_ANSWER]
    return [LOSE_ANSWER, VOID_TOKEN, NO_CHECKOUT_ID] if endpoint == "push" else [LOSE_ANSWER, VOID_TOKEN]


def _names_for(endpoint: Endpoint) -> str:
    names = [
        TRUTH,
        *ERRORS,
        *PAGES,
        *_twists_of(endpoint),
        f"stall:SECONDS (up to {MAX_STALL_SECONDS:.0f})",
    ]
    if endpoint == "query":
        names.append(f"any result code, such as {', '.join(list(RESULT_TEXTS)[:3])}")
    return f"There are: {', '.join(names)}."


def _check_delivery_fault(kind: DeliveryKind, delivery_fault: str) -> None:
    """Raise UnknownFault, with the names that exist, if there is no such delivery fault."""
    late = LATE.fullmatch(delivery_fault)
    is_late = late is not None and float(late[1] or 0) <= MAX_LATE_SECONDS
    if not is_late and delivery_fault not in _DELIVERY_FAULTS[kind]:
        names = ", ".join((*_DELIVERY_FAULTS[kind], "late", f"late:SECONDS (up to {MAX_LATE_SECONDS})"))
        raise UnknownFault(f"There is no fault {delivery_fault[:40]!r} for a {kind}. There are: {names}.")

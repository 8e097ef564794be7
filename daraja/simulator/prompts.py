"""Prompts on phones: what a push becomes, and the bounded store that keeps them."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from daraja.simulator.answers import refusal
from daraja.simulator.outcomes import PAID, Script

MAX_OPEN_PROMPTS = 10_000
MAX_CLOSED_PROMPTS = 30_000
_MAX_DELIVERIES = 20


class UnknownPrompt(LookupError):
    """No prompt with that id is kept; the simulator forgets the oldest closed ones and everything at a reset."""


class PromptClosed(RuntimeError):
    """The prompt was answered or cancelled, or has expired."""


@dataclass(frozen=True, slots=True)
class PromptOutcome:
    """How a prompt ended; `receipt` is the M-Pesa receipt if money moved, else None."""

    code: str
    at: datetime
    receipt: str | None
    balance_shillings: int


@dataclass(slots=True)
class StkPrompt:
    """One accepted push.

    `outcome` is None while the prompt is on the phone; `deliveries` has the status of each callback.
    """

    checkout_request_id: str = field(repr=False)
    merchant_request_id: str
    phone: str = field(repr=False)
    amount_shillings: int
    account_reference: str
    description: str
    callback_url: str = field(repr=False)
    opened_at: datetime
    expires_at: datetime
    script: Script
    is_till: bool = False
    outcome: PromptOutcome | None = None
    deliveries: deque[str] = field(default_factory=lambda: deque(maxlen=_MAX_DELIVERIES))

    @property
    def is_open(self) -> bool:
        """Whether the phone still shows it."""
        return self.outcome is None

    @property
    def is_paid(self) -> bool:
        """Whether the money moved, whatever any callback said."""
        return self.outcome is not None and self.outcome.code == PAID


class PromptBook:
    """Every open prompt, one a phone, and the last closed ones; not thread-safe, its owner holds a lock."""

    def __init__(self) -> None:
        self._by_id: dict[str, StkPrompt] = {}
        self._open_by_phone: OrderedDict[str, StkPrompt] = OrderedDict()
        self._closed: deque[StkPrompt] = deque()

    def __contains__(self, checkout_request_id: object) -> bool:
        return checkout_request_id in self._by_id

    @property
    def open_count(self) -> int:
        """How many phones show a prompt."""
        return len(self._open_by_phone)

    def check_free(self, phone: str) -> None:
        """Raise GatewayRefusal if the phone shows a prompt already, or if there are too many."""
        if phone in self._open_by_phone:
            raise refusal("subscriber-locked")
        if len(self._open_by_phone) >= MAX_OPEN_PROMPTS:
            raise refusal("busy")

    def open(self, prompt: StkPrompt) -> None:
        """Keep a new prompt; its phone is then busy."""
        self._by_id[prompt.checkout_request_id] = prompt
        self._open_by_phone[prompt.phone] = prompt

    def close(self, prompt: StkPrompt, outcome: PromptOutcome) -> None:
        """End a prompt and free its phone; the oldest closed prompt is forgotten beyond the limit."""
        prompt.outcome = outcome
        del self._open_by_phone[prompt.phone]
        self._closed.append(prompt)
        if len(self._closed) > MAX_CLOSED_PROMPTS:
            del self._by_id[self._closed.popleft().checkout_request_id]

    def get(self, checkout_request_id: str) -> StkPrompt:
        """Return a prompt; raise UnknownPrompt."""
        try:
            return self._by_id[checkout_request_id]
        except KeyError:
            raise UnknownPrompt("No such prompt; it may be too old, or from before a reset.") from None

    def __iter__(self) -> Iterator[StkPrompt]:
        """Closed ones first, each group oldest first."""
        yield from self._closed
        yield from self._open_by_phone.values()

    def newest(self, phone: str | None, limit: int, open_only: bool) -> list[StkPrompt]:
        """Return open prompts, then closed ones, each newest first, at most `limit` in all."""
        kept = (prompt for prompt in self._newest_first(open_only) if phone in (None, prompt.phone))
        return list(islice(kept, limit))

    def _newest_first(self, open_only: bool) -> Iterator[StkPrompt]:
        yield from reversed(self._open_by_phone.values())
        if not open_only:
            yield from reversed(self._closed)

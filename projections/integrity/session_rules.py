"""What must always be true of one session, asked of its events and of its row."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from ledger.session import events
from ledger.session.events import Event
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import Status
from ledger.store.canonical import GENESIS, chained_hash, event_digest
from projections.follower import Recorded, recorded

LEGAL_MOVES: dict[Status | None, set[Status]] = {
    None: {Status.PENDING},
    Status.PENDING: {Status.PAYMENT_INITIATED, Status.PAID, Status.FAILED, Status.EXPIRED},
    Status.PAYMENT_INITIATED: {Status.PAID, Status.FAILED},
    Status.PAID: {Status.ORDER_CREATED, Status.FAILED},
    Status.FAILED: {Status.PAID},
    Status.EXPIRED: {Status.PAID},
    Status.ORDER_CREATED: set(),
}
"""From where to where a session may go. Money that arrives late makes even a failed or expired session paid."""

CLOCKS_MAY_DIFFER = timedelta(seconds=2)
"""Machines disagree by so much; and the right to prompt a phone is taken a moment before the attempt is written."""

_CLOSES_AN_ATTEMPT = (
    events.PaymentRefused,
    events.AttemptFailed,
    events.Failed,
    events.Paid,
    events.SurplusReceived,
)
_CREDITS = (events.Paid.TOPIC, events.SurplusReceived.TOPIC, events.ReceiptRecorded.TOPIC)
_MOMENTS = (
    "created_at",
    "expires_at",
    "last_requested_at",
    "initiated_at",
    "paid_at",
    "order_created_at",
    "ended_at",
    "updated_at",
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The time during which an attempt may be on a phone, and that phone's number, sealed."""

    began: datetime
    ended: datetime
    phone_sealed: str


@dataclass
class Life:
    """All that is written of one session: its rows of the log, and its status row, if there is one."""

    session_id: UUID
    log: list[dict[str, Any]]
    row: dict[str, Any] | None
    facts: list[Recorded] = field(init=False)
    events: list[Event] = field(init=False, default_factory=list)
    session: PaymentSession | None = None

    def __post_init__(self) -> None:
        self.facts = [recorded(entry) for entry in self.log]

    @property
    def received_cents(self) -> int:
        """What the events say has arrived."""
        arrived = (events.Paid.TOPIC, events.SurplusReceived.TOPIC)
        return sum(fact.state["amount_cents"] for fact in self.facts if fact.topic in arrived)

    @property
    def receipts(self) -> set[str]:
        """The M-Pesa receipts that this session was credited with."""
        return {fact.state["receipt"] for fact in self.facts if fact.topic in _CREDITS} - {None}

    def fold(self) -> Iterator[str]:
        """Load the session from its events; tell each move that is not legal on the way."""
        session: PaymentSession | None = None
        status: Status | None = None
        for fact in self.facts:
            event = fact.event
            session = event.mutate(session)
            assert session is not None
            self.events.append(event)
            if session.status != status and session.status not in LEGAL_MOVES[status]:
                yield f"version {fact.version} moves it from {status} to {session.status}"
            status = session.status
        self.session = session

    def prompts(self, prompt_seconds: int) -> list[Prompt]:
        """Return when the prompts of a folded session were live, each for `prompt_seconds` at most."""
        lasts = timedelta(seconds=prompt_seconds) - CLOCKS_MAY_DIFFER
        live: dict[int, Prompt] = {}
        for event in self.events:
            if isinstance(event, events.PaymentRequested):
                began = event.timestamp
                live[event.attempt] = Prompt(began, began + lasts, event.phone_sealed)
            elif isinstance(event, events.SurplusReceived) and not event.answers_attempt:
                continue
            elif isinstance(event, _CLOSES_AN_ATTEMPT) and event.attempt in live:
                prompt = live[event.attempt]
                ended = min(prompt.ended, event.timestamp - CLOCKS_MAY_DIFFER)
                live[event.attempt] = Prompt(prompt.began, ended, prompt.phone_sealed)
        return list(live.values())


def versions(life: Life) -> Iterator[str]:
    """Versions run 1, 2, 3, ... and positions rise with them."""
    if [fact.version for fact in life.facts] != list(range(1, len(life.facts) + 1)):
        yield "its versions do not run 1, 2, 3, ..."
    positions = [fact.position for fact in life.facts]
    if any(later <= earlier for earlier, later in pairwise(positions)):
        yield "its positions do not rise with its versions"


def hash_chain(life: Life) -> Iterator[str]:
    """Each event carries the hash of the one before, and its own fits its content."""
    previous = GENESIS
    for entry, fact in zip(life.log, life.facts, strict=True):
        digest = event_digest(life.session_id, fact.version, fact.topic, fact.state)
        if bytes(entry["previous_hash"]) != previous:
            yield f"version {fact.version} does not carry the hash of the one before"
        if bytes(entry["hash"]) != chained_hash(bytes(entry["previous_hash"]), digest):
            yield f"version {fact.version} was altered after it was written"
        previous = bytes(entry["hash"])


def paid_once(life: Life) -> Iterator[str]:
    """The money that was asked for arrives once; whatever comes after is surplus."""
    if sum(fact.topic == events.Paid.TOPIC for fact in life.facts) > 1:
        yield "it is Paid more than once"
    named = [fact.state["receipt"] for fact in life.facts if fact.topic in _CREDITS and fact.state["receipt"]]
    if len(named) != len(set(named)):
        yield "one receipt is credited more than once"


def money(life: Life, session: PaymentSession) -> Iterator[str]:
    """What was received is an order's, or on its way to one, or going back: to the cent."""
    kept = session.totals.total_cents if session.status in (Status.PAID, Status.ORDER_CREATED) else 0
    owed = sum(refund.amount_cents for refund in session.refunds.values())
    if life.received_cents != kept + owed:
        yield f"{life.received_cents} cents were received, {kept} kept for its order, {owed} owed or sent back"
    if (session.order is not None) != (session.status == Status.ORDER_CREATED):
        yield f"it is {session.status}, and its order is {session.order}"


def row_is_fold(life: Life, session: PaymentSession) -> Iterator[str]:
    """The status row is what its events come to, column for column."""
    if life.row is None:
        yield "it has events and no row in payment_sessions"
        return
    expected: dict[str, Any] = status_row(session) | {"session_id": life.session_id}
    for name in _MOMENTS:
        expected[name] = expected[name] and datetime.fromisoformat(expected[name])
    for name in expected.keys() | life.row.keys():
        if name not in expected or name not in life.row or expected[name] != life.row[name]:
            yield f"{name} in payment_sessions is not what its events say"


def one_prompt_at_a_time(prompts: list[Prompt]) -> Iterator[str]:
    """No prompt begins while another is live; one that was over at once, as far as clocks can tell, was never live."""
    lived = [prompt for prompt in prompts if prompt.ended > prompt.began]
    ordered = sorted(lived, key=lambda prompt: prompt.began)
    for earlier, later in pairwise(ordered):
        if later.began < earlier.ended:
            yield f"a prompt began at {later.began.isoformat()} while another was live"

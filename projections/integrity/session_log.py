"""One session as it is stored, and the transitions that its events may make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.adapt import Dumper

from ledger.session import events
from ledger.session.events import Event
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from ledger.store.canonical import UNREADABLE
from projections.follower import Recorded, recorded
from projections.integrity.violations import PromptWindow, Violation

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

_UUIDS = psycopg.postgres.types["uuid"].array_oid

CREDITS = (events.Paid.TOPIC, events.SurplusReceived.TOPIC, events.ReceiptRecorded.TOPIC)


class SessionIds(list[UUID]):
    """The sessions that are checked together; they are written for PostgreSQL once, and asked for in each table."""

    def __init__(self, session_ids: Sequence[UUID]) -> None:
        super().__init__(session_ids)
        self.text = f"{{{','.join(map(str, self))}}}".encode()


class _IdsDumper(Dumper):
    oid = _UUIDS

    def dump(self, obj: SessionIds) -> bytes:
        """Return the text that was made of them."""
        return obj.text


psycopg.adapters.register_dumper(SessionIds, _IdsDumper)


@dataclass(slots=True)
class SessionLog:
    """All that is stored of one session: its rows of the log, oldest first, and its status row, if there is one.

    `events` and `session` are there once it is folded, `prompts` after that; `opens` says whether an encrypted value of
    it does.
    """

    session_id: UUID
    rows: list[dict[str, Any]]
    status_row: Mapping[str, Any] | None
    recorded: list[Recorded] = field(init=False)
    events: list[Event] = field(init=False, default_factory=list)
    session: PaymentSession | None = None
    prompts: Sequence[PromptWindow] = ()
    opens: bool = False

    def __post_init__(self) -> None:
        try:
            self.recorded = [recorded(row) for row in self.rows]
        except UNREADABLE:
            self.recorded = []

    @property
    def is_decoded(self) -> bool:
        """Whether the states of its events are JSON that can be decoded."""
        return len(self.recorded) == len(self.rows)

    @property
    def is_readable(self) -> bool:
        """Whether it was folded, or there is nothing to fold."""
        return self.session is not None or not self.rows

    @property
    def folded(self) -> PaymentSession:
        """The session that its events come to, once it is folded."""
        assert self.session is not None
        return self.session

    @property
    def maker(self) -> str:
        """The actor of its first event, "" if that names none."""
        metadata = self.rows and self.rows[0]["metadata"]
        return str(msgspec.json.decode(metadata).get("actor", "")) if metadata else ""

    def cut(self, number: int) -> None:
        """Forget all but the first events."""
        self.rows, self.recorded = self.rows[:number], self.recorded[:number]

    def receipts(self) -> list[str]:
        """Return the M-Pesa receipts of its credits, one for each event that names one."""
        receipts = [event.state["receipt"] for event in self.recorded if event.topic in CREDITS]
        return [receipt for receipt in receipts if receipt is not None]

    def followed(self, until: int) -> list[Recorded]:
        """Return the events up to a position, in their order."""
        if not self.recorded or self.recorded[-1].position <= until:
            return self.recorded
        return [event for event in self.recorded if event.position <= until]

    def violation(self, rule: str, detail: str) -> Violation:
        """Return a violation of this session."""
        return Violation(rule, detail, self.session_id)

    def fold(self) -> Iterator[Violation]:
        """Load the session from its events; report each transition on the way that is not legal."""
        session: PaymentSession | None = None
        status: Status | None = None
        for entry, row in zip(self.recorded, self.rows, strict=True):
            event = entry.event_of(row["state"].encode())
            session = event.mutate(session)
            assert session is not None
            self.events.append(event)
            if session.status != status and session.status not in LEGAL_MOVES[status]:
                detail = f"version {entry.version} moves it from {status} to {session.status}"
                yield self.violation("transitions", detail)
            status = session.status
        self.session = session

"""The event history of one session, straight from the log: for its owner, for an auditor, and as a timeline."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec

from ledger.clock import NAIROBI
from ledger.money import Money
from ledger.session import events
from ledger.session.events import Event
from ledger.session.session import PaymentSession
from ledger.store.canonical import UNREADABLE
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from projections.event_descriptions import clock_time, describe
from projections.follower import Recorded, recorded

_EVENTS = f"""
SELECT session_id, version, topic, state::text AS state, metadata::text AS metadata, recorded_at, previous_hash,
       {COLUMNS}
FROM payment_events
"""  # noqa: S608 - made of names of our own
HISTORY = f"{_EVENTS} WHERE session_id = %s ORDER BY version"
HISTORIES = f"{_EVENTS} WHERE session_id = ANY(%s) ORDER BY session_id, version"

FORGED = "Forged"
"""The name of an event that is not ours as it stands: it does not carry our MAC, or its content was altered."""

ENCRYPTED_FIELDS = "_sealed"
"""The end of the names of encrypted fields, which no view shows."""

OWNERS_FIELDS: dict[type[Event], tuple[str, ...]] = {
    events.Created: ("expires_at",),
    events.Extended: ("expires_at",),
    events.PaymentRequested: ("attempt", "transaction_id", "amount_cents"),
    events.PaymentInitiated: ("attempt",),
    events.PaymentRefused: ("attempt",),
    events.PaymentUncertain: ("attempt",),
    events.AttemptFailed: ("attempt", "code", "text"),
    events.Paid: ("attempt", "receipt", "amount_cents", "paid_at"),
    events.ReceiptRecorded: ("attempt", "receipt"),
    events.EvidenceUpgraded: ("attempt", "receipt"),
    events.DiscrepancyFound: ("attempt", "about"),
    events.DiscrepancyClosed: (),
    events.OrderCreated: ("order_id", "order_number"),
    events.Failed: ("attempt", "code", "text", "money_held"),
    events.Expired: (),
    events.SurplusReceived: ("attempt", "receipt", "amount_cents", "paid_at", "why"),
    events.RefundDue: ("refund", "amount_cents", "receipt", "why"),
    events.RefundApproved: ("refund",),
    events.RefundRefused: ("refund",),
    events.RefundRequested: ("refund",),
    events.RefundAccepted: ("refund",),
    events.RefundUncertain: ("refund",),
    events.Refunded: ("refund", "reversal_receipt", "means"),
    events.RefundFailed: ("refund",),
    events.PaymentReversed: ("refund", "amount_cents", "receipt", "reversal_receipt"),
}
"""The fields of each event that the owner of a session may see."""

_CENTS = "_cents"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a session as the log holds it.

    `state` is its JSON, `metadata` what caused it (empty in events of format 1), `position` a decimal text (it outgrows
    what JSON numbers keep exactly), the hashes are hex. `event` is None if it is forged: then it may be of any form.
    """

    session_id: UUID
    version: int
    topic: str
    event: Event | None
    state: Any
    recorded_at: datetime
    position: str
    previous_hash: str
    hash: str
    metadata: dict[str, str]

    @property
    def name(self) -> str:
        """The public name of its kind, such as PaymentRequested."""
        return events.PUBLIC_NAMES[type(self.event)] if self.event else FORGED

    @property
    def recorded(self) -> Recorded:
        """The event as projections take it."""
        return Recorded(
            self.session_id, self.version, self.topic, self.state, int(self.position), self.recorded_at
        )

    @property
    def happened_at(self) -> datetime:
        """The moment that the event itself names, or of its record if it is forged."""
        return self.event.timestamp if self.event else self.recorded_at


def history(database: Database, macs: EventMacs, session_id: UUID) -> list[Entry]:
    """Return every event of a session in order, forged ones too; none if there is no such session."""
    return entries_of(macs, session_id, rows_of_events(database, session_id))


def histories(database: Database, macs: EventMacs, session_ids: Collection[UUID]) -> dict[UUID, list[Entry]]:
    """Return what `history` returns of each of some hundred sessions; one without events is left out."""
    with database.connection() as connection:
        rows = connection.execute(HISTORIES, (list(session_ids),)).fetchall()
    by_session = groupby(rows, key=itemgetter("session_id"))
    return {session_id: entries_of(macs, session_id, list(found)) for session_id, found in by_session}


def rows_of_events(database: Database, session_id: UUID) -> list[dict[str, Any]]:
    """Return the rows of a session's events in order, unchecked."""
    with database.connection() as connection:
        return connection.execute(HISTORY, (session_id,), prepare=True).fetchall()


def entries_of(macs: EventMacs, session_id: UUID, rows: Sequence[dict[str, Any]]) -> list[Entry]:
    """Return the events of a session's rows, from the first on, forged ones too."""
    judged = zip(rows, macs.are_genuine(session_id, rows), strict=True)
    return [entry_of(row, is_genuine=is_genuine) for row, is_genuine in judged]


def entries_of_genuine(rows: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the events of rows that were found to be genuine: by `Ledger.session_of_rows`, which refuses others."""
    return [entry_of(row, is_genuine=True) for row in rows]


def for_owner(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return what the owner may see of events: amounts as text in shillings, no internals, nothing forged."""
    return [_for_owner(entry, entry.event) for entry in entries if entry.event]


def _for_owner(entry: Entry, event: Event) -> dict[str, Any]:
    shown = {name: entry.state[name] for name in OWNERS_FIELDS[type(event)]}
    if isinstance(event, events.Created):
        shown["total_cents"] = event.totals.total_cents
    details = {
        name.removesuffix(_CENTS): str(Money(value)) if name.endswith(_CENTS) else value
        for name, value in shown.items()
    }
    return {
        "version": entry.version,
        "event": entry.name,
        "happened_at": _moment(entry.happened_at),
        "details": details,
    }


def for_auditor(entry: Entry) -> dict[str, Any]:
    """Return all of an event but its encrypted fields; amounts in cents, as the log has them."""
    return {
        "session_id": str(entry.session_id),
        "version": entry.version,
        "event": entry.name,
        "topic": entry.topic,
        "happened_at": _moment(entry.happened_at),
        "recorded_at": _moment(entry.recorded_at),
        "position": entry.position,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
        "is_genuine": entry.event is not None,
        "caused_by": entry.metadata,
        "state": _in_the_clear(entry.state),
    }


def _in_the_clear(value: Any) -> Any:
    """Return JSON without its encrypted fields, at any depth."""
    if isinstance(value, dict):
        return {
            name: _in_the_clear(part) for name, part in value.items() if not name.endswith(ENCRYPTED_FIELDS)
        }
    return [_in_the_clear(part) for part in value] if isinstance(value, list) else value


def timeline(entries: Sequence[Entry]) -> list[str]:
    """Return a line for each event, under the day on which it happened, in Nairobi."""
    lines: list[str] = []
    session: PaymentSession | None = None
    day, status = "", None
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        today = f"{entry.happened_at.astimezone(NAIROBI):%A %-d %B %Y} (Nairobi)"
        if today != day:
            lines.append(today)
            day = today
        time = clock_time(entry.happened_at)
        if entry.event is None:
            lines.append(
                f"{time}  {entry.name:<{width}}  {entry.topic} is not genuine: somebody else wrote it, or altered it"
            )
            continue
        session = entry.event.mutate(session)
        assert session is not None
        moved = "" if session.status == status else f"  → {session.status}"
        status = session.status
        lines.append(f"{time}  {entry.name:<{width}}  {describe(entry.event)}{moved}")
    return lines


def _moment(moment: datetime) -> str:
    """Show a moment as the log's own JSON does."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def entry_of(row: dict[str, Any], *, is_genuine: bool) -> Entry:
    """Return the event of one row of the log, with the columns of HISTORY. A forged one may be too odd to be shown."""
    try:
        event = recorded(row)
        metadata = msgspec.json.decode(row["metadata"] or "{}")
    except UNREADABLE:
        if is_genuine:
            raise
        event, metadata = recorded(row | {"state": "null"}), {}
    return Entry(
        event.session_id,
        event.version,
        event.topic,
        event.event if is_genuine else None,
        event.state,
        event.recorded_at,
        str(event.position),
        row["previous_hash"].hex(),
        row["hash"].hex(),
        metadata,
    )

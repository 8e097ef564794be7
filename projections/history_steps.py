"""A session step by step: what it was after each of its events, or at a moment, folded from the log alone."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any
from uuid import UUID

from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import AttemptState, Status
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from projections.event_descriptions import describe
from projections.history import Entry, histories
from projections.sessions import SessionRow

_OF_THE_ROW = tuple(
    name
    for name in SessionRow.__dataclass_fields__
    if name not in ("next_check_at", "refusal", "phone_sealed")
)


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a session, what happened in words, and the status row after it, as SessionRow.

    `session_row` is what its buyer was shown of it at the moment of its record, `state` all columns of the status row;
    `moved_to` is the status, if this event changed it. All but the entry is None from the first forged event on.
    """

    entry: Entry
    words: str | None
    moved_to: Status | None
    state: dict[str, Any] | None
    session_row: SessionRow | None


def steps(entries: Sequence[Entry]) -> Iterator[Step]:
    """Yield the steps of a session; a forged event, and what follows it, is one without words and state."""
    session: PaymentSession | None = None
    refusal: tuple[str, datetime] | None = None
    status, is_forged = None, False
    for entry in entries:
        is_forged = is_forged or entry.event is None
        if is_forged or entry.event is None:
            yield Step(entry, None, None, None, None)
            continue
        session = entry.event.mutate(session)
        assert session is not None
        if isinstance(entry.event, events.PaymentRefused):
            refusal = entry.event.code, entry.event.timestamp
        row = status_row(session)
        moved_to = session.status if session.status != status else None
        status = session.status
        shown = _row_at(session, row, refusal, entry.recorded_at)
        yield Step(entry, describe(entry.event), moved_to, row, shown)


def step_at(entries: Sequence[Entry], moment: datetime) -> Step | None:
    """Return the last step of these events, as the session read at a moment; None without a genuine event.

    What only tables of work know, such as when M-Pesa was to be asked next, is not kept: it is None.
    """
    last: Step | None = None
    for step in steps(entries):
        last = step if step.session_row else last
    if last is None or last.session_row is None:
        return None
    row = last.session_row
    is_over = row.session_status == Status.PENDING and not row.open_attempts and row.expires_at <= moment
    return replace(last, session_row=replace(row, session_status=Status.EXPIRED)) if is_over else last


def steps_at(
    database: Database, macs: EventMacs, session_ids: Collection[UUID], moment: datetime
) -> dict[UUID, Step]:
    """Return `step_at` of some hundred sessions by what was recorded until a moment; those without any are left out."""
    found = {
        session_id: step_at(entries_until(entries, as_of=moment), moment)
        for session_id, entries in histories(database, macs, session_ids).items()
    }
    return {session_id: step for session_id, step in found.items() if step is not None}


def sessions_at(
    database: Database, macs: EventMacs, session_ids: Collection[UUID], as_of: datetime | None
) -> dict[UUID, PaymentSession]:
    """Return some hundred sessions as `folded` from what was recorded until a moment, None being all that is stored.

    Those without a genuine event are left out.
    """
    found = {
        session_id: folded(entries_until(entries, as_of=as_of))
        for session_id, entries in histories(database, macs, session_ids).items()
    }
    return {session_id: session for session_id, session in found.items() if session is not None}


def entries_until(
    entries: Sequence[Entry], *, as_of: datetime | None = None, at_version: int | None = None
) -> list[Entry]:
    """Return the events before the first that was recorded after a moment, or is beyond a version."""

    def is_known(entry: Entry) -> bool:
        is_recorded = as_of is None or entry.recorded_at <= as_of
        return is_recorded and (at_version is None or entry.version <= at_version)

    return list(takewhile(is_known, entries))


def folded(entries: Sequence[Entry]) -> PaymentSession | None:
    """Return the session that genuine events come to, up to the first forged one; None if there is none."""
    session: PaymentSession | None = None
    for entry in entries:
        if entry.event is None:
            break
        session = entry.event.mutate(session)
    return session


def _row_at(
    session: PaymentSession, row: dict[str, Any], refusal: tuple[str, datetime] | None, moment: datetime
) -> SessionRow:
    is_refused = row["last_attempt_state"] == AttemptState.REFUSED and session.is_undecided
    values = {name: row[name] for name in _OF_THE_ROW} | {
        "session_status": session.status_at(moment),
        "last_attempt_state": row["last_attempt_state"] and AttemptState(row["last_attempt_state"]),
        "next_check_at": None,
        "refusal": refusal if is_refused else None,
        "phone_sealed": None,
    }
    return SessionRow(**values)

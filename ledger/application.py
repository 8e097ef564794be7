"""The ledger's one way to write: load a session, decide, append; on a conflict reload and decide again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import structlog
from eventsourcing.application import Application
from eventsourcing.persistence import InfrastructureFactory, MapperDeserialisationError, StoredEvent
from eventsourcing.postgres import PostgresFactory
from eventsourcing.utils import Environment, EnvType

from ledger.errors import Conflict, NotFound
from ledger.session.events import PUBLIC_NAMES
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store import metadata
from ledger.store.canonical import canonical_json, chained_hashes
from ledger.store.counters import EVENTS
from ledger.store.database import Database
from ledger.store.event_macs import EventForged, EventMacs
from ledger.store.key_ring import KeyRing
from ledger.store.parts import Part, run_parts
from ledger.store.recorder import SessionRecorder, VersionConflict, rows_of_history, version_conflicts

Answer = TypeVar("Answer")

NOTHING: Mapping[str, Part] = {}

MAX_TRIES = 5
LOCK_MILLISECONDS = 300
"""How long a write of several rooms waits for a lock: who waits for its answer has another way, or tries again."""

WAIT_BRIEFLY = Part("set_config('lock_timeout', %s, true)", (f"{LOCK_MILLISECONDS}ms",))

_log = structlog.get_logger(__name__)

_LISTINGS_PART = """(
    SELECT array_agg((line->>'listing_id')::bigint) FROM payment_events, jsonb_array_elements(state->'lines') AS line
    WHERE session_id = %s AND version = 1
)"""
_RESERVE = "SELECT reserve_reference(%s, %s, %s) AS session_id"
_RESERVE_ALL = """
SELECT receipt, reserve_reference(receipt, %(kind)s, session_id) AS session_id
FROM unnest(%(receipts)s::text[], %(session_ids)s::uuid[]) AS reserved (receipt, session_id)
"""
_CLAIM = "claim_reference(%s, %s, %s)"
RECEIPT = "mpesa_receipt"
PAYOUT = "mpesa_payout"
"""The kinds of what is unique: receipts of payments, and receipts of payouts for refunds."""


class _Factory(PostgresFactory):
    """The library's factory, on a pool that the whole process shares."""

    def __init__(self, env: Environment, database: Database, macs: EventMacs) -> None:
        InfrastructureFactory.__init__(self, env)
        self.datastore = self._database = database
        self._macs = macs

    def application_recorder(self) -> SessionRecorder:
        """Return the recorder, which signs what it appends."""
        return SessionRecorder(self._database, self._macs)


class Ledger(Application[UUID]):
    """Loads sessions, and writes what is decided about them. Safe to share between threads."""

    name = "payment"
    recorder: SessionRecorder
    env: ClassVar[dict[str, str]] = {
        "MAPPER_TOPIC": "ledger.store.mapper:SessionMapper",
        "CREATE_TABLE": "n",
    }

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self.database = database
        self.macs = EventMacs(database, keys)
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:  # noqa: ARG002 - the library's signature
        """Return the settings above alone: no variable of the machine changes how the log is written."""
        return Environment(name, dict(self.env))

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """Return a factory on the shared pool."""
        return _Factory(env, self.database, self.macs)

    def session(self, session_id: UUID, *, user_id: int | None = None) -> PaymentSession:
        """Return the session as it stands now, from events that all carry our MAC.

        Raises NotFound if there is none, or if `user_id` is given and it is another's, EventForged, and Unavailable.
        """
        return self.session_of_rows(session_id, self.recorder.history(session_id), user_id)

    def sessions(self, session_ids: Collection[UUID]) -> dict[UUID, PaymentSession]:
        """Return sessions by their ids, read at once.

        One that does not exist, or has an event that is not ours or cannot be read, is left out: `session` says why.
        Raises Unavailable.
        """
        found = {}
        for session_id, rows in self.recorder.histories(session_ids).items():
            with suppress(EventForged, MapperDeserialisationError):
                found[session_id] = self.session_of_rows(session_id, rows, None)
        return found

    def write(self, parts: Mapping[str, Part]) -> dict[str, Any]:
        """Do all parts in their order: what a command decides, in one commit. Return their values.

        Where one fails, or waits for a lock for longer than LOCK_MILLISECONDS, nothing has happened. Raises
        VersionConflict if another writer of the session was first; Unavailable, of which ConnectionLost leaves open
        whether everything happened; and what PostgreSQL says about a part that refuses.
        """
        with version_conflicts(), self.database.connection() as connection:
            return run_parts(connection, {"waits": WAIT_BRIEFLY, **parts})

    def history_part(self, session_id: UUID) -> Part:
        """Return the part of a statement that reads a session's events; `session_of` loads its value."""
        return self.recorder.history_part(session_id)

    def session_of(
        self, session_id: UUID, history: str | None, *, user_id: int | None = None
    ) -> PaymentSession:
        """Return the session of the value of its `history_part`; raises what `session` does, but Unavailable."""
        return self.session_of_rows(session_id, rows_of_history(history), user_id)

    def session_of_rows(
        self, session_id: UUID, rows: Sequence[Mapping[str, Any]], user_id: int | None
    ) -> PaymentSession:
        """Return the session of the rows of its events as read by another; raises what `session_of` does."""
        if not rows:
            raise no_such_session()
        last_hash = self.macs.require_genuine(session_id, rows)
        session = self._fold(session_id, rows)
        session.last_hash = last_hash
        if user_id is not None and session.user_id != user_id:
            raise no_such_session()
        return session

    def add(self, session: PaymentSession, beside: Mapping[str, Part] = NOTHING) -> bool:
        """Append a new session; return False, and write nothing, if one with its id exists.

        `beside` are parts of other rooms, written in the same commit. Raises what they refuse with.
        """
        try:
            self._append(session, beside)
        except VersionConflict:
            return False
        return True

    def decide(
        self,
        session_id: UUID,
        command: Callable[[PaymentSession], Answer],
        *,
        user_id: int | None = None,
        known: PaymentSession | None = None,
        beside: Callable[[PaymentSession, Answer], Mapping[str, Part]] = lambda _, __: NOTHING,
    ) -> tuple[PaymentSession, Answer]:
        """Load, run `command` on the session, append what it wrote; return the session and the answer.

        `command` runs again on the reloaded session where another writer was first, so it must have no effect
        beside the session. `known` is the session as the caller loaded it a moment ago, and spares the first load:
        where it is stale by now, the append finds out; go on with the session returned. `beside` returns the parts of
        other rooms that are written in the commit of the events; without events, none are. Raises what `command` raises
        and the parts refuse with, NotFound, Unavailable, and Conflict after several tries.
        """
        for _ in range(MAX_TRIES):
            session = known or self.session(session_id, user_id=user_id)
            known = None
            answer = command(session)
            if not session.pending_events:
                return session, answer
            try:
                self._append(session, beside(session, answer))
            except VersionConflict:
                continue
            return session, answer
        raise Conflict

    def _fold(self, session_id: UUID, rows: Iterable[Mapping[str, Any]]) -> PaymentSession:
        session: Any = None
        for row in rows:
            stored = StoredEvent(session_id, row["version"], row["topic"], row["state"].encode())
            event: Any = self.mapper.to_domain_event(stored)
            session = event.mutate(session)
        assert isinstance(session, PaymentSession)
        return session

    def _append(self, session: PaymentSession, beside: Mapping[str, Part] = NOTHING) -> None:
        """Append the new events with the session's new row and what caused them, in one commit; log their position."""
        append = Append(self, session)
        append.collect()
        positions = self.recorder.insert_events(
            append.events, part=append.part(), hashes=append.hashes, beside=beside
        )
        append.written(positions[-1])

    def append_together(self, appends: Sequence["Append"]) -> None:
        """Append what was decided about several sessions, in one commit; give them in the order of their ids.

        So two who write the same sessions never wait for each other in a circle. Where one session was written by
        another meanwhile, or is locked for longer than LOCK_MILLISECONDS, none is written. Raises VersionConflict,
        Conflict, Unavailable.
        """
        positions = self.recorder.insert_together([append.row() for append in appends], WAIT_BRIEFLY)
        for append, position in zip(appends, positions, strict=True):
            append.written(position)

    def reserve_receipts(self, session_of_receipt: Mapping[str, UUID]) -> dict[str, UUID]:
        """Claim M-Pesa receipts for sessions, as `reserve_receipt` does; return whose each of them is."""
        in_order = sorted(session_of_receipt)
        values = {"receipts": in_order, "session_ids": [session_of_receipt[receipt] for receipt in in_order]}
        with self.database.connection() as connection:
            rows = connection.execute(_RESERVE_ALL, values | {"kind": RECEIPT}).fetchall()
        return {row["receipt"]: row["session_id"] for row in rows}

    def reserve_receipt(self, receipt: str, session_id: UUID) -> bool:
        """Claim an M-Pesa receipt for a session; return whether it is this session's.

        May be repeated. A receipt belongs to one session in the whole system, by constraint.
        """
        return self.reserve(receipt, RECEIPT, session_id)

    def receipt_part(self, receipt: str, session_id: UUID) -> Part:
        """Return the part of a statement that claims a receipt for a session; it fails if it is another session's."""
        return Part(_CLAIM, (receipt, RECEIPT, session_id))

    def reserve(self, value: str, kind: str, session_id: UUID) -> bool:
        """Claim what is unique of its kind in the whole system for a session; return whether it is this session's."""
        with self.database.connection() as connection:
            row = connection.execute(_RESERVE, (value, kind, session_id)).fetchone()
        return row is not None and row["session_id"] == session_id


class Append:
    """The new events of a session, to be written by one statement, perhaps with parts of other rooms.

    `collect` them as they are decided, run `part` inside `version_conflicts`, then say that they are `written`.
    """

    def __init__(self, ledger: Ledger, session: PaymentSession) -> None:
        self.events: list[StoredEvent] = []
        self.hashes: list[bytes] = []
        self._ledger = ledger
        self._session = session
        self._names: list[str] = []
        self._metadata: list[bytes] = []

    @property
    def session_id(self) -> UUID:
        """Whose events they are."""
        return self._session.id

    def collect(self) -> None:
        """Take the events that were decided since the last call; what is said now caused them."""
        self._names += [PUBLIC_NAMES[type(event)] for event in self._session.pending_events]
        # Not by save(): its runtime protocol checks of every object take a millisecond.
        stored = [self._ledger.mapper.to_stored_event(event) for event in self._session.collect_events()]
        cause = canonical_json(metadata.current())
        previous = self.hashes[-1] if self.hashes else self._session.last_hash
        self.hashes += chained_hashes(stored, cause, previous)
        self.events += stored
        self._metadata += [cause] * len(stored)

    def part(self) -> Part:
        """Return the part that appends the events and moves the session's row; its value is the last position."""
        row = status_row(self._session)
        return self._ledger.recorder.append_part(
            self.events, row=row, metadata=self._metadata, hashes=self.hashes
        )

    def row(self) -> dict[str, Any]:
        """Return the same for a statement that appends to several sessions: values that JSON can tell."""
        row = status_row(self._session)
        return self._ledger.recorder.append_row(
            self.events, row=row, metadata=self._metadata, hashes=self.hashes
        )

    def written(self, position: int) -> None:
        """Log that the events are in the log, the last of them at this position."""
        self._session.last_hash = self.hashes[-1]
        for name in self._names:
            EVENTS.add(name)
        _log.info(
            "appended",
            session_id=str(self._session.id),
            version=self._session.version,
            position=str(position),
            events=self._names,
        )


def listings_of(session_id: UUID) -> Part:
    """Return the part of a statement whose value is the listings of a session's lines, as a bigint[]."""
    return Part(_LISTINGS_PART, (session_id,))


def no_such_session() -> NotFound:
    """Return the same refusal for a session that does not exist and for another's."""
    return NotFound("There is no such payment session.", code="SESSION_NOT_FOUND")

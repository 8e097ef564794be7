"""The ledger's one way to write: load a session, decide, append; on a conflict reload and decide again."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import structlog
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.postgres import PostgresFactory
from eventsourcing.utils import Environment, EnvType

from ledger.errors import Conflict, NotFound
from ledger.session.events import PUBLIC_NAMES
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.database import Database
from ledger.store.recorder import VersionConflict

Answer = TypeVar("Answer")

MAX_TRIES = 5

_log = structlog.get_logger(__name__)

_RESERVE = "SELECT reserve_reference(%s, %s, %s) AS session_id"
RECEIPT = "mpesa_receipt"


class _Factory(PostgresFactory):
    """The library's factory, on a pool that the whole process shares."""

    def __init__(self, env: Environment, database: Database) -> None:
        InfrastructureFactory.__init__(self, env)
        self.datastore = database


class Ledger(Application[UUID]):
    """Loads sessions, and writes what is decided about them. Safe to share between threads."""

    name = "payment"
    env: ClassVar[dict[str, str]] = {
        "APPLICATION_RECORDER_TOPIC": "ledger.store.recorder:SessionRecorder",
        "MAPPER_TOPIC": "ledger.store.mapper:SessionMapper",
        "CREATE_TABLE": "n",
    }

    def __init__(self, database: Database) -> None:
        self.database = database
        super().__init__()

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:  # noqa: ARG002 - the library's signature
        """Return the settings above alone: no variable of the machine changes how the log is written."""
        return Environment(name, dict(self.env))

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        """Return a factory on the shared pool."""
        return _Factory(env, self.database)

    def session(self, session_id: UUID, *, user_id: int | None = None) -> PaymentSession:
        """Return the session as it stands now.

        Raises NotFound if there is none, or if `user_id` is given and it is another's.
        """
        try:
            session: PaymentSession = self.repository.get(session_id, projector_func=_project)
        except AggregateNotFoundError:
            raise no_such_session() from None
        if user_id is not None and session.user_id != user_id:
            raise no_such_session()
        return session

    def add(self, session: PaymentSession) -> bool:
        """Append a new session; return False, and write nothing, if one with its id exists."""
        try:
            self._append(session)
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
    ) -> tuple[PaymentSession, Answer]:
        """Load, run `command` on the session, append what it wrote; return the session and the answer.

        `command` runs again on the reloaded session where another writer was first, so it must have no effect
        beside the session. `known` is the session as the caller loaded it a moment ago, and spares the first load:
        where it is stale by now, the append finds out; go on with the session returned. Raises what `command`
        raises, NotFound, Unavailable, and Conflict after several tries.
        """
        for _ in range(MAX_TRIES):
            session = known or self.session(session_id, user_id=user_id)
            known = None
            answer = command(session)
            if not session.pending_events:
                return session, answer
            try:
                self._append(session)
            except VersionConflict:
                continue
            return session, answer
        raise Conflict

    def _append(self, session: PaymentSession) -> None:
        """Append the new events with the session's new row, in one commit, and log their position."""
        events = [PUBLIC_NAMES[type(event)] for event in session.pending_events]
        # Not by save(): its runtime protocol checks of every object take a millisecond.
        recordings = self.events.put(session.collect_events(), row=status_row(session))
        position = str(recordings[-1].notification.id)
        _log.info(
            "appended", session_id=str(session.id), version=session.version, position=position, events=events
        )

    def reserve_receipt(self, receipt: str, session_id: UUID) -> bool:
        """Claim an M-Pesa receipt for a session; return whether it is this session's.

        May be repeated. A receipt belongs to one session in the whole system, by constraint.
        """
        with self.database.connection() as connection:
            row = connection.execute(_RESERVE, (receipt, RECEIPT, session_id)).fetchone()
        return row is not None and row["session_id"] == session_id


def no_such_session() -> NotFound:
    """Return the same refusal for a session that does not exist and for another's."""
    return NotFound("There is no such payment session.", code="SESSION_NOT_FOUND")


def _project(
    session: PaymentSession | None, history: Iterable[DomainEventProtocol[UUID]]
) -> PaymentSession | None:
    event: Any
    for event in history:
        session = event.mutate(session)
    return session

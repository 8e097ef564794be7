"""Many sessions at once: read by one statement, decided on in memory, written in one commit.

A session that cannot be written with the others, because somebody wrote it meanwhile or because it is at fault, holds
none of them up: the batch says which it was, and the caller tries that one again by itself.
"""

from collections.abc import Collection, Container, Sequence
from uuid import UUID

from ledger.application import Append, Ledger
from ledger.errors import DatabaseUnavailable
from ledger.session.session import PaymentSession

BATCH_SIZE = 500
"""How many sessions are written in one commit at most: it takes part of a second, and who waits for one gives up."""


class SessionBatch:
    """The sessions of some ids, as they stand after what is decided about them. For one thread."""

    def __init__(self, ledger: Ledger, session_ids: Collection[UUID]) -> None:
        self._ledger = ledger
        self._sessions = ledger.sessions(session_ids) if session_ids else {}

    def __contains__(self, session_id: UUID) -> bool:
        """Whether there is such a session among these ids, with events that are all ours."""
        return session_id in self._sessions

    def __getitem__(self, session_id: UUID) -> PaymentSession:
        """Return a session; raises what `Ledger.session` does."""
        if session_id not in self._sessions:
            self._sessions[session_id] = self._ledger.session(session_id)
        return self._sessions[session_id]

    def write(self, *, but: Container[UUID | None] = ()) -> dict[UUID, Exception]:
        """Append what was decided about all sessions `but` some; return what kept others from being written.

        Raises DatabaseUnavailable; then some may be written, and what is decided again about them changes nothing.
        """
        changed = [each for each in self._sessions.values() if each.pending_events and each.id not in but]
        appends = []
        for session in sorted(changed, key=lambda each: each.id):
            append = Append(self._ledger, session)
            append.collect()
            appends.append(append)
        return self._write(appends) if appends else {}

    def _write(self, appends: Sequence[Append]) -> dict[UUID, Exception]:
        """Write all, or else each half by itself, down to the session at fault."""
        try:
            self._ledger.append_together(appends)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it is returned with the session that met it
            if len(appends) == 1:
                return {appends[0].session_id: error}
            middle = len(appends) // 2
            return self._write(appends[:middle]) | self._write(appends[middle:])
        return {}

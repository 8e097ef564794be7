"""As whom a caller uses a session: a buyer as themselves, a server key as the buyer of a session that it made."""

from uuid import UUID

from flask.globals import app_ctx

from api.http.framework.services import current_services
from api.http.middleware.auth import Caller, caller
from ledger.application import no_such_session


def owner_of(session_id: UUID, reader: Caller | None = None) -> int:
    """Return the user as whom the caller, or another `reader`, may use a session if it is that user's.

    A server key is told its sessions' buyers, by its name. Raises NotFound for any other session, and Unavailable.
    """
    reader = reader or caller()
    if reader.key is None:
        return reader.user_id
    known: dict[UUID, int] = app_ctx.g.setdefault("session_owners", {})
    if session_id not in known:
        owner = current_services().server_checkouts.rows.owner_of(session_id, reader.key)
        if owner is None:
            raise no_such_session()
        known[session_id] = owner
    return known[session_id]

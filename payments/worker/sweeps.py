"""Small jobs by the clock: write down expiries, act on letters that were left over, tidy up."""

from datetime import timedelta

import structlog

from api.wiring import Services
from ledger import clock
from ledger.errors import LedgerError, Unavailable
from payments.inbox.inbox import InboxMessage
from projections import sessions

BATCH = 200
MAX_UNAUTHENTICATED_AT_ONCE = 20
"""A hint may cost a question to M-Pesa: few are looked at before the next look for letters that prove their sender."""

NOTES_LAST = timedelta(days=2)
REFUND_NOTES_LAST = timedelta(days=30)
"""Longer than a refund is asked about, or it would be asked about anew."""

MESSAGE_RETRY_AFTER = timedelta(seconds=30)
MAX_MESSAGE_TRIES = 20

_log = structlog.get_logger(__name__)


def expire_sessions(services: Services) -> int:
    """Write Expired on pending sessions whose time ran out; return how many were written.

    One that cannot be read is said and passed over: it must not keep the others from their end.
    """
    written = 0
    for session_id in sessions.sessions_to_expire(services.database, clock.now(), BATCH):
        try:
            services.ledger.decide(session_id, lambda session: session.expire(at=clock.now()))
            written += 1
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - said here, met again in the next sweep
            _log.exception("session_not_expired", session_id=str(session_id))
    return written


def act_on_messages(services: Services) -> int:
    """Act on callbacks that are due; return how many were looked at.

    Letters that prove their sender come first: anybody may post others, as many as he likes. A letter whose handling
    fails waits, and is set aside for a person in the end; those behind it go on.
    """
    now = clock.now()
    messages = services.inbox.due(now, BATCH) or services.inbox.due(
        now, MAX_UNAUTHENTICATED_AT_ONCE, is_authenticated=False
    )
    for message in messages:
        try:
            services.messages.act_on(message)
        except LedgerError as error:
            _put_off(services, message, error.code.lower())
        except Exception:  # noqa: BLE001 - a fault of ours; the letter is kept, tried again, and shown to a person
            _log.exception("letter_not_handled", inbox_id=str(message.inbox_id))
            _put_off(services, message, "not_handled")
    return len(messages)


def purge(services: Services) -> int:
    """Remove what has had its time: old answers, dead prompts, notes of ended attempts."""
    now = clock.now()
    removed = (
        services.idempotency.forget_old(now),
        services.phone_locks.purge_expired(now),
        services.checks.forget_before(now - NOTES_LAST),
        services.refund_query_log.forget_before(now - REFUND_NOTES_LAST),
    )
    return sum(removed)


def _put_off(services: Services, message: InboxMessage, reason: str) -> None:
    _log.warning("letter_put_off", inbox_id=str(message.inbox_id), reason=reason, tries=message.tries)
    now = clock.now()
    if message.tries >= MAX_MESSAGE_TRIES:
        services.inbox.dead_letter(message, reason, now)
    else:
        services.inbox.postpone(message, reason, now + MESSAGE_RETRY_AFTER)

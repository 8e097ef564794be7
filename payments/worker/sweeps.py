"""Timed jobs over rows that are due: expire sessions, act on messages that the endpoints left."""

from datetime import timedelta
from functools import partial

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import DatabaseUnavailable, LedgerError, Unavailable
from ledger.session.session import PaymentSession
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Inbox, InboxMessage
from payments.retry_schedule import RetrySchedule
from projections import sessions

BATCH = 200
MAX_UNAUTHENTICATED_AT_ONCE = 20
"""Each may cost a status query: few are taken before the next look for authenticated messages."""

RETRY_SCHEDULE = RetrySchedule((timedelta(seconds=30),) * 20)

_log = structlog.get_logger(__name__)


def expire_sessions(ledger: Ledger) -> int:
    """Expire pending sessions whose time is up; return how many.

    A session that fails to load is logged and skipped, so the rest still expire.
    """
    now, written = clock.now(), 0
    for session_id in sessions.sessions_to_expire(ledger.database, now, BATCH):
        try:
            ledger.decide(session_id, partial(PaymentSession.expire, at=now))
            written += 1
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - logged here, tried again in the next round
            _log.exception("session_not_expired", session_id=str(session_id))
    return written


def act_on_messages(inbox: Inbox, dispatcher: InboxDispatcher) -> int:
    """Act on inbound messages that are due; return how many were looked at.

    Authenticated messages come first, because anyone may post any number of others. A message that fails is retried,
    and dead-lettered in the end; it does not hold up the others.
    """
    now = clock.now()
    messages = inbox.due(now, BATCH) or inbox.due(now, MAX_UNAUTHENTICATED_AT_ONCE, is_authenticated=False)
    for message in messages:
        try:
            dispatcher.act_on(message)
        except DatabaseUnavailable:
            raise  # It says nothing about the message, which is due as before.
        except LedgerError as error:
            _postpone(inbox, message, error.code.lower())
        except Exception:  # noqa: BLE001 - our fault; the message is kept, retried, and shown to an operator in the end
            _log.exception("message_not_handled", inbox_id=str(message.inbox_id))
            _postpone(inbox, message, "not_handled")
    return len(messages)


def _postpone(inbox: Inbox, message: InboxMessage, reason: str) -> None:
    _log.warning("message_postponed", inbox_id=str(message.inbox_id), reason=reason, tries=message.tries)
    inbox.postpone_or_dead_letter(message, reason, RETRY_SCHEDULE, clock.now())

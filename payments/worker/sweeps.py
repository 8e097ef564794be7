"""Timed jobs over rows that are due: expire sessions, act on messages that the endpoints left."""

from collections.abc import Hashable
from datetime import timedelta
from functools import partial

import structlog

from daraja import MalformedCallback, parse_callback
from ledger import clock
from ledger.application import Ledger
from ledger.errors import DatabaseUnavailable, LedgerError, Unavailable
from ledger.session.session import PaymentSession
from payments.confirmation.status_query import MAX_ROUND
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Inbox, InboxMessage
from payments.retry_schedule import RetrySchedule
from payments.thread_groups import act_in_groups
from projections import sessions

BATCH = 200
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


def act_on_messages(
    inbox: Inbox, dispatcher: InboxDispatcher, max_workers: int, *, is_authenticated: bool = True
) -> int:
    """Act on inbound messages that are due, by `max_workers` threads; return on how many.

    Those that are not authenticated are taken apart, because anyone may post any number of them. A message that fails
    is retried, and dead-lettered in the end; it does not hold up the others.
    """
    now = clock.now()
    messages = inbox.due(now, BATCH, is_authenticated=is_authenticated)
    act = partial(_act_on, inbox, dispatcher)
    return len(act_in_groups(act, messages, _subject_of, max_workers, begins_before=now + MAX_ROUND))


def _act_on(inbox: Inbox, dispatcher: InboxDispatcher, message: InboxMessage) -> None:
    try:
        dispatcher.act_on(message)
    except DatabaseUnavailable:
        raise  # It says nothing about the message, which is due as before.
    except LedgerError as error:
        _postpone(inbox, message, error.code.lower())
    except Exception:  # noqa: BLE001 - our fault; the message is kept, retried, and shown to an operator in the end
        _log.exception("message_not_handled", inbox_id=str(message.inbox_id))
        _postpone(inbox, message, "not_handled")


def _subject_of(message: InboxMessage) -> Hashable:
    """Return what a message is about: its session, else the prompt that it names, of which M-Pesa is asked once."""
    if message.session_id is not None:
        return message.session_id
    try:
        return parse_callback(message.body).checkout_request_id
    except MalformedCallback:
        return message.inbox_id


def _postpone(inbox: Inbox, message: InboxMessage, reason: str) -> None:
    _log.warning("message_postponed", inbox_id=str(message.inbox_id), reason=reason, tries=message.tries)
    inbox.postpone_or_dead_letter(message, reason, RETRY_SCHEDULE, clock.now())

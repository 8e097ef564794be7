"""Small jobs by the clock: write down expiries, act on letters that were left over, tidy up."""

from datetime import timedelta
from functools import partial

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import LedgerError, Unavailable
from ledger.session.session import PaymentSession
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Inbox, InboxMessage
from projections import sessions

BATCH = 200
MAX_UNAUTHENTICATED_AT_ONCE = 20
"""A hint may cost a question to M-Pesa: few are looked at before the next look for letters that prove their sender."""

MESSAGE_RETRY_AFTER = timedelta(seconds=30)
MAX_MESSAGE_TRIES = 20

_log = structlog.get_logger(__name__)


def expire_sessions(ledger: Ledger) -> int:
    """Write Expired on pending sessions whose time ran out; return how many were written.

    A session that fails to load is logged and skipped, so the rest still expire.
    """
    now, written = clock.now(), 0
    for session_id in sessions.sessions_to_expire(ledger.database, now, BATCH):
        try:
            ledger.decide(session_id, partial(PaymentSession.expire, at=now))
            written += 1
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - said here, met again in the next sweep
            _log.exception("session_not_expired", session_id=str(session_id))
    return written


def act_on_messages(inbox: Inbox, dispatcher: InboxDispatcher) -> int:
    """Act on callbacks that are due; return how many were looked at.

    Letters that prove their sender come first: anybody may post others, as many as he likes. A letter whose handling
    fails waits, and is set aside for a person in the end; those behind it go on.
    """
    now = clock.now()
    messages = inbox.due(now, BATCH) or inbox.due(now, MAX_UNAUTHENTICATED_AT_ONCE, is_authenticated=False)
    for message in messages:
        try:
            dispatcher.act_on(message)
        except LedgerError as error:
            _put_off(inbox, message, error.code.lower())
        except Exception:  # noqa: BLE001 - a fault of ours; the letter is kept, tried again, and shown to a person
            _log.exception("letter_not_handled", inbox_id=str(message.inbox_id))
            _put_off(inbox, message, "not_handled")
    return len(messages)


def _put_off(inbox: Inbox, message: InboxMessage, reason: str) -> None:
    _log.warning("letter_put_off", inbox_id=str(message.inbox_id), reason=reason, tries=message.tries)
    now = clock.now()
    if message.tries >= MAX_MESSAGE_TRIES:
        inbox.dead_letter(message, reason, now)
    else:
        inbox.postpone(message, reason, now + MESSAGE_RETRY_AFTER)

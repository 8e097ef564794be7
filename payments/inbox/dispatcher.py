"""Letters of the inbox, handed to whoever understands their channel."""

from collections.abc import Callable, Mapping

import structlog

from ledger.errors import LedgerError
from payments.inbox.inbox import Channel, InboxMessage

Handler = Callable[[InboxMessage], None]

_log = structlog.get_logger(__name__)


class InboxDispatcher:
    """Knows for each channel who acts on its letters. Handling one twice is the same as handling it once."""

    def __init__(self, handlers: Mapping[Channel, Handler]) -> None:
        self._handlers = handlers

    def act_on(self, message: InboxMessage) -> None:
        """Turn a kept letter into facts, set it aside for a person, or leave it for later."""
        self._handlers[message.channel](message)


def dispatch_now(message: InboxMessage, act_on: Handler) -> None:
    """Act on a letter that was just kept, while M-Pesa waits; where that fails, the letter is the worker's."""
    try:
        act_on(message)
    except LedgerError as error:
        _log.warning("letter_left_to_worker", inbox_id=str(message.inbox_id), code=error.code)
    except Exception:  # noqa: BLE001 - it is kept, so it may be acknowledged; the worker meets the fault again
        _log.exception("letter_left_to_worker", inbox_id=str(message.inbox_id))

"""Inbound messages, dispatched by channel."""

from collections.abc import Callable, Mapping

from payments.inbox.inbox import Channel, InboxMessage

MessageHandler = Callable[[InboxMessage], None]


class InboxDispatcher:
    """Knows the handler of each channel. Handling a message again is a no-op."""

    def __init__(self, handlers: Mapping[Channel, MessageHandler]) -> None:
        self._handlers = handlers

    def act_on(self, message: InboxMessage) -> None:
        """Act on a stored message, dead-letter it, or leave it for later."""
        self._handlers[message.channel](message)

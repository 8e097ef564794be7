"""The feed of messages: the log in pages, for servers that ask what happened rather than wait to be told."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from eventsourcing.persistence import MapperDeserialisationError

from ledger.application import Ledger
from ledger.store.event_macs import EventForged
from ledger.store.vault import Vault
from payments.webhooks.messages import message_id, topics_of
from payments.webhooks.session_messages import SessionMessages
from projections.history import Entry
from projections.log_pages import LogFilters, Positions, read_log

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Some messages, each with its `id`, and where the feed goes on. `has_more` says whether to ask at once."""

    messages: list[dict[str, Any]]
    positions: Positions
    has_more: bool


class MessageFeed:
    """Reads the feed of one key. Safe to share between threads."""

    def __init__(self, ledger: Ledger, vault: Vault) -> None:
        self._ledger = ledger
        self._messages = SessionMessages(ledger, vault)

    def page(
        self,
        key_name: str | None,
        types: Collection[str],
        after: Positions,
        limit: int,
        since: datetime | None = None,
    ) -> FeedPage:
        """Return messages of these types behind some positions, in the order of the log, `limit` of them at most.

        They are of the sessions that the key hears of. A page looks at a bounded part of the log, and may be empty
        long before its end. With `since`, only what was recorded from then on is told. Raises InvalidValue for a
        position that this log has not reached, and Unavailable.
        """
        filters = LogFilters(topics=topics_of(types), since=since)
        page = read_log(self._ledger.database, self._ledger.macs, filters, after, limit)
        wanted = [entry for entry in page.entries if entry.event is not None]
        histories = self._ledger.recorder.histories({entry.session_id for entry in wanted})
        told = (self._told(key_name, entry, histories[entry.session_id]) for entry in wanted)
        return FeedPage([message for message in told if message], page.positions, page.has_more)

    def _told(
        self, key_name: str | None, entry: Entry, rows: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Return the message of an event, None if the key does not hear of its session, or an event of it is forged."""
        try:
            message = self._messages.told(key_name, entry.recorded, rows)
        except (EventForged, MapperDeserialisationError):
            _log.error("message_not_told", session_id=str(entry.session_id), version=entry.version)
            return None
        return message and {"id": message_id(entry.session_id, entry.version), **message}

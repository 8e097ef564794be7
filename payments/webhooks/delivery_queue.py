"""Follows the log for each webhook endpoint, and queues what it is to be told of.

The log itself is the queue: how far an endpoint has followed it is moved in the commit of its deliveries, and waits
while too many are pending. Without an endpoint nothing is looked at.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger import clock
from ledger.store.database import Database
from payments.webhooks.deliveries import put_in_order
from payments.webhooks.endpoints import Endpoint, WebhookEndpoints
from payments.webhooks.messages import MESSAGE_TOPICS, hears, maker_of, type_of
from projections.follower import Batch, LogReader, Place, Recorded

BATCH_SIZE = 500
MAX_PENDING = 10_000
"""Of an endpoint so many deliveries are pending at most, give or take a batch; the rest waits in the log."""
MAX_UNSTORED = 10_000 << 20
"""By so much of the log, here the positions of 10,000 transactions, an endpoint goes on in memory alone."""

# Of an endpoint whose position somebody moved meanwhile, and of one that is full, nothing is queued.
_ADVANCE = """
UPDATE webhook_endpoints AS endpoint SET origin = %(origin)s, position = %(position)s
WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'enabled'
  AND (origin, position) = (%(from_origin)s, %(from_position)s)
  AND NOT EXISTS (SELECT FROM webhook_deliveries AS pending
                  WHERE pending.endpoint_id = endpoint.endpoint_id AND pending.state = 'pending' OFFSET %(most)s)
RETURNING endpoint_id
"""
# Most have an event before them in the batch or none at all, so that the order is right from the start. A row that is
# there is of an event that is to be delivered again.
_QUEUE = """
INSERT INTO webhook_deliveries (endpoint_id, session_id, version, type, queued_at, next_attempt_at)
SELECT endpoint_id, session_id, version, type, %(now)s,
       CASE WHEN row_number() OVER (PARTITION BY endpoint_id, session_id ORDER BY version) = 1 THEN %(now)s END
FROM unnest(%(endpoints)s::uuid[], %(sessions)s::uuid[], %(versions)s::integer[], %(types)s::text[])
    AS queued (endpoint_id, session_id, version, type)
ON CONFLICT (endpoint_id, session_id, version) DO UPDATE SET
    queued_at = excluded.queued_at, state = 'pending', attempts = 0, tried_since = NULL,
    next_attempt_at = excluded.next_attempt_at, settled_at = NULL
WHERE webhook_deliveries.state <> 'pending'
"""
_MAKERS = """
SELECT session_id, metadata->>'actor' AS actor FROM payment_events WHERE session_id = ANY(%s) AND version = 1
"""


class DeliveryQueue:
    """Queues deliveries. One worker does it at a time; of two, the commits of one alone would count."""

    def __init__(self, database: Database, endpoints: WebhookEndpoints) -> None:
        self._database = database
        self._endpoints = endpoints
        self._read_until: dict[tuple[UUID, int, int], Place] = {}

    def run(self, log: LogReader) -> int:
        """Queue what the next events call for; return how many events were read. Raises Unavailable."""
        enabled = self._endpoints.enabled()
        if not enabled:
            return 0
        end, read = log.look(), 0
        groups: dict[Place, list[Endpoint]] = defaultdict(list)
        for endpoint in enabled:
            groups[self._place_of(endpoint, end)].append(endpoint)
        known = {_key_of(endpoint) for endpoint in enabled}
        self._read_until = {key: place for key, place in self._read_until.items() if key in known}
        for place, together in groups.items():
            if place != end:
                read += self._advance(log, together, place, end)
        return read

    def _place_of(self, endpoint: Endpoint, end: Place) -> Place:
        """Return how far the log was read for an endpoint: further than is stored, where nothing was for it."""
        stored = end._replace(position=endpoint.position if endpoint.origin == end.origin else 0)
        known = self._read_until.get(_key_of(endpoint))
        return known if known is not None and known[:2] == end[:2] else stored

    def _advance(self, log: LogReader, together: Sequence[Endpoint], place: Place, end: Place) -> int:
        batch = log.recent(place, end, MESSAGE_TOPICS)
        if batch is None:
            with self._database.connection() as connection:
                batch = log.read(connection, place, end, MESSAGE_TOPICS, BATCH_SIZE)
        batch = batch.first(BATCH_SIZE)
        kinds = {kind for endpoint in together for kind in endpoint.definition.events}
        wanted = [
            (event, kind) for event in batch.wanted if (kind := type_of(event)) is not None and kind in kinds
        ]
        behind = batch.until.position - min(endpoint.position for endpoint in together)
        if wanted or behind > MAX_UNSTORED:
            return batch.read if self._queue(together, wanted, batch) else 0
        for endpoint in together:
            self._read_until[_key_of(endpoint)] = batch.until
        return batch.read

    def _queue(
        self, together: Sequence[Endpoint], wanted: Sequence[tuple[Recorded, str]], batch: Batch
    ) -> bool:
        """Queue deliveries of events; return whether any endpoint was moved on, and is not full."""
        # They were read together, but for one that was moved meanwhile.
        by_stored: dict[tuple[int, int], list[Endpoint]] = defaultdict(list)
        for endpoint in together:
            by_stored[endpoint.origin, endpoint.position].append(endpoint)
        with self._database.transaction() as connection:
            moved: set[UUID] = set()
            for stored, group in by_stored.items():
                moved |= _move(connection, group, stored, batch.until)
            makers = _makers(connection, together, wanted)
            _insert(connection, [each for each in together if each.endpoint_id in moved], wanted, makers)
        if len(moved) < len(together):
            self._endpoints.forget()
        self._endpoints.note_moved(moved, batch.until.origin, batch.until.position)
        return bool(moved)


def _move(
    connection: Connection[Any], group: Sequence[Endpoint], stored: tuple[int, int], until: Place
) -> set[UUID]:
    """Move endpoints on from the place that is stored, those that are not full; return which were moved."""
    values = {
        "endpoints": [endpoint.endpoint_id for endpoint in group],
        "most": MAX_PENDING,
        "origin": until.origin,
        "position": until.position,
        "from_origin": stored[0],
        "from_position": stored[1],
    }
    return {row["endpoint_id"] for row in connection.execute(_ADVANCE, values)}


def _insert(
    connection: Connection[Any],
    moved: Sequence[Endpoint],
    wanted: Sequence[tuple[Recorded, str]],
    makers: Mapping[UUID, str | None],
) -> None:
    queued = [
        (endpoint.endpoint_id, event.session_id, event.version, kind)
        for endpoint in moved
        for event, kind in wanted
        if kind in endpoint.definition.events
        and hears(endpoint.definition.key_name, makers.get(event.session_id))
    ]
    if queued:
        now = clock.now()
        endpoints, sessions, versions, types = map(list, zip(*queued, strict=True))
        rows = {"endpoints": endpoints, "sessions": sessions, "versions": versions, "types": types}
        connection.execute(_QUEUE, rows | {"now": now})
        put_in_order(connection, list(set(endpoints)), list(set(sessions)), now)


def _makers(
    connection: Connection[Any], together: Sequence[Endpoint], wanted: Sequence[tuple[Recorded, str]]
) -> dict[UUID, str | None]:
    """Return who made each session, where an endpoint hears of some alone."""
    if all(endpoint.definition.key_name is None for endpoint in together):
        return {}
    rows = connection.execute(_MAKERS, (list({event.session_id for event, _ in wanted}),))
    return {row["session_id"]: maker_of({"actor": row["actor"]}) for row in rows}


def _key_of(endpoint: Endpoint) -> tuple[UUID, int, int]:
    return endpoint.endpoint_id, endpoint.origin, endpoint.position

"""The events of the log as an export shows them, in batches, in the order of their positions.

Encrypted values are left out, or decrypted for those who may have them. A batch is read by the position of the one
before, in a statement of its own: an export holds nothing back, neither followers nor vacuum, however long it takes.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from ledger.store.blocks import covering
from ledger.store.canonical import chained_hash, event_digest
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.key_ring import WrongKey
from ledger.store.positions import KNOWN_ORIGINS, read_horizon
from ledger.store.vault import DELIVERY, EVENT_PURPOSES, LINE, METADATA, Vault
from projections.history import ENCRYPTED_FIELDS, FORGED

BATCH = 5_000
WALK = 20_000
"""A statement looks at so many events at most, so that it is short, however few of them are of the time wanted."""

ERASED_TEXT = "erased"
"""Stands where a value of a customer would be who was erased."""
UNREADABLE_TEXT = "cannot be decrypted"

_decode = msgspec.json.decode
_JSON = frozenset({DELIVERY, METADATA, LINE})
"""Purposes of values that are JSON."""
_NAMES = {event.TOPIC: PUBLIC_NAMES[event] for event in EVENT_CLASSES}

_SPANS = f"""
{KNOWN_ORIGINS}
SELECT origin, (SELECT min(position) FROM payment_events WHERE origin = known.origin) - 1 AS after,
       (SELECT max(position) FROM payment_events WHERE origin = known.origin) AS until
FROM known WHERE origin IS NOT NULL ORDER BY origin
"""  # noqa: S608 - made of names of our own
_END_OF_WALK = """
SELECT position FROM payment_events WHERE origin = %(origin)s AND position > %(after)s AND position <= %(until)s
ORDER BY position OFFSET %(walk)s - 1 LIMIT 1
"""
_BATCH = f"""
SELECT session_id::text, version, topic, state::text AS state, metadata::text AS metadata, recorded_at, previous_hash,
       {COLUMNS}
FROM payment_events
WHERE origin = %(origin)s AND position > %(after)s AND position <= %(until)s
  AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
  AND (%(before)s::timestamptz IS NULL OR recorded_at < %(before)s)
ORDER BY position LIMIT %(limit)s
"""  # noqa: S608 - made of names of our own
_OWNERS = "SELECT session_id::text, user_id FROM payment_sessions WHERE session_id = ANY(%s::uuid[])"
_SHOWN_OF_BLOCK = ("name", "until_position", "public_key", "signature")


class ExportedEvent(NamedTuple):
    """One event, by the names of its columns. `state` and `caused_by` are decoded JSON, the hashes 32 bytes.

    Of an event that is not genuine there is neither: anything may stand there.
    """

    origin: int
    position: int
    session_id: str
    version: int
    event: str
    topic: str
    class_version: int | None
    happened_at: datetime | None
    recorded_at: datetime
    attempt: int | None
    receipt: str | None
    amount_cents: int | None
    is_genuine: bool
    previous_hash: bytes
    hash: bytes
    caused_by: dict[str, str] | None
    state: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Span:
    """Which events: of one origin, with after < position <= until, recorded since a time and before another."""

    origin: int
    after: int
    until: int
    since: datetime | None
    before: datetime | None


class EventReader:
    """Reads the log for an export; with a vault, personal data are in the clear."""

    def __init__(
        self, database: Database, macs: EventMacs, own_keys: Collection[bytes], vault: Vault | None = None
    ) -> None:
        self._database, self._macs, self._own_keys, self._vault = database, macs, own_keys, vault

    def spans(self, since: datetime | None, before: datetime | None) -> list[Span]:
        """Return what is in the log now, below the horizon, of the time from `since` until before `before`.

        Events of other origins came with a dump; the log of this node comes last.
        """
        with self._database.connection() as connection:
            own, horizon = read_horizon(connection)
            rows = connection.execute(_SPANS).fetchall()
        spans = [
            Span(
                row["origin"],
                row["after"],
                min(row["until"], horizon - 1) if row["origin"] == own else row["until"],
                since,
                before,
            )
            for row in rows
        ]
        return sorted(spans, key=lambda span: span.origin == own)

    def batch(self, span: Span, after: int, limit: int) -> list[ExportedEvent]:
        """Return the next events of a span, `limit` at most, behind a position; none only at the end of the span."""
        rows: list[dict[str, Any]] = []
        owners: dict[str, int] = {}
        while not rows and after < span.until:
            values = {**asdict(span), "after": after, "limit": limit, "walk": WALK}
            with self._database.connection() as connection:
                end = connection.execute(_END_OF_WALK, values).fetchone()
                values["until"] = end["position"] if end else span.until
                rows = connection.cursor(binary=True).execute(_BATCH, values).fetchall()
                owners = self._owners(connection, rows) if self._vault else {}
            after = values["until"]
        return [self._exported(row, owners.get(row["session_id"])) for row in rows]

    def covering_block(self, origin: int, position: int) -> dict[str, Any] | None:
        """Return our first signed block over a position as the manifest shows it, None if none is signed yet."""
        with self._database.connection() as connection:
            block = covering(connection, origin, position, self._own_keys)
        shown = block.shown() if block else {}
        return {name: shown[name] for name in _SHOWN_OF_BLOCK} if shown else None

    def _owners(self, connection: Any, rows: list[dict[str, Any]]) -> dict[str, int]:
        assert self._vault is not None
        sessions = list({row["session_id"] for row in rows})
        owners = {row["session_id"]: row["user_id"] for row in connection.execute(_OWNERS, (sessions,))}
        self._vault.read_ahead(set(owners.values()))
        return owners

    def _exported(self, row: dict[str, Any], owner: int | None) -> ExportedEvent:
        state, caused_by = self._genuine(row)
        if state is None:
            name, version, moment, known = FORGED, None, None, {}
        else:
            name, version = _NAMES[row["topic"]], state.get("class_version", 1)
            moment, known = datetime.fromisoformat(state["timestamp"]), state
            if ENCRYPTED_FIELDS in row["state"]:
                state = self._shown(state, row["session_id"], owner)
        return ExportedEvent(
            row["origin"],
            row["position"],
            row["session_id"],
            row["version"],
            name,
            row["topic"],
            version,
            moment,
            row["recorded_at"],
            known.get("attempt"),
            known.get("receipt"),
            known.get("amount_cents"),
            state is not None,
            row["previous_hash"],
            row["hash"],
            caused_by,
            state,
        )

    def _genuine(self, row: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
        """Return state and metadata of an event that is ours, and whose content is that of its hash."""
        if not self._macs.is_genuine(row):
            return None, None
        state = _decode(row["state"])
        metadata = row["metadata"] and _decode(row["metadata"])
        digest = event_digest(row["session_id"], row["version"], row["topic"], state, metadata)
        is_ours = chained_hash(row["previous_hash"], digest) == row["hash"]
        return (state, metadata) if is_ours else (None, None)

    def _shown(self, value: Any, session_id: str, owner: int | None) -> Any:
        """Return JSON without its encrypted fields, or with what they say, under a plain name."""
        if type(value) is list:
            return [self._shown(each, session_id, owner) for each in value]
        if type(value) is not dict:
            return value
        shown = {}
        for name, part in value.items():
            if not name.endswith(ENCRYPTED_FIELDS):
                kind = type(part)
                nested = kind is dict or kind is list
                shown[name] = self._shown(part, session_id, owner) if nested else part
            elif self._vault and owner is not None and part is not None and name in EVENT_PURPOSES:
                shown[name.removesuffix(ENCRYPTED_FIELDS)] = _decrypted(
                    self._vault, owner, part, EVENT_PURPOSES[name], session_id
                )
        return shown


def _decrypted(vault: Vault, owner: int, value: str, purpose: str, session_id: str) -> Any:
    try:
        text = vault.decrypt(owner, value, purpose=purpose, row=session_id)
    except Erased:
        return ERASED_TEXT
    except WrongKey:
        return UNREADABLE_TEXT
    return _decode(text) if purpose in _JSON else text

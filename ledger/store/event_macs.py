"""The MACs of events, by which an event of ours is told from one that only a login of the database wrote.

The hash of an event commits to its session, version, topic, state, metadata and the hash of the event before. Its MAC
is HMAC-SHA256 over the number of the key and that hash, so it fits no other event and no other place. Events from
before there were MACs end at a position that is stored once, with a MAC of its own.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from ledger.errors import LedgerError
from ledger.store.canonical import GENESIS, UNREADABLE, chained_hash, event_digest
from ledger.store.database import Database
from ledger.store.key_ring import EVENT_MAC, KeyRing
from ledger.store.keyed_digests import keyed_digest

COLUMNS = "origin, position, hash, key_id, mac"
"""What `is_genuine` looks at; to be read with each event that is acted upon or shown."""

_STARTS = "SELECT origin, last_position, key_id, mac FROM event_mac_starts"
_SIGN_START = "SELECT sign_event_mac_start(%s::smallint, %s, %s, %s)"


class EventForged(LedgerError):
    """An event does not carry our MAC, or was altered: nothing is done with its session any more."""

    def __init__(self) -> None:
        super().__init__(
            "EVENT_FORGED",
            "The record of this payment session was tampered with, so nothing more is done with it. "
            "Please contact the shop.",
        )


class EventMacs:
    """Makes and checks the MACs of events, by the keys of the ring. Safe to share between threads."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self.keys = keys
        self._last_without_mac: dict[int, int] | None = None

    def sign(self, hashes: Iterable[bytes]) -> tuple[int, list[bytes]]:
        """Return the number of the current key, and the MAC of each event by its hash."""
        key_id, key = self.keys.current(EVENT_MAC)
        return key_id, [_mac(key, b"event", key_id, event_hash) for event_hash in hashes]

    def is_genuine(self, row: Mapping[str, Any]) -> bool:
        """Say whether the hash of a stored event is one that we signed, or older than MACs; see COLUMNS.

        That the hash is the one of its content is not asked here: `append_events` computes it, and `require_genuine`
        and the invariants compute it again. Raises Unavailable, and WrongKey.
        """
        return self.is_signed(row["origin"], row["position"], bytes(row["hash"]), row["key_id"], row["mac"])

    def is_signed(
        self, origin: int, position: int, event_hash: bytes, key_id: int | None, mac: bytes | None
    ) -> bool:
        """Say what `is_genuine` does, by the values of COLUMNS."""
        if mac is None or key_id is None:
            return mac is None and position <= self.last_without_mac().get(origin, 0)
        return self._is_signed(b"event", key_id, event_hash, bytes(mac))

    def require_genuine(self, session_id: UUID, rows: Iterable[Mapping[str, Any]]) -> bytes:
        """Check all events of a session, from the first on; return the hash of the last.

        Beside COLUMNS, rows have version, topic, state and metadata (JSON text). Raises EventForged if one does not
        carry our MAC, or its hash is not that of its content and of the hashes before; and Unavailable.
        """
        previous = GENESIS
        for row in rows:
            if _computed_hash(session_id, row, previous) != bytes(row["hash"]) or not self.is_genuine(row):
                raise EventForged
            previous = bytes(row["hash"])
        return previous

    def are_genuine(self, session_id: UUID, rows: Iterable[Mapping[str, Any]]) -> list[bool]:
        """Say of each event of a session, from the first on, whether it is ours, whatever the others are.

        Rows are as for `require_genuine`, with previous_hash. An event of ours follows the hash that is stored of the
        one before, so it stays ours where the content of that was altered. Raises Unavailable.
        """
        hashes, found = {0: GENESIS}, []
        for row in rows:
            previous = hashes.get(row["version"] - 1)
            hashes[row["version"]] = bytes(row["hash"])
            found.append(
                previous is not None
                and previous == bytes(row["previous_hash"])
                and _computed_hash(session_id, row, previous) == bytes(row["hash"])
                and self._is_ours(row)
            )
        return found

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        try:
            return self.is_genuine(row)
        except EventForged:
            return False  # The end of the events without MACs was changed: none of those is known to be ours.

    def last_without_mac(self) -> Mapping[int, int]:
        """Return the position of the last event without a MAC, by origin; sign it if nobody has.

        Raises Unavailable, and EventForged if it was signed by another master key, or changed since.
        """
        if self._last_without_mac is None:
            self._last_without_mac = dict(map(self._read_start, self._starts()))
        return self._last_without_mac

    def _starts(self) -> list[dict[str, Any]]:
        key_id, key = self.keys.current(EVENT_MAC)
        with self._database.connection() as connection:
            starts = connection.execute(_STARTS).fetchall()
            unsigned = [start for start in starts if start["mac"] is None]
            for start in unsigned:
                place = start["origin"], start["last_position"]
                connection.execute(_SIGN_START, (*place, key_id, _mac(key, b"start", key_id, _place(*place))))
            return connection.execute(_STARTS).fetchall() if unsigned else starts

    def _read_start(self, start: Mapping[str, Any]) -> tuple[int, int]:
        place = start["origin"], start["last_position"]
        if start["mac"] is None or not self._is_signed(
            b"start", start["key_id"], _place(*place), bytes(start["mac"])
        ):
            raise EventForged
        return place

    def _is_signed(self, kind: bytes, key_id: int, content: bytes, mac: bytes) -> bool:
        key = self.keys.find(EVENT_MAC, key_id)
        return key is not None and hmac.compare_digest(mac, _mac(key, kind, key_id, content))


def _computed_hash(session_id: UUID, row: Mapping[str, Any], previous: bytes) -> bytes | None:
    """Return the hash of the content of a row after another's hash, None if it holds what no event of ours does."""
    try:
        metadata = row["metadata"] and msgspec.json.decode(row["metadata"])
        state = msgspec.json.decode(row["state"])
        digest = event_digest(session_id, row["version"], row["topic"], state, metadata)
    except UNREADABLE:
        return None
    return chained_hash(previous, digest)


def _mac(key: bytes, kind: bytes, key_id: int, content: bytes) -> bytes:
    """Kinds are five bytes and contents of one length each, so no two messages are the same bytes."""
    return keyed_digest(key, kind + key_id.to_bytes(8) + content)


def _place(origin: int, position: int) -> bytes:
    return origin.to_bytes(8) + position.to_bytes(8)

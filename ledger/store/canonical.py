"""One spelling of an event, for hashing: JSON in its canonical form (RFC 8785).

States hold objects, arrays, strings, integers, booleans and null only, and their keys are ASCII. For those,
sorted keys and no white space are the whole of RFC 8785; a test holds this against a library of the standard.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import StoredEvent

UNREADABLE = (msgspec.DecodeError, RecursionError)
"""What a state raises that is no JSON of ours, or is nested too deeply: PostgreSQL takes more than we do."""

_CANONICAL = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON text of a value made of plain JSON types and no floats."""
    return _CANONICAL.encode(value)


def event_digest(
    session_id: UUID | str, version: int, topic: str, state: Any, metadata: Mapping[str, Any] | None
) -> bytes:
    """Return the SHA-256 of one event, which `append_events` chains to the hash of the one before it.

    `state` and `metadata` are decoded JSON; an event of format 1 has no metadata. The stored hash is
    SHA-256(previous hash ‖ this digest).
    """
    documents = [state] if metadata is None else [state, metadata]
    return hashlib.sha256(event_content(session_id, version, topic, documents)).digest()


def event_content(session_id: UUID | str, version: int, topic: str, documents: Sequence[Any]) -> bytes:
    """Return what the digest of an event is over; `documents` are its decoded state and its metadata, if it has any."""
    return b'["%b",%d,%b,%b' % (
        str(session_id).encode(),
        version,
        _spelled(topic),
        canonical_json(documents)[1:],
    )


@lru_cache(maxsize=200)
def _spelled(topic: str) -> bytes:
    return canonical_json(topic)


def chained_hashes(events: Iterable[StoredEvent], metadata: bytes, previous_hash: bytes) -> list[bytes]:
    """Return the hashes of new events of a session, whose states are canonical JSON, as are their metadata.

    Topics are ASCII names of ours, so they stand in JSON as they are; `append_events` spells them likewise.
    """
    hashes = []
    for event in events:
        head = f'["{event.originator_id}",{event.originator_version},"{event.topic}",'.encode()
        digest = hashlib.sha256(b"%b%b,%b]" % (head, event.state, metadata)).digest()
        previous_hash = chained_hash(previous_hash, digest)
        hashes.append(previous_hash)
    return hashes


def chained_hash(previous_hash: bytes, digest: bytes) -> bytes:
    """Return the hash of an event, as `append_events` computes it."""
    return hashlib.sha256(previous_hash + digest).digest()


GENESIS = bytes(32)
"""The previous hash of a session's first event."""

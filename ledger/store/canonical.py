"""One spelling of an event, for hashing: JSON in its canonical form (RFC 8785).

States hold objects, arrays, strings, integers, booleans and null only, and their keys are ASCII. For those,
sorted keys and no white space are the whole of RFC 8785; a test holds this against a library of the standard.
"""

import hashlib
from typing import Any
from uuid import UUID

import msgspec

_CANONICAL = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> bytes:
    """Return the canonical JSON text of a value made of plain JSON types and no floats."""
    return _CANONICAL.encode(value)


def event_digest(session_id: UUID, version: int, topic: str, state: Any) -> bytes:
    """Return the SHA-256 of one event, which `append_events` chains to the hash of the one before it.

    `state` is the decoded JSON state. The stored hash is SHA-256(previous hash ‖ this digest).
    """
    return hashlib.sha256(canonical_json([str(session_id), version, topic, state])).digest()


def chained_hash(previous_hash: bytes, digest: bytes) -> bytes:
    """Return the hash of an event, as `append_events` computes it."""
    return hashlib.sha256(previous_hash + digest).digest()


GENESIS = bytes(32)
"""The previous hash of a session's first event."""

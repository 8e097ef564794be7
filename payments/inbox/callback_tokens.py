"""The last segment of a callback URL: it names what a result is about, and nobody else can make one.

M-Pesa signs nothing and echoes nothing but the URL itself, so the URL carries the proof. Hexadecimal, because the
words that Safaricom forbids in a callback URL (exe, cmd, sql, query, mpesa, …) cannot be spelt in it. Each kind of
result is signed under its own purpose, so that a token of one kind is none of another.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

_SESSION_BYTES = 16
_NUMBER_BYTES = 2
_PROOF_BYTES = 16

Sign = Callable[[bytes], bytes]
"""Returns the 16 bytes that only we can compute for a message."""


class RefundMessageKind(StrEnum):
    """What a letter about a refund is; the value is what its token is signed for."""

    REVERSAL_RESULT = "reversal result"
    REVERSAL_TIMEOUT = "reversal time-out"
    STATUS_RESULT = "status result"
    STATUS_TIMEOUT = "status time-out"


@dataclass(frozen=True)
class RefundProof:
    """What a token about a refund proves: which refund of which session, and the how-manieth sending of it."""

    matter: RefundMessageKind
    session_id: UUID
    refund: int
    sending: int


def make_token(sign: Sign, session_id: UUID, attempt: int) -> str:
    """Return the token of an attempt: 68 hex digits."""
    return _make(sign, "", session_id, attempt)


def read_token(sign: Sign, token: str) -> tuple[UUID, int] | None:
    """Return the session and the attempt that a token proves, or None where it proves nothing."""
    found = _read(sign, "", token, numbers=1)
    return None if found is None else (found[0], found[1][0])


def make_refund_token(sign: Sign, proof: RefundProof) -> str:
    """Return the token of a letter about a refund: 72 hex digits."""
    return _make(sign, proof.matter, proof.session_id, proof.refund, proof.sending)


def read_refund_token(sign: Sign, token: str) -> RefundProof | None:
    """Return what a token proves about a refund, or None where it proves nothing."""
    for matter in RefundMessageKind:
        found = _read(sign, matter, token, numbers=2)
        if found is not None:
            session_id, (refund, sending) = found
            return RefundProof(matter, session_id, refund, sending)
    return None


def _make(sign: Sign, purpose: str, session_id: UUID, *numbers: int) -> str:
    address = session_id.bytes + b"".join(number.to_bytes(_NUMBER_BYTES) for number in numbers)
    return (address + sign(purpose.encode() + address)).hex()


def _read(sign: Sign, purpose: str, token: str, *, numbers: int) -> tuple[UUID, list[int]] | None:
    address_bytes = _SESSION_BYTES + numbers * _NUMBER_BYTES
    if len(token) != 2 * (address_bytes + _PROOF_BYTES):
        return None
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        return None
    address, proof = raw[:address_bytes], raw[address_bytes:]
    if not hmac.compare_digest(proof, sign(purpose.encode() + address)):
        return None
    ends = range(_SESSION_BYTES, address_bytes, _NUMBER_BYTES)
    read = [int.from_bytes(address[start : start + _NUMBER_BYTES]) for start in ends]
    return UUID(bytes=address[:_SESSION_BYTES]), read

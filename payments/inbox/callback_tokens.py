"""The last segment of a callback URL: it names what a message is about, and only we can make one.

M-Pesa signs nothing and echoes nothing but the URL itself, so the URL authenticates the message. It is hexadecimal,
because the words that Safaricom forbids in a callback URL (exe, cmd, sql, query, mpesa, …) cannot be spelt in it. Each
kind of message is signed for its own purpose, so that a token of one kind is none of another.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

_SESSION_BYTES = 16
_NUMBER_BYTES = 2
_SIGNATURE_BYTES = 16

Sign = Callable[[bytes], bytes]
"""Returns the 16 bytes that only we can compute for a message."""

IsSigned = Callable[[bytes, bytes], bool]
"""Says whether we made the 16 bytes for the message."""


class RefundMessageKind(StrEnum):
    """What a message about a refund is; its token is signed for the value."""

    REVERSAL_RESULT = "reversal result"
    REVERSAL_TIMEOUT = "reversal time-out"
    STATUS_RESULT = "status result"
    STATUS_TIMEOUT = "status time-out"


@dataclass(frozen=True)
class RefundTarget:
    """What a token about a refund names: the refund of a session, and the number of the refund attempt, from 1."""

    kind: RefundMessageKind
    session_id: UUID
    refund: int
    attempt: int


def make_token(sign: Sign, session_id: UUID, attempt: int) -> str:
    """Return the token of an attempt: 68 hex digits."""
    return _make(sign, "", session_id, attempt)


def read_token(is_signed: IsSigned, token: str) -> tuple[UUID, int] | None:
    """Return the session and the attempt that a token names, None if we did not make it."""
    read = _read(is_signed, "", token, numbers=1)
    return None if read is None else (read[0], read[1][0])


def make_refund_token(sign: Sign, target: RefundTarget) -> str:
    """Return the token of a message about a refund: 72 hex digits."""
    return _make(sign, target.kind, target.session_id, target.refund, target.attempt)


def read_refund_token(is_signed: IsSigned, token: str) -> RefundTarget | None:
    """Return what a token about a refund names, None if we did not make it."""
    for kind in RefundMessageKind:
        read = _read(is_signed, kind, token, numbers=2)
        if read is not None:
            session_id, (refund, attempt) = read
            return RefundTarget(kind, session_id, refund, attempt)
    return None


def _make(sign: Sign, purpose: str, session_id: UUID, *numbers: int) -> str:
    address = session_id.bytes + b"".join(number.to_bytes(_NUMBER_BYTES) for number in numbers)
    return (address + sign(purpose.encode() + address)).hex()


def _read(is_signed: IsSigned, purpose: str, token: str, *, numbers: int) -> tuple[UUID, list[int]] | None:
    address_bytes = _SESSION_BYTES + numbers * _NUMBER_BYTES
    if len(token) != 2 * (address_bytes + _SIGNATURE_BYTES):
        return None
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        return None
    address, signature = raw[:address_bytes], raw[address_bytes:]
    if not is_signed(purpose.encode() + address, signature):
        return None
    ends = range(_SESSION_BYTES, address_bytes, _NUMBER_BYTES)
    numbers_read = [int.from_bytes(address[start : start + _NUMBER_BYTES]) for start in ends]
    return UUID(bytes=address[:_SESSION_BYTES]), numbers_read

"""The last segment of an attempt's callback URL: it names the session and the attempt, and nobody else can make one.

M-Pesa signs nothing and echoes nothing but the URL itself, so the URL carries the proof. Hexadecimal, because the
words that Safaricom forbids in a callback URL (exe, cmd, sql, query, mpesa, …) cannot be spelt in it.
"""

import hmac
from collections.abc import Callable
from uuid import UUID

_SESSION_BYTES = 16
_ATTEMPT_BYTES = 2
_TOKEN_BYTES = _SESSION_BYTES + _ATTEMPT_BYTES + 16


def make_token(sign: Callable[[bytes], bytes], session_id: UUID, attempt: int) -> str:
    """Return the token of an attempt: 68 hex digits. `sign` returns 16 bytes that only we can compute."""
    address = session_id.bytes + attempt.to_bytes(_ATTEMPT_BYTES)
    return (address + sign(address)).hex()


def read_token(sign: Callable[[bytes], bytes], token: str) -> tuple[UUID, int] | None:
    """Return the session and the attempt that a token proves, or None where it proves nothing."""
    if len(token) != 2 * _TOKEN_BYTES:
        return None
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        return None
    address, proof = raw[: _SESSION_BYTES + _ATTEMPT_BYTES], raw[_SESSION_BYTES + _ATTEMPT_BYTES :]
    if not hmac.compare_digest(proof, sign(address)):
        return None
    return UUID(bytes=address[:_SESSION_BYTES]), int.from_bytes(address[_SESSION_BYTES:])

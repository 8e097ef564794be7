"""POSTs to a host that may be anybody's: to the very address that was checked, within bounds of time and size.

No redirect is followed, no proxy of the environment used, and nothing of an answer read beyond its head.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, parse_headers
from io import BytesIO

from payments.webhooks.targets import Target, is_public

RESOLVE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0
"""For connecting, sending, and the head of the answer, however slowly it drips."""

MAX_HEAD_BYTES = 32 << 10
MAX_ADDRESSES = 3
"""Of a host with several addresses so many are tried."""

MAX_HEADS = 5
"""An answer may be preceded by informational ones."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
_FINAL = 200


class NotPosted(Exception):
    """There was no answer; `reason` says why in a few words of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer: its status, and Retry-After as it was sent, "" without one."""

    status: int
    retry_after: str


async def addresses_of(target: Target, *, allows_private: bool) -> list[str]:
    """Return the IP addresses of a host. Raises NotPosted, unless `allows_private` also where one is not public."""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                target.host, target.port, type=socket.SOCK_STREAM
            )
    except TimeoutError:
        raise NotPosted("the name service did not answer in time") from None
    except (OSError, UnicodeError):
        raise NotPosted("the host is unknown") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not allows_private and not all(map(is_public, addresses)):
        raise NotPosted("the address is not public")
    return addresses[:MAX_ADDRESSES]


async def post(
    target: Target,
    addresses: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    tls: ssl.SSLContext,
    total_seconds: float = TOTAL_SECONDS,
) -> Reply:
    """Post a body to one of the addresses of a host; return the head of the answer. Raises NotPosted."""
    try:
        async with asyncio.timeout(total_seconds):
            reader, writer = await _connected(target, addresses, tls)
            try:
                writer.write(_request(target, headers, body))
                # Some answer before they have read everything: what they say counts.
                with suppress(ConnectionError):
                    await writer.drain()
                return await _reply(reader)
            finally:
                # Not closed in order: that would wait for the other side.
                writer.transport.abort()
    except TimeoutError:
        raise NotPosted("no answer in time") from None
    except ssl.SSLError:
        raise NotPosted("TLS failed") from None
    except OSError:
        raise NotPosted("the connection failed") from None


async def _connected(
    target: Target, addresses: Sequence[str], tls: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers: by its number, so that no name service is asked once more."""
    failure = OSError()
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(
                    address,
                    target.port,
                    limit=MAX_HEAD_BYTES,
                    ssl=tls if target.is_encrypted else None,
                    server_hostname=target.host if target.is_encrypted else None,
                )
        except ssl.SSLError:
            raise
        except OSError as error:
            failure = error
    raise failure


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {target.resource} HTTP/1.1",
        f"Host: {target.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "User-Agent: Daftari-Webhooks",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _reply(reader: asyncio.StreamReader) -> Reply:
    for _ in range(MAX_HEADS):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise NotPosted("the head of the answer is too long") from None
        except asyncio.IncompleteReadError:
            raise NotPosted("the connection was closed without an answer") from None
        reply = _parsed(head)
        if reply.status >= _FINAL:
            return reply
    raise NotPosted("the answer is not HTTP")


def _parsed(head: bytes) -> Reply:
    status = _STATUS.match(head)
    try:
        headers = parse_headers(BytesIO(head[status.end() :])) if status else None
    except HTTPException:
        headers = None
    if status is None or headers is None:
        raise NotPosted("the answer is not HTTP")
    return Reply(int(status[1]), str(headers.get("Retry-After", "")).strip())

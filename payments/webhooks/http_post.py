"""POSTs to a host that may be anybody's: to the very address that was checked, within bounds of time and size.

No redirect is followed, no proxy of the environment used, and nothing of an answer read beyond its head.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from uuid import UUID

from payments.webhooks.connections import Connection, ConnectionEnded, Connections, NotPosted, Origin, Reply
from payments.webhooks.targets import Target, is_public

RESOLVE_SECONDS = 5.0
TOTAL_SECONDS = 10.0
"""For connecting, sending, and the head of the answer, however slowly it drips."""

MAX_ADDRESSES = 3
"""Of a host with several addresses so many are tried."""


class Route:
    """The way of an `owner`'s messages to a host: it is looked up once, and not while connections to it are kept."""

    def __init__(
        self, target: Target, connections: Connections, owner: UUID, *, allows_private: bool
    ) -> None:
        self._target = target
        self._origin = Origin(owner, target.is_encrypted, target.host, target.port)
        self._connections = connections
        self._allows_private = allows_private
        self._addresses: asyncio.Task[list[str]] | None = None

    async def post(
        self, headers: Mapping[str, str], body: bytes, total_seconds: float = TOTAL_SECONDS
    ) -> Reply:
        """Post a body; return the head of the answer. Raises NotPosted."""
        request = _request(self._target, headers, body)
        try:
            async with asyncio.timeout(total_seconds):
                kept = self._connections.kept(self._origin)
                if kept is not None:
                    # The host may have ended it just then. If it took the message all the same, it knows its id.
                    with suppress(ConnectionEnded):
                        return await self._ask(kept, request)
                return await self._ask(await self._opened(), request)
        except TimeoutError:
            raise NotPosted("no answer in time") from None
        except ssl.SSLError:
            raise NotPosted("TLS failed") from None
        except OSError:
            raise NotPosted("the connection failed") from None

    async def _ask(self, connection: Connection, request: bytes) -> Reply:
        try:
            reply = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        self._connections.keep(self._origin, connection)
        return reply

    async def _opened(self) -> Connection:
        if self._addresses is None:
            self._addresses = asyncio.create_task(
                addresses_of(self._target, allows_private=self._allows_private)
            )
        # Others wait for it too.
        return await self._connections.open(self._origin, await asyncio.shield(self._addresses))


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


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [
        f"POST {target.resource} HTTP/1.1",
        f"Host: {target.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "User-Agent: Daftari-Webhooks",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body

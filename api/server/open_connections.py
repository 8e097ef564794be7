"""The open connections of a process, and how many there may be: in all, and of one address."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import nsmallest
from ipaddress import IPv4Network, IPv6Network, ip_address
from threading import Lock

import structlog

from api.server.connection import Connection, State

MAX_UNSENT_BYTES = 64 << 20
"""How much of all answers together a process keeps for clients that read slowly."""

TIMED = (State.READING, State.WRITING, State.DRAINING, State.UNREAD)
"""The states in which the server waits for the client, until a deadline."""

_EVICTED_AT_ONCE = 16
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections a process has at most, and how many of one address that is not in `unlimited`."""

    most: int
    of_an_address: int
    unlimited: tuple[IPv4Network | IPv6Network, ...]

    def is_unlimited(self, address: str) -> bool:
        """Tell whether an address may have any number of connections."""
        found = ip_address(address)
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in network for network in self.unlimited)


class OpenConnections:
    """The open connections, and a count of those that the server ended early, by reason. Safe to share between threads;
    a list of them is of one moment.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._is_unlimited = lru_cache(maxsize=10_000)(limits.is_unlimited)
        self._counting = Lock()
        self._open: set[Connection] = set()
        self._of_address = Counter[str]()
        self.ended_early = Counter[str]()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open))

    def add(self, connection: Connection) -> bool:
        """Add a connection; return False if its address has too many then."""
        address = connection.address
        with self._counting:
            self._open.add(connection)
            self._of_address[address] += 1
            are_many = self._of_address[address] > self._limits.of_an_address
        return not are_many or self._is_unlimited(address)

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        with self._counting:
            self._open.discard(connection)
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def in_excess(self, suspended: int) -> bool:
        """Return whether there are more than may be, not counting those that long-poll or stream."""
        return len(self._open) - suspended > self._limits.most

    def soonest_over(self) -> list[Connection]:
        """Return those that have the least time left, of those whose client we wait for, to make room."""
        timed = [connection for connection in self if connection.state in TIMED]
        return nsmallest(_EVICTED_AT_ONCE, timed, key=lambda connection: connection.deadline)

    def beyond_unsent_bytes(self) -> Iterator[Connection]:
        """Yield those that read slowly, the slowest first, until what is kept for the others is within its bound."""
        writing = [connection for connection in self if connection.state is State.WRITING]
        unsent = sum(connection.unsent_bytes for connection in writing)
        for connection in sorted(writing, key=lambda connection: connection.deadline):
            if unsent <= MAX_UNSENT_BYTES:
                return
            unsent -= connection.unsent_bytes
            yield connection

    def log_ended_early(self) -> None:
        """Log how many were ended early since the last time, if any were."""
        if self.ended_early:
            _log.warning("connections_ended_early", **dict(self.ended_early))
            self.ended_early.clear()

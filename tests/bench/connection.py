"""A cheap HTTP/1.1 keep-alive client, because the clients share the machine that is measured."""

import socket
from time import monotonic
from types import TracebackType
from typing import Self

from tests.support.ports import LOCALHOST

TIMEOUT_SECONDS = 30
TRUSTED_IDLE_SECONDS = 5.0
"""A connection that was idle for longer is opened anew, because servers close such."""

_MAX_HEADERS = 64


class BadAnswer(Exception):
    """The answer is not HTTP/1.1 with a Content-Length."""


class Connection:
    """One connection to a port of this machine, opened on demand; not for several threads."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._used_at = 0.0
        self.says_when_to_retry = False
        """Whether the last answer had a Retry-After."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def request(
        self, method: str, path: str, auth: str, body: bytes | None = None, *, key: str | None = None
    ) -> tuple[int, bytes]:
        """Send one request, with a JSON body and an Idempotency-Key where given; return status and body of the answer.

        Raises OSError and BadAnswer, after which the next request opens a new connection.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: {LOCALHOST}:{self._port}\r\nAuthorization: {auth}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if key is not None:
            head += f"Idempotency-Key: {key}\r\n"
        try:
            self._open().sendall(head.encode("ascii") + b"\r\n" + (body or b""))
            return self._read()
        except (OSError, BadAnswer):
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._socket is not None:
            self._reader.close()
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        now = monotonic()
        if now - self._used_at > TRUSTED_IDLE_SECONDS:
            self.close()
        self._used_at = now
        if self._socket is None:
            self._socket = socket.create_connection((LOCALHOST, self._port), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = self._socket.makefile("rb")
        return self._socket

    def _read(self) -> tuple[int, bytes]:
        status_line = self._reader.readline()
        headers = self._read_headers()
        if not status_line.startswith(b"HTTP/1.1 ") or b"content-length" not in headers:
            raise BadAnswer
        self.says_when_to_retry = b"retry-after" in headers
        length = int(headers[b"content-length"])
        body = self._reader.read(length)
        if len(body) != length:
            raise BadAnswer
        if headers.get(b"connection") == b"close":
            self.close()
        return int(status_line[9:12]), body

    def _read_headers(self) -> dict[bytes, bytes]:
        headers: dict[bytes, bytes] = {}
        for _ in range(_MAX_HEADERS):
            name, colon, value = self._reader.readline().partition(b":")
            if not colon:
                return headers
            headers[name.lower()] = value.strip()
        raise BadAnswer

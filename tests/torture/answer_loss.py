"""A proxy to the API that loses every answer: each request is carried out, its answer kept for comparison."""

import http.client
import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

from tests.support.ports import LOCALHOST

_ANSWERS_WITHIN_SECONDS = 60


class AnswerDroppingProxy(ThreadingTCPServer):
    """Forwards each request, reads the whole answer, keeps it, and closes the client's connection.

    `dropped` has the answers by Idempotency-Key, oldest first: status and body.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.api_port = port
        self.dropped: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._lock = Lock()
        super().__init__((LOCALHOST, 0), _Request)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    @property
    def count(self) -> int:
        """The number of answers that were lost."""
        with self._lock:
            return sum(len(answers) for answers in self.dropped.values())

    def drop(self, key: str, status: int, body: bytes) -> None:
        """Keep an answer that its client never gets."""
        with self._lock:
            self.dropped[key].append((status, body))


class _Request(StreamRequestHandler):
    """One request, then the connection is closed."""

    server: AnswerDroppingProxy

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        headers = http.client.parse_headers(_Lines(head))
        body = self.rfile.read(int(headers.get("Content-Length", "0")))
        with socket.create_connection((LOCALHOST, self.server.api_port), _ANSWERS_WITHIN_SECONDS) as upstream:
            upstream.sendall(head + body)
            answer = http.client.HTTPResponse(upstream)
            answer.begin()
            self.server.drop(headers["Idempotency-Key"], answer.status, answer.read())


class _Lines:
    """The header lines of a request, for http.client to read."""

    def __init__(self, head: bytes) -> None:
        self._lines = iter(head.splitlines(keepends=True)[1:])

    def readline(self, _: int = -1) -> bytes:
        return next(self._lines, b"")


@contextmanager
def answer_dropping_proxy(port: int) -> Iterator[AnswerDroppingProxy]:
    """Run one in front of a port of this machine."""
    with AnswerDroppingProxy(port) as proxy:
        serving = Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()

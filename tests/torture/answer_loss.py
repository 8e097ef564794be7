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


class AnswerEater(ThreadingTCPServer):
    """Hands each request on, waits until the whole answer is there, keeps it, and hangs up on the client.

    `eaten` holds the answers by Idempotency-Key, oldest first: status and body.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.behind = port
        self.eaten: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._lock = Lock()
        super().__init__((LOCALHOST, 0), _Request)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def count(self) -> int:
        """How many answers were lost."""
        with self._lock:
            return sum(len(answers) for answers in self.eaten.values())

    def eat(self, key: str, status: int, body: bytes) -> None:
        """Keep an answer that its client never saw."""
        with self._lock:
            self.eaten[key].append((status, body))


class _Request(StreamRequestHandler):
    """One request, then the end."""

    server: AnswerEater

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        headers = http.client.parse_headers(_Lines(head))
        body = self.rfile.read(int(headers.get("Content-Length", "0")))
        with socket.create_connection((LOCALHOST, self.server.behind), _ANSWERS_WITHIN_SECONDS) as way:
            way.sendall(head + body)
            answer = http.client.HTTPResponse(way)
            answer.begin()
            self.server.eat(headers["Idempotency-Key"], answer.status, answer.read())


class _Lines:
    """The header lines of a request, as http.client wants to read them."""

    def __init__(self, head: bytes) -> None:
        self._lines = iter(head.splitlines(keepends=True)[1:])

    def readline(self, _: int = -1) -> bytes:
        return next(self._lines, b"")


@contextmanager
def answer_eater(port: int) -> Iterator[AnswerEater]:
    """Lend one in front of a port of this machine."""
    with AnswerEater(port) as eater:
        serving = Thread(target=eater.serve_forever, args=(0.05,), daemon=True)
        serving.start()
        try:
            yield eater
        finally:
            eater.shutdown()

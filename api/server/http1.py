"""HTTP/1.1 requests from bytes, within bounds (RFC 9112). llhttp reads them; what it leaves to a server is here."""

from collections import deque
from dataclasses import dataclass, field

import httptools

from api.http.framework.json import MAX_BODY_BYTES
from api.http.middleware.raw_bodies import MAX_BYTES_READ
from api.server.lanes import Lane, lane_of
from payments.inbox.inbox import MAX_BYTES_KEPT

MAX_TARGET_BYTES = 4_096
MAX_HEAD_BYTES = 32_768
MAX_HEADERS = 64
MAX_PIPELINED = 16
"""How many requests of one connection may wait for their answers."""


class RefusedRequest(Exception):
    """A request that the application does not answer, and that ends its connection."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True, eq=False)
class Request:
    """A request, as far as it has been read."""

    method: str = ""
    target: bytes = b""
    version: str = "1.1"
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Their names are in lower case."""
    lane: Lane = Lane.READING
    has_head: bool = False
    is_whole: bool = False
    keeps_connection: bool = False
    expects_continue: bool = False
    declared_bytes: int | None = None
    """What Content-Length says; None for chunks."""
    body: bytearray = field(default_factory=bytearray)
    """As much of the body as the application is given."""
    body_bytes: int = 0
    """How much of the body has arrived."""
    cut: RefusedRequest | None = None
    """How the client is answered if it did not send the whole request, whatever the application says."""

    @property
    def length(self) -> int:
        """The length of the body in bytes; of one that did not arrive whole, more than has arrived."""
        if self.declared_bytes is not None:
            return self.declared_bytes
        return self.body_bytes if self.is_whole else self.body_bytes + 1

    @property
    def max_body_bytes(self) -> int:
        """How many bytes of the body are read."""
        return MAX_BYTES_READ if self.lane is Lane.CALLBACKS else MAX_BODY_BYTES

    @property
    def max_kept_bytes(self) -> int:
        """How many bytes of the body are kept for the application."""
        return MAX_BYTES_KEPT if self.lane is Lane.CALLBACKS else MAX_BODY_BYTES


class RequestReader:
    """Reads the requests of one connection, and keeps those that are to be answered in `ready`, in their order.

    `refusal` is to be answered after these; `refused` is its request, as far as that was read. Nothing is read after
    it, nor after a body that is too long: its request is ready at once, so that the application refuses it as usual.
    """

    def __init__(self) -> None:
        self.ready: deque[Request] = deque()
        self.current: Request | None = None
        self.refusal: RefusedRequest | None = None
        self.refused: Request | None = None
        self.is_over = False
        self._head_bytes = 0
        """How much has come of the current request that brought nothing of a body: its head, then its trailers."""
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Read on."""
        if self.is_over:
            return
        before = self._progress
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.is_over = True  # The request is answered as if it had not asked for another protocol.
        except httptools.HttpParserError:
            if not self.is_over:
                self._refuse("BAD_REQUEST")
        if self.current is not None and self._progress == before:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse("HEAD_TOO_LARGE")

    def end(self, refusal: RefusedRequest) -> None:
        """Read no more. A request that has begun is refused, unless it is a callback: what arrived of it is kept."""
        request, self.current, self.is_over = self.current, None, True
        if request is None:
            return
        if request.lane is Lane.CALLBACKS and request.body:
            request.keeps_connection, request.cut = False, refusal
            self.ready.append(request)
        else:
            self.refusal, self.refused = self.refusal or refusal, request

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self.ready) >= MAX_PIPELINED:
            raise self._refuse("BAD_REQUEST")
        self.current, self._head_bytes = Request(), 0

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._request.target += part
        if len(self._request.target) > MAX_TARGET_BYTES:
            raise self._refuse("HEAD_TOO_LARGE")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one behind a chunked body is ignored."""
        request = self._request
        if request.has_head:
            return
        request.headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))
        if len(request.headers) > MAX_HEADERS:
            raise self._refuse("HEAD_TOO_LARGE")

    def on_headers_complete(self) -> None:
        """Look at what a head says about its request."""
        request, parser = self._request, self._parser
        request.version = parser.get_http_version()
        hosts = [name for name, _ in request.headers].count("host")
        if request.version not in ("1.0", "1.1") or hosts > 1 or (hosts == 0 and request.version == "1.1"):
            raise self._refuse("BAD_REQUEST")
        head_bytes = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        if head_bytes > MAX_HEAD_BYTES:
            raise self._refuse("HEAD_TOO_LARGE")
        headers = dict(request.headers)
        request.method = parser.get_method().decode("ascii")
        request.has_head = True
        request.lane = lane_of(request.method, request.target)
        request.keeps_connection = parser.should_keep_alive() and not parser.should_upgrade()
        if "transfer-encoding" not in headers:
            request.declared_bytes = int(headers.get("content-length", "0"))
        request.expects_continue = headers.get("expect", "").lower() == "100-continue"
        if (request.declared_bytes or 0) > request.max_body_bytes:
            raise self._stop_reading()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        request = self._request
        request.body_bytes += len(part)
        request.expects_continue = False
        request.body += part[: request.max_kept_bytes - len(request.body)]
        if request.body_bytes > request.max_body_bytes:
            raise self._stop_reading()

    def on_message_complete(self) -> None:
        """End a request."""
        request, self.current = self._request, None
        request.is_whole = True
        self.ready.append(request)

    @property
    def _progress(self) -> tuple[int, int]:
        """How many requests and how much of the body of the current one have come."""
        return len(self.ready), self.current.body_bytes if self.current is not None else 0

    @property
    def _request(self) -> Request:
        assert self.current is not None
        return self.current

    def _refuse(self, code: str) -> RefusedRequest:
        refusal = RefusedRequest(code)
        if self.current is None:
            self.refusal = refusal
        self.end(refusal)
        return refusal

    def _stop_reading(self) -> RefusedRequest:
        request, self.current, self.is_over = self._request, None, True
        request.keeps_connection = request.expects_continue = False
        self.ready.append(request)
        return RefusedRequest("BODY_TOO_LARGE")

"""Connections to endpoints are kept for the next message where nothing speaks against it, and for a moment only."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import cycle
from uuid import UUID

import pytest

from payments.webhooks import connections
from payments.webhooks.connections import Connections, NotPosted, Origin
from payments.webhooks.http_post import Route
from payments.webhooks.targets import parse_target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Host:
    """A server whose every answer is the next of `answers`, the last for ever; it counts connections and requests."""

    def __init__(self, *answers: bytes, ends_after: int = 1_000) -> None:
        self.answers = list(answers)
        self.ends_after = ends_after
        self.connections = self.requests = 0
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(self.ends_after):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(b"{}"))
                self.requests += 1
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        writer.close()
        self.ended.set()


def post_to(
    host: Host,
    count: int,
    between: Callable[[Host], Awaitable[None]] | None = None,
    owners: Sequence[UUID] = (UUID(int=1),),
) -> list[int]:
    """Post one message after the other, of each owner in turn; return the statuses."""

    async def post() -> list[int]:
        async with await asyncio.start_server(host.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            kept = Connections(lambda: pytest.fail("nothing is encrypted"))
            target = parse_target(f"http://127.0.0.1:{port}/", allows_private=True)
            routes = cycle([Route(target, kept, owner, allows_private=True) for owner in owners])
            statuses = []
            for _ in range(count):
                statuses.append((await next(routes).post({}, b"{}")).status)
                if between is not None:
                    await between(host)
            for owner in owners:
                origin = Origin(owner, is_encrypted=False, host="127.0.0.1", port=port)
                if (last := kept.kept(origin)) is not None:
                    last.abort()
            return statuses

    return asyncio.run(post())


@pytest.mark.parametrize("answer", [NO_CONTENT, SHORT + b"ok", b"HTTP/1.1 100 Continue\r\n\r\n" + NO_CONTENT])
def test_a_connection_is_kept_for_the_next_message(answer: bytes) -> None:
    host = Host(answer)
    statuses = post_to(host, 5)
    assert len(statuses) == host.requests == 5
    assert host.connections == 1


def test_endpoints_of_one_host_share_no_connection() -> None:
    host = Host(NO_CONTENT)
    post_to(host, 4, owners=(UUID(int=1), UUID(int=2)))
    assert (host.connections, host.requests) == (2, 4)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000,
        SHORT + b"ok, and more than it said",
        SHORT + b"o",
    ],
)
def test_a_connection_whose_answer_has_no_clear_and_near_end_is_not_used_again(answer: bytes) -> None:
    host = Host(answer)
    assert post_to(host, 2) == [200, 200]
    assert host.connections == 2


def test_a_message_that_meets_a_connection_just_ended_goes_on_another() -> None:
    host = Host(NO_CONTENT, ends_after=1)
    assert post_to(host, 3) == [204, 204, 204]
    assert (host.connections, host.requests) == (3, 3)


def test_a_connection_that_nobody_needs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.0)

    async def until_ended(host: Host) -> None:
        await host.ended.wait()

    host = Host(NO_CONTENT)
    assert post_to(host, 2, until_ended) == [204, 204]
    assert host.connections == 2


def test_an_old_connection_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_AGE_SECONDS", -1.0)
    host = Host(NO_CONTENT)
    post_to(host, 2)
    assert host.connections == 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 6, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * connections.MAX_HEAD_BYTES, "too long"),
        (b"HTTP/1.1 200 OK\r\n", "closed without an answer"),
        (b"", "closed without an answer"),
    ],
)
def test_what_is_no_answer_is_none(answer: bytes, why: str) -> None:
    with pytest.raises(NotPosted, match=why):
        post_to(Host(answer, ends_after=1), 1)

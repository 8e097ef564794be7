"""Clients that send or read slowly, or nothing at all: they hold their socket, and nobody else waits for them."""

import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from select import select
from socket import SHUT_WR, SO_RCVBUF, SOL_SOCKET, socket
from time import monotonic

import psutil  # type: ignore[import-untyped]  # it comes without types
import psycopg
import pytest

from api.http.streaming.notifier import SHARES
from api.issued_tokens import make_token
from api.server.web_server import slots_of, waiters_of
from tests.support.database import new_database, reachable_folder
from tests.support.ports import LOCALHOST
from tests.support.suites import others_in_system
from tests.support.waiting import wait_until
from tests.support.web_server import Server, everything, read, serving

CALLBACK = "/api/payments/callbacks/"
CALLBACKS = (
    CALLBACK,
    "/api/payments/transactions/mpesa_callback/",
    "/api/payments/c2b/token/confirmation/",
    "/api/payments/results/token/",
    "/api/payments/timeouts/token/",
)
SOON_SECONDS = 5.0
"""Within which others are answered, on a machine that runs other tests besides."""

REQUEST_SECONDS = 2
"""Which the server gives for a head, and for 64 KiB of a body or an answer."""

MANY = ("half a head", "a head without its body")
UNFINISHED = {
    "nothing": b"",
    "half a head": b"POST /api/payments/sessions/ HTTP/1.1\r\nHost: shop\r\nX-Slow: ",
    "a head without its body": (
        b"POST /api/payments/sessions/ HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n"
    ),
    "a part of a body": (
        b"POST /api/payments/sessions/ HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        b'Content-Length: 100\r\n\r\n{"'
    ),
    "a GET whose body never comes": b"GET /api/catalogue/ HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\n",
    "a chunk that never comes": (
        b"POST /api/payments/callbacks/ HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n"
    ),
    "a callback without its body": b"POST /api/payments/callbacks/ HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(server_url: str, template_database: str) -> Iterator[Server]:
    folder = reachable_folder()
    short = {
        "DAFTARI_REQUEST_SECONDS": str(REQUEST_SECONDS),
        "DAFTARI_STREAM_SECONDS": "2",
        "DAFTARI_WEB_THREADS": "2",
    }
    with new_database(server_url, template_database) as url, serving(url, folder, **short) as running:
        yield running
    shutil.rmtree(folder)


@contextmanager
def sockets(server: Server, count: int) -> Iterator[list[socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server.connect()) for _ in range(count)]


def answer_of(server: Server, method: str, path: str, body: bytes | None = None) -> int:
    """Return the status of a request on a connection of its own, which is answered soon."""
    started = monotonic()
    connection = HTTPConnection(LOCALHOST, server.settings.daftari_port, timeout=30)
    token = make_token(server.settings, 1, ["customer"], 60)
    connection.request(
        method, path, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    )
    status = connection.getresponse().status
    connection.close()
    assert monotonic() - started < SOON_SECONDS
    return status


def assert_others_are_served(server: Server) -> None:
    assert answer_of(server, "GET", "/api/catalogue/") == 200
    assert answer_of(server, "POST", "/api/payments/sessions/", b"{}") == 400
    assert answer_of(server, "POST", CALLBACK, b"{}") == 200


@pytest.mark.parametrize("kind", others_in_system(UNFINISHED, "a callback without its body"))
def test_clients_that_do_not_go_on_delay_nobody_and_are_ended_in_time(server: Server, kind: str) -> None:
    with sockets(server, 500 if kind in MANY else 64) as slow:
        for sock in slow:
            sock.sendall(UNFINISHED[kind])
        assert_others_are_served(server)
        for answer in map(everything, slow):
            assert_timed_out(answer) if UNFINISHED[kind] else assert_silent(answer)


def assert_silent(answer: bytes) -> None:
    assert answer == b""


def assert_timed_out(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error_code"] == "REQUEST_TIMEOUT"


@pytest.mark.parametrize("kind", others_in_system(MANY, "half a head"))
def test_a_byte_now_and_then_gains_no_time(server: Server, kind: str) -> None:
    with server.connect() as sock:
        sock.sendall(UNFINISHED[kind])
        sock.settimeout(0.2)
        started, answer = monotonic(), b""
        while not answer:
            assert monotonic() - started < 10
            sock.sendall(b"x")
            with suppress(TimeoutError):
                answer = sock.recv(64)
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed_without_a_word(server: Server) -> None:
    with sockets(server, 500) as idle:
        for sock in idle:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert_others_are_served(server)
        for answer in map(everything, idle):
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.count(b"HTTP/1.1") == 1


def connections_of(server: Server) -> int:
    """Return how many clients' connections the server's processes hold."""
    port = server.settings.daftari_port
    return sum(
        found.laddr.port == port and found.status != psutil.CONN_LISTEN
        for w in server.workers()
        for found in w.net_connections("tcp")
    )


def test_an_address_has_a_bounded_number_of_connections(database_url: str, data_folder: Path) -> None:
    bounds = {"DAFTARI_CONNECTIONS_OF_ADDRESS": "5", "DAFTARI_UNLIMITED_ADDRESSES": "none"}
    with serving(database_url, data_folder, **bounds) as server:
        wait_until(lambda: connections_of(server) == 0, "nobody is connected")
        with sockets(server, 9) as many:
            wait_until(lambda: len(ended(many)) == 4, "those above the bound are closed")
            assert [everything(sock) for sock in ended(many)] == [b""] * 4


def ended(many: list[socket]) -> list[socket]:
    return select(many, [], [], 0)[0]


def test_callbacks_are_taken_while_all_that_buyers_may_use_is_in_use(
    database_url: str, data_folder: Path
) -> None:
    with (
        serving(database_url, data_folder, DAFTARI_WEB_THREADS="64") as server,
        psycopg.connect(database_url) as connection,
        sockets(server, 64) as buyers,
    ):
        connection.execute("LOCK TABLE shop_listings IN ACCESS EXCLUSIVE MODE")
        for sock in buyers:
            sock.sendall(b"GET /api/catalogue/ HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        wait_until(lambda: server.waiting_for_locks() == slots_of(server.settings), "all slots are in use")
        for path in CALLBACKS:
            assert answer_of(server, "POST", path, b"{}") == 200
        assert answer_of(server, "GET", "/healthz") == 200


PAGE = b"GET /openapi.json HTTP/1.1\r\nHost: shop\r\n\r\n"
"""A request whose answer is longer than what the kernel keeps for a client."""

UNREAD = {
    "one answer": PAGE,
    "its last answer": PAGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "many answers": PAGE * 16,
    "hundreds of short answers": b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n" * 400,
}


@contextmanager
def slow_readers(server: Server, count: int, sent: bytes) -> Iterator[list[socket]]:
    """Yield connections that have hardly any room for an answer."""
    with ExitStack() as stack:
        readers = []
        for _ in range(count):
            sock = stack.enter_context(socket())
            sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 2_048)
            sock.connect((LOCALHOST, server.settings.daftari_port))
            sock.sendall(sent)
            readers.append(sock)
        yield readers


def held_for_clients(server: Server) -> int:
    """Return how many connections the server or the kernel holds for it, with something that is to be sent."""
    port = server.settings.daftari_port
    at_work = (psutil.CONN_ESTABLISHED, psutil.CONN_FIN_WAIT1, psutil.CONN_CLOSE_WAIT, psutil.CONN_LAST_ACK)
    return sum(
        found.laddr.port == port and found.status in at_work for found in psutil.net_connections("tcp")
    )


@pytest.mark.parametrize("kind", others_in_system(UNREAD, "many answers"))
def test_who_reads_no_answer_holds_nothing_for_long(server: Server, kind: str) -> None:
    with slow_readers(server, 48, UNREAD[kind]) as readers:
        for sock in readers[::2]:
            sock.shutdown(SHUT_WR)
        assert_others_are_served(server)
        wait_until(lambda: held_for_clients(server) == 0, "their connections are gone", 30)


@pytest.mark.system
def test_a_byte_read_now_and_then_gains_no_time(server: Server) -> None:
    with slow_readers(server, 8, PAGE) as readers:

        def are_gone() -> bool:
            for sock in readers:
                with suppress(OSError):
                    sock.recv(1)
            return held_for_clients(server) == 0

        wait_until(are_gone, "their connections are gone", 30)


def has_come(moment: float) -> bool:
    return monotonic() >= moment


@pytest.mark.system
def test_who_reads_slowly_but_steadily_gets_the_whole_answer(server: Server) -> None:
    """The least rate here is 64 KiB in two seconds."""
    bytes_a_second = 49_152
    with slow_readers(server, 1, UNREAD["its last answer"]) as [sock]:
        got, started = b"", monotonic()
        while part := sock.recv(8_192):
            got += part
            wait_until(partial(has_come, started + len(got) / bytes_a_second), "it is time to read on")
    head, _, body = got.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert monotonic() - started > 3 * REQUEST_SECONDS / 2


@pytest.mark.parametrize("what", others_in_system(["stream/", "status/?wait=1"], "stream/"))
def test_who_does_not_read_what_they_waited_for_holds_nothing_for_long(server: Server, what: str) -> None:
    checkout = server.checkout(1)
    token = make_token(server.settings, 1, ["customer"], 60)
    asked = (
        f"GET /api/payments/sessions/{checkout.session_id}/{what} HTTP/1.1\r\nHost: shop\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    with slow_readers(server, 48, asked.encode() * 16):
        checkout.request()
        assert_others_are_served(server)
        wait_until(lambda: held_for_clients(server) == 0, "their connections are gone", 40)


@pytest.mark.system
def test_answers_that_wait_for_their_readers_have_a_bound(database_url: str, data_folder: Path) -> None:
    """Those who have read least of theirs are cut long before their time is over."""
    bounds = {"DAFTARI_REQUEST_SECONDS": "300"}
    with serving(database_url, data_folder, **bounds) as server:
        [worker] = server.workers()
        with slow_readers(server, 700, PAGE):
            wait_until(lambda: b"unsent_bytes_of_the_process" in server.log.read_bytes(), "some are cut", 30)
            assert_others_are_served(server)
            assert worker.memory_info().rss < 300 << 20


@contextmanager
def soft_limit_of_files(count: int) -> Iterator[None]:
    """Let the processes that are started in this context open so few files, unless they raise the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4_096)), hard))


@pytest.mark.system
def test_a_thousand_waiting_clients_hold_no_thread_and_delay_nobody(
    database_url: str, data_folder: Path
) -> None:
    """The process starts with room for 512 files, and has two slots."""
    with ExitStack() as stack:
        with soft_limit_of_files(512):
            server = stack.enter_context(serving(database_url, data_folder, DAFTARI_WEB_THREADS="2"))
        [worker] = server.workers()
        checkouts = [server.checkout(user) for user in range(1, SHARES + 1)]
        other = server.checkout(SHARES + 1)
        asked = [
            (user, checkouts[user - 1].session_id, "status/?wait=30&after=1")
            for user in (number % SHARES + 1 for number in range(1_000))
        ]
        polls = server.fill(asked, "NO_ROOM_TO_WAIT", (SHARES + 1, other.session_id))
        assert_others_are_served(server)
        assert worker.num_threads() < 30
        for checkout in checkouts:
            checkout.request()
        for poll in polls:
            assert read(poll)[1]["version"] == 2


@pytest.mark.system
def test_a_process_that_may_open_few_files_serves_fewer_waiting_clients(server: Server) -> None:
    assert waiters_of(server.settings, 1_024) == 384
    assert waiters_of(server.settings, 10_000) == server.settings.daftari_web_waiters

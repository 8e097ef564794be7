"""The web server as it runs: what clients may send, what they get, and how its processes end and come back."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from socket import SHUT_WR, socket

import psycopg
import pytest

from api.http.framework.json import MAX_BODY_BYTES
from api.issued_tokens import make_token
from payments.worker.sweeps import act_on_messages
from tests.support.database import new_database, reachable_folder
from tests.support.waiting import wait_until
from tests.support.web_server import Server, answers, everything, serving

CALLBACK = b"POST /api/payments/callbacks/secret-token/ HTTP/1.1\r\nHost: shop\r\n"
CART = b"PUT /api/cart/items/1/ HTTP/1.1\r\nHost: shop\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n"
POLL = b"GET /api/payments/sessions/a38d0889-82a5-42db-b32b-2746a2a26d6f/status/ HTTP/1.1\r\nHost: shop\r\n"
CLOSE = b"Connection: close\r\n\r\n"


@pytest.fixture(scope="module")
def server(server_url: str, template_database: str) -> Iterator[Server]:
    folder = reachable_folder()
    with new_database(server_url, template_database) as url, serving(url, folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def client(server: Server) -> Iterator[socket]:
    with server.connect() as sock:
        yield sock


def code_of(answer: bytes) -> str:
    body = answer.partition(b"\r\n\r\n")[2]
    code: str = json.loads(body)["error_code"]
    return code


def stored(server: Server) -> list[tuple[str, str | None, int]]:
    with server.services.database.connection() as connection:
        rows = connection.execute("SELECT state, reason, body_bytes FROM daraja_inbox ORDER BY received_at")
        return [(row["state"], row["reason"], row["body_bytes"]) for row in rows]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"y" * 40_000, 431, "HEAD_TOO_LARGE"),
        (CALLBACK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "BAD_REQUEST"),
        (CART + b"Content-Length: %d\r\n\r\n" % (1 << 40), 401, "TOKEN_MISSING"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    client: socket, sent: bytes, status: int, code: str
) -> None:
    client.sendall(sent)
    answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in answer
    assert code_of(answer) == code


def test_requests_behind_one_another_are_answered_in_their_order(client: socket) -> None:
    client.sendall(HEALTH * 3 + b"GET /api/nothing/ HTTP/1.1\r\nHost: shop\r\n" + CLOSE + HEALTH)
    answer = everything(client)
    assert [answer.count(b"HTTP/1.1 %d " % status) for status in (200, 401)] == [3, 1]
    assert answer.rindex(b" 200 OK") < answer.index(b" 401 ")


def test_the_protocol_of_twenty_years_ago_is_spoken(client: socket) -> None:
    client.sendall(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    client.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
    kept, bare = everything(client).split(b"HTTP/1.1 200 OK")[1:]
    assert b"Connection: keep-alive" in kept
    assert kept.endswith(b'{"status":"ok"}')
    assert b"Connection: close" in bare
    assert b"Content-Length: 15" in bare
    assert bare.endswith(b"\r\n\r\n")


def test_polls_that_come_together_are_answered_each_for_itself(server: Server) -> None:
    token = make_token(server.settings, 1, ["customer"], 60).encode()
    polls = [POLL + b"Authorization: Bearer %s\r\n" % token + CLOSE, POLL + CLOSE] * 20
    clients = [server.connect() for _ in polls]
    for client, poll in zip(clients, polls, strict=True):
        client.sendall(poll)
    for client, status in zip(clients, (404, 401) * 20, strict=True):
        with client:
            assert everything(client).startswith(b"HTTP/1.1 %d " % status)


def test_others_are_answered_while_polls_wait_for_the_database(server: Server) -> None:
    poll = POLL + b"Authorization: Bearer %s\r\n" % make_token(server.settings, 1, ["customer"], 60).encode()
    with server.connect() as client:
        with psycopg.connect(server.settings.database_url) as connection:
            connection.execute("LOCK TABLE payment_sessions IN ACCESS EXCLUSIVE MODE")
            client.sendall(poll + b"\r\n")
            wait_until(lambda: server.waiting_for_locks() == 1, "the poll waits for the lock")
            assert answers(server)
            client.sendall(poll + CLOSE)
            assert answers(server)
        assert everything(client).count(b"HTTP/1.1 404 ") == 2


def test_who_asks_before_sending_a_body_is_told_to_go_on(client: socket) -> None:
    client.sendall(CALLBACK + b"Expect: 100-continue\r\nContent-Length: 2\r\n" + CLOSE)
    assert client.recv(64) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"{}")
    assert everything(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_too_long_is_refused_by_its_head(client: socket, server: Server) -> None:
    token = make_token(server.settings, 1, ["customer"], 60).encode()
    client.sendall(
        CART
        + b"Authorization: Bearer %s\r\nContent-Type: application/json\r\n" % token
        + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
    )
    answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert code_of(answer) == "BODY_TOO_LARGE"


def test_a_callback_that_is_cut_short_is_kept_under_its_own_name(
    database_url: str, data_folder: Path
) -> None:
    with serving(database_url, data_folder, DAFTARI_REQUEST_SECONDS="1") as server:
        for leaves in (True, False):
            with server.connect() as client:
                client.sendall(CALLBACK + b'Content-Length: 100\r\n\r\n{"Body": ')
                if leaves:
                    client.shutdown(SHUT_WR)
                status = 400 if leaves else 408
                assert everything(client).startswith(b"HTTP/1.1 %d " % status)
        worker = server.services.worker
        act_on_messages(worker.inbox, worker.dispatcher, 1, is_authenticated=False)
        assert stored(server) == [("set_aside", "cut_short", 100)] * 2


def test_a_client_that_leaves_harms_nobody(server: Server) -> None:
    for sent in (b"GET ", CART + b"Content-Length: 9\r\n\r\n", HEALTH * 5, HEALTH[:-1]):
        for _ in range(20):
            with server.connect() as client:
                client.sendall(sent)
    assert answers(server)
    assert b"Traceback" not in server.log.read_bytes()


def test_no_line_of_the_log_repeats_what_a_client_sent(server: Server) -> None:
    for rest in (b"\r\n", b"Content-Length: x\r\n\r\n", b"Content-Length: 9\r\n\r\n{"):
        with server.connect() as client:
            client.sendall(CALLBACK + rest)
            client.shutdown(SHUT_WR)
            everything(client)
    assert b"secret-token" not in server.log.read_bytes()


@pytest.mark.system
def test_a_process_that_is_killed_is_replaced(server: Server) -> None:
    [worker] = server.workers()
    worker.kill()
    wait_until(
        lambda: [found.pid for found in server.workers()] not in ([], [worker.pid]), "there is another"
    )
    wait_until(lambda: answers(server), "it answers")


@pytest.mark.system
def test_a_process_whose_parent_is_killed_ends(database_url: str, data_folder: Path) -> None:
    with serving(database_url, data_folder) as server:
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(worker.is_running() for worker in workers), "the workers have ended")


def test_a_request_that_is_being_answered_when_the_server_stops_is_answered(
    database_url: str, data_folder: Path
) -> None:
    with serving(database_url, data_folder) as server, server.connect() as client, server.connect() as late:
        with psycopg.connect(database_url) as connection:
            connection.execute("LOCK TABLE daraja_inbox IN ACCESS EXCLUSIVE MODE")
            client.sendall(CALLBACK + b"Content-Length: 2\r\n\r\n{}")
            late.sendall(CALLBACK + b"Content-Length: 2\r\n\r\n")
            wait_until(lambda: server.waiting_for_locks() == 1, "the callback waits for the lock")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_accepting(server), "nobody is accepted any more")
            late.sendall(b"{}")
        assert everything(client).startswith(b"HTTP/1.1 200 ")
        assert everything(late).startswith(b"HTTP/1.1 200 ")
        wait_until(server.has_gone, "the server has stopped")


def is_accepting(server: Server) -> bool:
    try:
        server.connect().close()
    except OSError:
        return False
    return True

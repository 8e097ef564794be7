"""The web server as it runs: a client that long-polls holds no thread, and is answered whatever happens."""

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from pathlib import Path
from socket import SHUT_WR, create_connection

import pytest

from api.http.streaming.notifier import MIN_OF_A_USER
from api.issued_tokens import make_token
from tests.support.database import new_database, reachable_folder
from tests.support.ports import LOCALHOST
from tests.support.waiting import wait_until
from tests.support.web_server import Server, read, serving

PLACES = 12
"""Of a server with one slot, which takes requests in the order in which they come; four are for one user."""

_users = count(1)


def small_server(database_url: str, data_folder: Path, **variables: str) -> AbstractContextManager[Server]:
    few = {"DAFTARI_WEB_THREADS": "1", "DAFTARI_WEB_WAITERS": str(PLACES)}
    return serving(database_url, data_folder, **few, **variables)


@pytest.fixture(scope="module")
def one_server(server_url: str, template_database: str) -> Iterator[Server]:
    folder = reachable_folder()
    with new_database(server_url, template_database) as url, small_server(url, folder) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def server(one_server: Server) -> Iterator[Server]:
    """The server of all tests, which leave no client waiting at it; each has users of its own."""
    yield one_server
    for connection in one_server.connections:
        connection.close()


@pytest.fixture
def user() -> int:
    """A user whom no other test knows."""
    return next(_users)


@pytest.mark.parametrize("path", ["/api/payments/callbacks/", "/api/payments/sessions/"])
@pytest.mark.parametrize("body", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}", b"2;\r\n{}xx0\r\n\r\n"])
def test_a_body_with_malformed_chunks_is_the_clients_fault(
    server: Server, user: int, path: str, body: bytes
) -> None:
    token = make_token(server.settings, user, ["customer"], 60)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with create_connection((LOCALHOST, server.settings.daftari_port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(SHUT_WR)
        assert connection.recv(64).startswith(b"HTTP/1.1 400 ")


def next_event(response: HTTPResponse) -> dict[str, str]:
    """Read a stream to the end of its next event; return the event's fields."""
    fields: dict[str, str] = {}
    for line in iter(response.readline, b""):
        name, _, text = line.decode().strip().partition(": ")
        fields[name] = text
        if not line.strip() and "data" in fields:
            return fields
    raise AssertionError("The stream has ended.")


def test_more_clients_wait_than_there_are_threads_and_others_are_served(
    database_url: str, data_folder: Path
) -> None:
    with small_server(database_url, data_folder) as server:
        fill_with_polls(server)


def fill_with_polls(server: Server) -> None:
    checkouts = {user: server.checkout(user) for user in (1, 2, 4)}
    polls = [
        (user, checkout.session_id, "status/?wait=30&after=1")
        for user, checkout in checkouts.items()
        for _ in range(MIN_OF_A_USER)
    ]
    other = server.checkout(3)
    waiting = server.fill(polls, "NO_ROOM_TO_WAIT", (3, other.session_id))
    assert read(server.ask(3, other.session_id))[1]["session_status"] == "pending"
    for checkout in checkouts.values():
        checkout.request()
    shown = [read(connection) for connection in waiting]
    assert {(status, body["version"], body["retry_after"] > 100) for status, body in shown} == {
        (200, 2, True)
    }
    assert server.code_of(3, other.session_id) is None


def test_a_poll_without_a_change_keeps_its_connection(server: Server, user: int) -> None:
    session_id = server.checkout(user).session_id
    connection = server.ask(user, session_id, "status/?wait=1")
    first = read(connection)
    kept = connection.sock
    server.ask_on(connection, user, session_id, "status/?wait=1&after=1")
    assert (first[0], read(connection)) == (200, first)
    assert connection.sock is kept
    assert kept is not None


def test_a_request_that_is_sent_behind_a_poll_is_answered_after_it(server: Server, user: int) -> None:
    session_id = server.checkout(user).session_id
    connection = server.ask(user, session_id, "status/?wait=1")
    token = make_token(server.settings, user, ["customer"], 60)
    sock = connection.sock
    assert sock is not None
    sock.sendall(
        f"GET /api/payments/sessions/ HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n"
        "Connection: close\r\n\r\n".encode()
    )
    with sock.makefile("rb") as answers:
        text = answers.read().decode()
    assert text.count("HTTP/1.1 200 OK") == 2
    assert text.index('"version":1') < text.index('"count":1')


def test_a_stream_sends_each_change_until_the_session_is_settled(server: Server, user: int) -> None:
    checkout = server.checkout(user)
    response = server.ask(user, checkout.session_id, "stream/").getresponse()
    assert response.getheader("Content-Type", "").startswith("text/event-stream")
    assert response.getheader("Cache-Control") == "no-store"
    first = next_event(response)
    assert (first["id"], int(first["retry"]) > 0) == ("1", True)
    checkout.request()
    assert next_event(response)["id"] == "2"
    checkout.initiate()
    assert json.loads(next_event(response)["data"])["session_status"] == "payment_initiated"
    checkout.pay("UKF7Q2X9LM").order(789)
    status = ""
    while status != "order_created":
        status = json.loads(next_event(response)["data"])["session_status"]
    assert response.read() == b""


def test_a_stream_goes_on_after_the_last_event_that_was_seen(server: Server, user: int) -> None:
    checkout = server.checkout(user).request()
    response = server.ask(user, checkout.session_id, "stream/", Last_Event_ID="2").getresponse()
    checkout.initiate()
    assert next_event(response)["id"] == "3"
    response.close()
    checkout.pay("UKF7Q2X9LN").order(790)
    known = checkout.session.version
    assert (
        server.ask(user, checkout.session_id, "stream/", Last_Event_ID=str(known)).getresponse().status == 204
    )
    missed = server.ask(user, checkout.session_id, "stream/", Last_Event_ID="3").getresponse()
    assert next_event(missed)["id"] == str(known)
    assert missed.read() == b""


def test_many_kept_connections_are_answered_again_and_again(server: Server, user: int) -> None:
    session_id = server.checkout(user).session_id
    kept = [HTTPConnection(LOCALHOST, server.settings.daftari_port, timeout=30) for _ in range(PLACES)]
    server.connections.extend(kept)
    for _ in range(3):
        for connection in kept:
            server.ask_on(connection, user, session_id, "status/")
        assert [read(connection)[0] for connection in kept] == [200] * PLACES


def test_a_client_that_has_gone_frees_its_request_slot(server: Server, user: int) -> None:
    session_id = server.checkout(user).session_id
    streams = [server.ask(user, session_id, "stream/").getresponse() for _ in range(MIN_OF_A_USER // 2)]
    for stream in streams:
        next_event(stream)
    polls = [(user, session_id, "status/?wait=30")] * (MIN_OF_A_USER // 2)
    waiting = server.fill(polls, "TOO_MANY_WAITING", (user, session_id))
    refused = server.ask(user, session_id, "stream/").getresponse()
    assert (refused.status, int(refused.getheader("Retry-After", "0")) > 0) == (429, True)
    for connection in waiting:
        connection.close()
    for stream in streams:
        stream.close()
    wait_until(lambda: server.code_of(user, session_id) is None, "there is room again")


def test_waiting_clients_are_answered_when_the_server_stops(database_url: str, data_folder: Path) -> None:
    with small_server(database_url, data_folder) as server:
        stop_while_clients_wait(server)


def stop_while_clients_wait(server: Server) -> None:
    checkout = server.checkout(1)
    stream = server.ask(1, checkout.session_id, "stream/").getresponse()
    next_event(stream)
    wanted = [(1, checkout.session_id, "status/?wait=30")] * (MIN_OF_A_USER - 1)
    polls = server.fill(wanted, "TOO_MANY_WAITING", (1, checkout.session_id))
    server.process.send_signal(signal.SIGTERM)
    assert [(status, body["version"]) for status, body in map(read, polls)] == [(200, 1)] * len(polls)
    assert stream.read() == b""
    wait_until(server.has_gone, "the server has stopped")


@pytest.mark.system
def test_a_stream_that_lasts_long_enough_ends(database_url: str, data_folder: Path) -> None:
    with small_server(database_url, data_folder, DAFTARI_STREAM_SECONDS="1") as server:
        checkout = server.checkout(1)
        response = server.ask(1, checkout.session_id, "stream/").getresponse()
        assert next_event(response)["id"] == "1"
        assert response.read() == b""


def test_streams_of_the_dashboard_hold_no_thread_and_are_bounded_for_each_user(server: Server) -> None:
    def ask(path: str, user: int) -> HTTPConnection:
        connection = HTTPConnection(LOCALHOST, server.settings.daftari_port, timeout=30)
        server.connections.append(connection)
        token = make_token(server.settings, user, ["analyst"], 60)
        connection.request("GET", f"/console/{path}", headers={"Cookie": f"daftari_operator={token}"})
        return connection

    analyst = next(_users)
    streams = [ask("live/", analyst).getresponse() for _ in range(MIN_OF_A_USER)]
    versions = {next_event(stream)["data"] for stream in streams}
    assert len(versions) <= 2
    refused = ask("live/", analyst).getresponse()
    assert (refused.status, refused.getheader("Retry-After")) == (429, "5")
    page = ask("?period=day", analyst).getresponse()
    shown = page.read().decode()
    assert page.status == 200
    assert 'data-version="' in shown
    server.checkout(next(_users))
    assert next_event(streams[0])["data"] not in versions

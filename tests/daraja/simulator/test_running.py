"""The server and the process around the simulator."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from daraja.simulator import PortTaken, SimulatorSettings, create_simulator
from tests.daraja.simulator.conftest import Receiver, Shop

REPOSITORY = Path(__file__).parents[3]
PROGRAM = """
import logging
from daraja.simulator import SimulatorSettings, run
logging.basicConfig(level="INFO", format="%(message)s")
run(SimulatorSettings(port=0))
"""


@pytest.fixture
def connection(shop: Shop) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection(urlsplit(shop.url).netloc, timeout=10)
    yield made
    made.close()


def test_a_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/simulator/api/health")
        assert connection.getresponse().read() == b'{"status":"up"}\n'
        sockets.add(connection.sock)
    assert len(sockets) == 1
    assert None not in sockets


def test_a_body_beyond_the_bound_is_refused_unread(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("POST", "/mpesa/stkpush/v1/processrequest")
    connection.putheader("Content-Length", str(2**20 + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (413, "close")


@pytest.mark.parametrize("header", [("Content-Length", "x"), ("Transfer-Encoding", "chunked")])
def test_a_body_of_unknown_length_is_refused(
    connection: http.client.HTTPConnection, header: tuple[str, str]
) -> None:
    connection.putrequest("POST", "/mpesa/stkpush/v1/processrequest")
    connection.putheader(*header)
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_an_answer_to_head_has_no_body(connection: http.client.HTTPConnection) -> None:
    for _ in range(2):
        connection.request("HEAD", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")


def test_an_unknown_method_is_not_allowed(connection: http.client.HTTPConnection) -> None:
    connection.request("BREW", "/oauth/v1/generate")
    assert connection.getresponse().status == 405


def test_a_port_that_is_taken_is_named_in_the_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"cannot listen on 127\.0\.0\.1:{port} .* another one"):
            create_simulator(SimulatorSettings()).start("127.0.0.1", port)


def test_a_simulator_that_never_started_can_be_stopped_and_a_stopped_one_started() -> None:
    simulator = create_simulator(SimulatorSettings())
    simulator.stop()
    for _ in range(2):
        simulator.start("127.0.0.1", 0)
        simulator.stop()


def test_32_clients_at_once_are_all_served_and_all_called_back(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(auto_approve_seconds=0)
    headers = shop.headers()

    def buy(buyer: int) -> int:
        document = shop.document(f"2547{buyer:08d}")
        return int(shop.send_push(document, headers=headers).status_code)

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(buy, range(20_000_000, 20_000_096))) == {200}
    assert shop.simulator.wait_until_idle()
    assert len({post.callback["CheckoutRequestID"] for post in receiver.received}) == 96
    assert len({post.items["MpesaReceiptNumber"] for post in receiver.received}) == 96


def test_five_pushes_to_one_phone_at_once_make_one_prompt(shop: Shop) -> None:
    headers = shop.headers()
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: shop.send_push(shop.document(), headers=headers), range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 500, 500, 500, 500]
    assert shop.simulator.submissions() == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_process_stops_cleanly(how: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        try:
            assert b"the simulator listens on http://127.0.0.1:" in process.stderr.readline()
            process.send_signal(how)
            assert process.wait(20) == 0
            assert process.stderr.read() == b""
        finally:
            process.kill()


@pytest.mark.parametrize(
    "wrong",
    [{"shortcode": "12"}, {"auto_approve_seconds": -1.0}, {"prompt_seconds": 0}, {"callback_workers": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        SimulatorSettings(**wrong)


def test_secrets_are_not_shown_with_the_settings() -> None:
    assert "simulator-secret" not in repr(SimulatorSettings())
    assert "simulator-passkey" not in repr(SimulatorSettings())

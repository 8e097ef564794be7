"""A `daftari serve` in a process of its own, and clients of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from select import POLLIN, poll
from socket import create_connection, socket
from typing import Any
from uuid import UUID, uuid4

import psutil  # type: ignore[import-untyped]  # it comes without types
import psycopg

from api.issued_tokens import make_token
from api.local.local_settings import local_settings
from api.settings import Settings
from api.wiring import build_services
from ledger import clock
from ledger.store.vault import PHONE
from payments.services import Services
from tests.support.checkouts import Checkout
from tests.support.instance import SIMULATED
from tests.support.ports import LOCALHOST, free_port
from tests.support.waiting import wait_until

_WAITING_FOR_LOCKS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@dataclass
class Server:
    """A `daftari serve` of one process, and the parts of the same Daftari in ours."""

    process: subprocess.Popen[bytes]
    settings: Settings
    services: Services
    log: Path
    connections: list[HTTPConnection] = field(default_factory=list)

    def checkout(self, user_id: int) -> Checkout:
        """Return a new session of a user, which the test drives."""
        session_id = uuid4()
        phone = self.services.vault.encrypt(user_id, "254712345678", purpose=PHONE, row=session_id)
        return Checkout(
            self.services.ledger, user_id=user_id, at=clock.now(), session_id=session_id, phone_sealed=phone
        )

    def ask(self, user_id: int, session_id: UUID, what: str = "status/", **headers: str) -> HTTPConnection:
        """Send a request on a connection of its own; `getresponse()` of it is the answer."""
        connection = HTTPConnection(LOCALHOST, self.settings.daftari_port, timeout=30)
        self.connections.append(connection)
        self.ask_on(connection, user_id, session_id, what, **headers)
        return connection

    def ask_on(
        self, connection: HTTPConnection, user_id: int, session_id: UUID, what: str, **headers: str
    ) -> None:
        """Send a request on an open connection."""
        token = make_token(self.settings, user_id, ["customer"], 60)
        shown = {name.replace("_", "-"): text for name, text in headers.items()}
        path = f"/api/payments/sessions/{session_id}/{what}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}", **shown})

    def code_of(self, user_id: int, session_id: UUID) -> str | None:
        """Return the code by which a short poll is refused, None where it is not."""
        connection = self.ask(user_id, session_id, "status/?wait=1")
        code: str | None = read(connection)[1].get("error_code")
        connection.close()
        return code

    def fill(
        self, polls: list[tuple[int, UUID, str]], code: str, probe: tuple[int, UUID]
    ) -> list[HTTPConnection]:
        """Let polls wait until `probe` is refused with a code: then all of them have their place.

        A probe may take the place that a poll was to have; that poll is refused, and asks again.
        """
        waiting = [self.ask(*poll) for poll in polls]

        def is_full() -> bool:
            for number, connection in enumerate(waiting):
                if has_answer(connection):
                    assert read(connection)[0] in (429, 503)
                    waiting[number] = self.ask(*polls[number])
            return self.code_of(*probe) == code

        wait_until(is_full, "every poll has its place", 60)
        return waiting

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve."""
        workers: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return workers

    def waiting_for_locks(self) -> int:
        """Return how many sessions of its database wait for a lock."""
        with psycopg.connect(self.settings.database_url) as connection:
            row = connection.execute(_WAITING_FOR_LOCKS).fetchone()
        assert row is not None
        return int(row[0])

    def connect(self) -> socket:
        """Return a connection to it."""
        return create_connection((LOCALHOST, self.settings.daftari_port), timeout=30)

    def has_gone(self) -> bool:
        """Say whether the process has ended."""
        return self.process.poll() is not None


@contextmanager
def serving(database_url: str, data_folder: Path, **variables: str) -> Iterator[Server]:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(data_folder),
        "DAFTARI_PORT": str(free_port()),
        "DAFTARI_WEB_WORKERS": "1",
        "MPESA_BASE_URL": "http://127.0.0.1:9",
        **SIMULATED,
        **variables,
    }
    settings = local_settings(environ)
    services = build_services(settings)
    log = data_folder / "serve.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve"], env=os.environ | environ, stderr=stderr
        )
    server = Server(process, settings, services, log)
    try:
        wait_until(lambda: answers(server), "the server answers", 60)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0
        services.close()


def answers(server: Server) -> bool:
    assert not server.has_gone()
    connection = HTTPConnection(LOCALHOST, server.settings.daftari_port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def everything(sock: socket) -> bytes:
    """Return what comes until the server closes a connection."""
    with sock.makefile("rb") as answers:
        return answers.read()


def has_answer(connection: HTTPConnection) -> bool:
    assert connection.sock is not None
    readable = poll()  # select() knows the first 1,024 files of a process alone
    readable.register(connection.sock, POLLIN)
    return bool(readable.poll(0))


def read(connection: HTTPConnection) -> tuple[int, dict[str, Any]]:
    response = connection.getresponse()
    return response.status, json.loads(response.read())

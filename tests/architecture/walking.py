"""A buyer and an operator who take each command through a running instance, each step traced.

M-Pesa is the simulator, over HTTP, in threads of its own. What it reports lands in a mailbox, and is handed to the
application on the traced thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

from werkzeug.test import TestResponse

from payments.worker.processes import jobs
from tests.architecture.tracing import Trace, Tracer
from tests.architecture.ways import PACKAGES, WRITES
from tests.scenarios.steps import PHONE, TOMATOES, put_in_cart, put_on_shelf
from tests.support.horizon import until_readable
from tests.support.instance import DELIVERY, Instance, running_instance

Answer = TypeVar("Answer")

SESSIONS = "/api/payments/sessions/"
OPERATOR = 9


@dataclass(frozen=True)
class Report:
    """Something that M-Pesa posted."""

    path: str
    body: bytes


class _Mailbox(ThreadingHTTPServer):
    """Takes whatever M-Pesa reports, and acknowledges it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Slot)
        self.reports: SimpleQueue[Report] = SimpleQueue()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Slot(BaseHTTPRequestHandler):
    server: _Mailbox

    def do_POST(self) -> None:
        """Keep a report."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reports.put(Report(self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _open_mailbox() -> Iterator[_Mailbox]:
    with _Mailbox() as mailbox:
        thread = Thread(target=mailbox.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield mailbox
        mailbox.shutdown()
        thread.join()


class Walker:
    """Takes commands through the application on its own thread and keeps what each one ran."""

    def __init__(self, instance: Instance, mailbox: _Mailbox) -> None:
        self.instance = instance
        self.traces: dict[str, Trace] = {}
        self._mailbox = mailbox
        self._phone = int(PHONE)
        self._tracer = Tracer(PACKAGES, WRITES)
        self._jobs = {job.name: job for job in instance.jobs}

    def walk(self) -> dict[str, Trace]:
        """Take every command through twice and keep the second traces: at the first, things are imported and built."""
        for user in (1, 2):
            self._buy(user)
            self._be_refunded(user)
        return self.traces

    def _buy(self, user: int) -> None:
        session_id = self._open_session(user)
        self._post("extend", f"{SESSIONS}{session_id}/extend_session/", user)
        self._be_prompted(user, session_id)
        self._approve()
        self._take_report("callback")
        self._expect(session_id, user, "order_created")

    def _be_refunded(self, user: int) -> None:
        session_id = self._open_session(user)
        self._be_prompted(user, session_id)
        put_on_shelf(self.instance, TOMATOES, stock="0")
        self._approve()
        self._take_report("callback of a refund")
        self._work("order refused", "orders")
        self._follow()
        path = f"/api/payments/refunds/{session_id}/1/approve/"
        self._post("approve", path, OPERATOR, "operator")
        self._follow()
        self._work("send", "refund_sending")
        self.instance.simulator.advance(5)
        self._take_report("result")
        assert self._client_events(session_id, user)[-1] == "Refunded"

    def _open_session(self, user: int) -> str:
        put_on_shelf(self.instance, TOMATOES, stock="40")
        put_in_cart(self.instance.client(user), TOMATOES, "2")
        answer = self._post("create", SESSIONS, user, body={"delivery_details": DELIVERY}, status=201)
        session_id: str = answer.get_json()["session_id"]
        return session_id

    def _be_prompted(self, user: int, session_id: str) -> None:
        # Another phone each time: M-Pesa takes the same sum from the same phone only once in two minutes.
        self._phone += 1
        path = f"{SESSIONS}{session_id}/initiate_payment/"
        self._post("initiate", path, user, body={"phone_number": str(self._phone)})

    def _approve(self) -> None:
        simulator = self.instance.simulator
        simulator.approve(simulator.wait_for_prompt(str(self._phone)).checkout_request_id)

    def _post(
        self, name: str, path: str, user: int, *roles: str, body: Any = None, status: int = 200
    ) -> TestResponse:
        token = self.instance.token(user, *roles)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
        client = self.instance.app.test_client()
        answer = self._traced(name, lambda: client.post(path, json=body, headers=headers))
        assert answer.status_code == status, answer.text
        return answer

    def _take_report(self, name: str) -> None:
        report = self._mailbox.reports.get(timeout=20)
        client, kind = self.instance.app.test_client(), "application/json"
        answer = self._traced(name, lambda: client.post(report.path, data=report.body, content_type=kind))
        assert answer.status_code == 200, answer.text

    def _work(self, name: str, job: str) -> None:
        until_readable(self.instance.services.database)
        assert self._traced(name, self._jobs[job].work), f"{job} had nothing to do"

    def _follow(self) -> None:
        until_readable(self.instance.services.database)
        read = [self._jobs[job].work() for job in ("payment_refunds", "views")]
        assert any(read), "the refunds had nothing to follow"

    def _traced(self, name: str, run: Callable[[], Answer]) -> Answer:
        with self._tracer.recording() as recorded:
            answer = run()
        [self.traces[name]] = recorded
        return answer

    def _expect(self, session_id: str, user: int, status: str) -> None:
        assert self.instance.client(user).status(session_id)["session_status"] == status

    def _client_events(self, session_id: str, user: int) -> list[str]:
        return self.instance.client(user).events(session_id)


def walk(database_url: str, data_folder: Path) -> dict[str, Trace]:
    """Return the trace of every command by name, in a new database."""
    with _open_mailbox() as mailbox:
        variables = {"MPESA_CALLBACK_URL": f"{mailbox.url}/api/payments/callbacks/"}
        with running_instance(database_url, data_folder, **variables) as instance:
            instance.jobs = jobs(instance.services.worker, max_workers=1)  # One worker: all on this thread.
            return Walker(instance, mailbox).walk()

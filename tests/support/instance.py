"""A whole Daftari inside a test: API and simulator over real HTTP, worker jobs on demand or in threads."""

import base64
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import freezegun
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from werkzeug.serving import make_server

from api.http.app import create_app
from api.http.streaming.notifier import current_notifier
from api.issued_tokens import make_token
from api.local.local_settings import local_settings
from api.pages import install_pages
from api.settings import Settings
from api.wiring import build_services
from daraja.simulator import Simulator, SimulatorSettings, create_simulator
from ledger import clock
from payments.services import Services
from payments.worker.jobs import Job, run_jobs
from payments.worker.processes import jobs
from tests.support.api_keys import make_key
from tests.support.horizon import until_readable
from tests.support.ports import LOCALHOST
from tests.support.waiting import wait_until

DELIVERY = {
    "full_name": "John Doe",
    "phone_number": "0712345678",
    "county_id": 1,
    "subcounty_id": 5,
    "detailed_address": "123 Main Street, Apartment 4B",
}
SIMULATED = {
    "MPESA_CONSUMER_KEY": "simulator-key",
    "MPESA_CONSUMER_SECRET": "simulator-secret",
    "MPESA_BUSINESS_SHORTCODE": "174379",
    "MPESA_PASSKEY": "simulator-passkey",
    "MPESA_INITIATOR_NAME": "testapi",
    "MPESA_SECURITY_CREDENTIAL": base64.b64encode(bytes(256)).decode(),
}

INITIATOR_PASSWORD = "MPESA_INITIATOR_PASSWORD"

# Waiting for connections and answers goes on in real time while a test moves the clock, and so do pytest's watches.
# daraja.eat, statement_cells and metrics ask no clock; the moments that they read must be plain ones, to be stored.
freezegun.configure(
    extend_ignore_list=[
        "psycopg",
        "psycopg_pool",
        "asyncio",
        "urllib3",
        "requests",
        "http",
        "werkzeug",
        "_pytest",
        "daraja.eat",
        "daraja.statement_cells",
        "projections.metrics",
    ]
)
logging.getLogger("werkzeug").setLevel(logging.ERROR)


class Client(requests.Session):
    """An HTTP client with a token; paths are relative to the instance. Answers are `requests.Response`."""

    def __init__(self, base_url: str, token: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self._base_url = base_url
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request with a time-out of 30 s."""
        kwargs.setdefault("timeout", 30)
        return super().request(method, f"{self._base_url}{url!s}", *args, **kwargs)

    def create(self, *, key: str | None = None, **changed: Any) -> requests.Response:
        """Create a session of the user's cart; `changed` replaces members of the body."""
        headers = {"Idempotency-Key": key} if key else {}
        body = {"delivery_details": DELIVERY} | changed
        return self.post("/api/payments/sessions/", json=body, headers=headers)

    def initiate(self, session_id: str, **body: Any) -> requests.Response:
        """Initiate a payment."""
        return self.post(f"/api/payments/sessions/{session_id}/initiate_payment/", json=body)

    def status(self, session_id: str) -> dict[str, Any]:
        """Return the status of a session."""
        shown: dict[str, Any] = self.get(f"/api/payments/sessions/{session_id}/status/").json()
        return shown

    def events(self, session_id: str) -> list[str]:
        """Return the names of a session's events, oldest first."""
        shown = self.get(f"/api/payments/sessions/{session_id}/events/").json()
        return [fact["event"] for fact in shown["events"]]


class Instance:
    """One running Daftari: its `services`, its M-Pesa `simulator`, its API at `base_url`.

    The worker's jobs run on `work()`, or in threads after `start_worker()`.
    """

    def __init__(self, database_url: str, data_folder: Path, **variables: str) -> None:
        self.simulator = create_simulator(_simulator_settings(variables), clock=clock.now)
        initiator = _initiator(variables, self.simulator, data_folder)
        # Opened before its port is known, so that nothing else can take it.
        listening = socket.create_server((LOCALHOST, 0), backlog=128)
        port: int = listening.getsockname()[1]
        self.base_url = f"http://{LOCALHOST}:{port}"
        self.settings: Settings = local_settings(
            {
                "DATABASE_URL": database_url,
                "DAFTARI_DATA_DIR": str(data_folder),
                "DAFTARI_PORT": str(port),
                "MPESA_BASE_URL": self.simulator.start(LOCALHOST, 0),
                "MPESA_CALLBACK_URL": f"{self.base_url}/api/payments/callbacks/",
                **SIMULATED,
                **initiator,
                **variables,
            }
        )
        self.services: Services = build_services(self.settings)
        self.app = create_app(self.settings, lambda: self.services, install_pages)
        with listening:  # The server listens on a duplicate of it.
            self._server = make_server(LOCALHOST, port, self.app, threaded=True, fd=listening.fileno())
        self._serving = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._serving.start()
        self.jobs: list[Job] = jobs(self.services.worker)
        self._stop = Event()
        self._working: Thread | None = None

    def token(self, user: int, *roles: str) -> str:
        """Return a bearer token of a user, a customer if no role is given."""
        return make_token(self.settings, user, list(roles) or ["customer"], 600)

    def client(self, user: int = 1, *roles: str) -> Client:
        """Return an API client with a token."""
        return Client(self.base_url, self.token(user, *roles))

    def server(self, name: str = "web-shop", role: str = "server", **made: Any) -> Client:
        """Return an API client with a new API key; `made` is more of its NewKey."""
        return Client(
            self.base_url, make_key(self.services.database, self.services.vault, name, role, **made)
        )

    def anonymous(self) -> Client:
        """Return an API client without a token."""
        return Client(self.base_url, None)

    def work(self) -> None:
        """Let the simulator deliver what is due, then run the worker's jobs until all are idle and no webhook waits."""
        self.simulator.run_due()
        assert self.simulator.wait_until_idle(20)
        until_readable(self.services.database)
        idle = 0
        jobs = [job for job in self.jobs if job.name not in ("tidying", "verifying")]
        for job in islice(cycle(jobs), 100 * len(jobs)):
            if Context().run(job.work):  # As in a thread of the worker, which knows of no request.
                idle = 0
                until_readable(self.services.database)
            else:
                idle += 1
            if idle == len(jobs):
                if not self.services.worker.webhook_sender.wait():
                    return
                idle = 0
        raise AssertionError("The worker's jobs do not become idle.")

    def work_without_the_log(self, rounds: int = 3) -> None:
        """Let the simulator deliver what is due, then run the worker's jobs a few times while the log is held back."""
        self.simulator.run_due()
        assert self.simulator.wait_until_idle(20)
        for job in rounds * self.jobs:
            Context().run(job.work)

    def start_worker(self) -> None:
        """Run the worker's jobs in threads, as the worker process does."""
        self._stop = Event()
        self._working = Thread(target=run_jobs, args=(self.jobs, self._stop))
        self._working.start()

    def stop_worker(self) -> None:
        """End the threads of the worker, if they run."""
        if self._working is not None:
            self._stop.set()
            self._working.join()
            self._working = None

    def pay(self, client: Client, **body: Any) -> str:
        """Take a client's cart to an open prompt; return the session's id."""
        session_id: str = client.create().json()["session_id"]
        answer = client.initiate(session_id, **body)
        assert answer.status_code == 200, answer.text
        return session_id

    def close(self) -> None:
        """Stop everything."""
        self.stop_worker()
        for job in self.jobs:
            if job.lock is not None:
                job.lock.release()
        self._server.shutdown()
        self._serving.join()
        self.simulator.stop()
        with self.app.app_context():
            current_notifier().close()
        self.services.close()


@contextmanager
def running_instance(database_url: str, data_folder: Path, **variables: str) -> Iterator[Instance]:
    """Run an instance; `variables` are environment variables, `AUTO_APPROVE_SECONDS` is the simulator's."""
    instance = Instance(database_url, data_folder, **variables)
    try:
        yield instance
    finally:
        instance.close()


def wait_for_status(client: Client, session_id: str, wanted: str) -> dict[str, Any]:
    """Poll a session until it has a status; return the answer."""
    shown: dict[str, Any] = {}

    def is_there() -> bool:
        nonlocal shown
        shown = client.status(session_id)
        return bool(shown["session_status"] == wanted)

    wait_until(is_there, f"session {session_id} is {wanted}")
    return shown


def _simulator_settings(variables: dict[str, str]) -> SimulatorSettings:
    seconds = variables.pop("AUTO_APPROVE_SECONDS", None)
    return SimulatorSettings(
        consumer_key=SIMULATED["MPESA_CONSUMER_KEY"],
        consumer_secret=SIMULATED["MPESA_CONSUMER_SECRET"],
        shortcode=SIMULATED["MPESA_BUSINESS_SHORTCODE"],
        passkey=SIMULATED["MPESA_PASSKEY"],
        auto_approve_seconds=None if seconds is None else float(seconds),
        initiator_password=variables.get(INITIATOR_PASSWORD),
    )


def _initiator(variables: dict[str, str], simulator: Simulator, folder: Path) -> dict[str, str]:
    """If a test gives the initiator a password, return the variables that encrypt it for this simulator.

    They name a public key: in frozen time no certificate can be made.
    """
    if INITIATOR_PASSWORD not in variables:
        return {}
    simulator.initiator_keys._key = _initiator_key()
    public = simulator.initiator_keys._key.public_key()
    file = folder / "initiator.pem"
    file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return {"MPESA_CERTIFICATE_FILE": str(file), "MPESA_SECURITY_CREDENTIAL": ""}


@cache
def _initiator_key() -> rsa.RSAPrivateKey:
    """Return one key for all tests of a process, because making one is slow."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)

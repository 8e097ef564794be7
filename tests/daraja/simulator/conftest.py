"""A simulator of one's own on a free port, a receiver for its callbacks, and a shop that sends pushes."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from daraja import ApiResult, DarajaClient, DarajaConfig, MemoryTokenStore, parse_result
from daraja.simulator import Simulator, SimulatorSettings, create_simulator

NOON = datetime(2026, 11, 15, 9, 0, 0, tzinfo=UTC)
"""Twelve o'clock in Nairobi."""
PHONE = "254712345678"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def callback(self) -> dict[str, Any]:
        """The stkCallback object."""
        callback: dict[str, Any] = json.loads(self.body)["Body"]["stkCallback"]
        return callback

    @property
    def result(self) -> ApiResult:
        """The result, as our client reads it."""
        return parse_result(self.body)

    @property
    def items(self) -> dict[str, Any]:
        """The metadata by name; an item without a Value is None."""
        return {item["Name"]: item.get("Value") for item in self.callback["CallbackMetadata"]["Item"]}


@dataclass
class Receiver:
    """Keeps what is posted to it, and answers with `status` and `answer`."""

    url: str = ""
    status: int = 200
    answer: bytes = b""
    received: list[Received] = field(default_factory=list)
    on_post: Callable[[], object] = lambda: None

    def codes(self) -> list[object]:
        """The result codes in the order in which they came."""
        return [post.callback["ResultCode"] for post in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.received.append(Received(self.path, dict(self.headers.items()), body))
            kept.on_post()
            self.send_response(kept.status)
            self.send_header("Content-Length", str(len(kept.answer)))
            self.end_headers()
            if kept.answer:
                self.wfile.write(kept.answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()


@dataclass
class Shop:
    """Talks to a simulator as a shop would."""

    simulator: Simulator
    url: str
    receiver: Receiver
    http: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.http.trust_env = False

    def ask_token(self, **changed: Any) -> requests.Response:
        settings = self.simulator.settings
        wanted: dict[str, Any] = {
            "params": {"grant_type": "client_credentials"},
            "auth": (settings.consumer_key, settings.consumer_secret),
        }
        return self.http.get(f"{self.url}/oauth/v1/generate", timeout=10, **(wanted | changed))

    def credentials(self, timestamp: str = "20261115120000") -> dict[str, Any]:
        settings = self.simulator.settings
        plain = f"{settings.shortcode}{settings.passkey}{timestamp}"
        return {
            "BusinessShortCode": settings.shortcode,
            "Password": base64.b64encode(plain.encode()).decode(),
            "Timestamp": timestamp,
        }

    def document(self, phone: str = PHONE, amount: object = 350) -> dict[str, Any]:
        return {
            **self.credentials(),
            "TransactionType": "CustomerPayBillOnline",
            "Amount": amount,
            "PartyA": phone,
            "PartyB": self.simulator.settings.shortcode,
            "PhoneNumber": phone,
            "CallBackURL": f"{self.receiver.url}/callbacks/secret-path",
            "AccountReference": "ORD-7",
            "TransactionDesc": "Groceries",
        }

    def headers(self) -> dict[str, str]:
        token = self.simulator.tokens.valid_token() or self.simulator.tokens.issue()
        return {"Authorization": f"Bearer {token}"}

    def send_push(self, document: object, **changed: Any) -> requests.Response:
        wanted: dict[str, Any] = {"json": document, "headers": self.headers(), "timeout": 10}
        return self.http.post(f"{self.url}/mpesa/stkpush/v1/processrequest", **(wanted | changed))

    def push(self, phone: str = PHONE, amount: object = 350) -> dict[str, Any]:
        """Send a push that is accepted, and return the answer."""
        answer = self.send_push(self.document(phone, amount))
        assert answer.status_code == 200, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def pay(self, phone: str = PHONE, amount: int = 350, reference: str = "D7") -> str:
        """Let a push be paid and told of, and return the receipt."""
        document = self.document(phone, amount) | {"AccountReference": reference}
        checkout_request_id = self.send_push(document).json()["CheckoutRequestID"]
        outcome = self.simulator.approve(checkout_request_id).outcome
        assert self.simulator.wait_until_idle()
        self.receiver.received.clear()
        assert outcome is not None
        assert outcome.receipt is not None
        return outcome.receipt

    def push_and_settle(self, phone: str = PHONE, amount: object = 350) -> str:
        """Send a push, wait until its callbacks are posted, and return its CheckoutRequestID."""
        checkout_request_id: str = self.push(phone, amount)["CheckoutRequestID"]
        assert self.simulator.wait_until_idle()
        return checkout_request_id

    def query(self, checkout_request_id: str, **changed: Any) -> requests.Response:
        document = {**self.credentials(), "CheckoutRequestID": checkout_request_id, **changed}
        return self.http.post(
            f"{self.url}/mpesa/stkpushquery/v1/query", json=document, headers=self.headers(), timeout=10
        )


@pytest.fixture
def open_shop(receiver: Receiver) -> Iterator[Callable[..., Shop]]:
    """Start a simulator with these settings at twelve o'clock and return a shop in front of it."""
    shops: list[Shop] = []

    def start(**settings: Any) -> Shop:
        simulator = create_simulator(SimulatorSettings(**settings), clock=lambda: NOON)
        shops.append(Shop(simulator, simulator.start("127.0.0.1", 0), receiver))
        return shops[-1]

    yield start
    for shop in shops:
        shop.http.close()
        shop.simulator.stop()


@pytest.fixture
def open_client() -> Iterator[Callable[..., DarajaClient]]:
    """Return Daftari's own client of a shop's simulator, at twelve o'clock, with an initiator."""
    clients: list[DarajaClient] = []

    def make(shop: Shop, **changed: Any) -> DarajaClient:
        settings = shop.simulator.settings
        given: dict[str, Any] = {
            "base_url": shop.url,
            "consumer_key": settings.consumer_key,
            "consumer_secret": settings.consumer_secret,
            "shortcode": settings.shortcode,
            "passkey": settings.passkey,
            "initiator_name": settings.initiator_name,
            "security_credential": "A" * 344,
            "read_timeout_seconds": 5.0,
        }
        tokens = MemoryTokenStore(clock=lambda: NOON)
        clients.append(DarajaClient(DarajaConfig(**(given | changed)), tokens, clock=lambda: NOON))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()

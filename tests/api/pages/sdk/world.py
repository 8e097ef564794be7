"""A shop's page on an origin of its own, and the `daftari serve` that it pays at, behind a proxy that can fail."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_connection
from typing import Any

from playwright.sync_api import Page, Request

from api.issued_tokens import make_token
from daraja.simulator import Simulator, SimulatorSettings, create_simulator
from ledger import clock
from shop.demo import demo_data
from tests.support.instance import DELIVERY, SIMULATED, Client
from tests.support.ports import LOCALHOST, free_port
from tests.support.proxy import TcpProxy
from tests.support.web_server import Server, serving

BUYERS = 40


@dataclass
class PayServer:
    """A `daftari serve` that can be stopped and started again, the simulated M-Pesa, and the proxy before it."""

    database_url: str
    folder: Path
    origins: str
    simulator: Simulator
    buyer: int = 0
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.proxy = TcpProxy(lambda: create_connection((LOCALHOST, self.port)))
        self.url = f"http://{LOCALHOST}:{self.proxy.port}"
        self._running = ExitStack()
        self.server: Server

    def start(self) -> None:
        """Serve until `stop`."""
        variables = {
            "DAFTARI_PORT": str(self.port),
            "DAFTARI_CORS_ORIGINS": self.origins,
            "MPESA_BASE_URL": self.simulator.base_url,
            "MPESA_CALLBACK_URL": f"http://{LOCALHOST}:{self.port}/api/payments/callbacks/",
        }
        self.server = self._running.enter_context(serving(self.database_url, self.folder, **variables))

    def stop(self) -> None:
        """End the process as an upgrade does: by SIGTERM."""
        self._running.close()

    @property
    def phone(self) -> str:
        """The buyer's phone."""
        return f"2547120000{self.buyer:02}"

    @property
    def delivery(self) -> dict[str, Any]:
        """Where the buyer lives."""
        return DELIVERY | {"phone_number": self.phone}

    def token(self) -> str:
        """Return the buyer's token."""
        return make_token(self.server.settings, self.buyer, ["customer"], 60)

    def client(self) -> Client:
        """Return a client of the API with the buyer's token, past the proxy."""
        return Client(f"http://{LOCALHOST}:{self.port}", self.token())

    def prompt(self) -> str:
        """Return the CheckoutRequestID of the prompt on the buyer's phone."""
        return self.simulator.wait_for_prompt(self.phone, 20).checkout_request_id

    def approve(self) -> None:
        """Enter the PIN on the buyer's phone."""
        self.simulator.approve(self.prompt())


@contextmanager
def pay_server(database_url: str, folder: Path, *origins: str) -> Iterator[PayServer]:
    """Serve the API to pages of these origins meanwhile; BUYERS buyers have filled carts."""
    simulator = create_simulator(
        SimulatorSettings(
            consumer_key=SIMULATED["MPESA_CONSUMER_KEY"],
            consumer_secret=SIMULATED["MPESA_CONSUMER_SECRET"],
            shortcode=SIMULATED["MPESA_BUSINESS_SHORTCODE"],
            passkey=SIMULATED["MPESA_PASSKEY"],
        ),
        clock=clock.now,
    )
    simulator.start(LOCALHOST, 0)
    running = PayServer(database_url, folder, ",".join(origins), simulator)
    running.start()
    try:
        demo_data(running.server.services.database, users=BUYERS)
        yield running
    finally:
        running.stop()
        running.proxy.close()
        simulator.stop()


class ShopPage:
    """A page that has loaded the module, with what it asked the API for."""

    def __init__(self, page: Page, server: PayServer) -> None:
        self.page = page
        self.server = server
        self.asked: list[Request] = []
        page.on("request", self._note)

    def _note(self, asked: Request) -> None:
        self.asked.append(asked)

    def load(self, origin: str, token: str) -> None:
        """Open the page and make `daftari` there."""
        self.page.goto(origin)
        self.page.evaluate(
            """async ([url, token]) => {
                Object.assign(globalThis, await import(`${url}/sdk/v1/daftari.js`));
                globalThis.daftari = new Daftari({ url, token });
                globalThis.seen = [];
                globalThis.problems = [];
            }""",
            [self.server.url, token],
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what an async function makes of the arguments; of an error, what it holds."""
        return self.page.evaluate(
            f"""async (given) => {{
                try {{ return await ({script})(...given); }}
                catch (error) {{
                    const {{ name, code, message, status, fields, retryAfter }} = error;
                    return {{ name, code, message, status, fields, retryAfter }};
                }}
            }}""",
            list(arguments),
        )

    def watch(self, session_id: str) -> None:
        """Begin to watch; `outcome` waits for the end."""
        self.page.evaluate(
            """(id) => {
                globalThis.outcome = daftari.watch(id, {
                    onChange: (status) => seen.push(status.session_status),
                    onProblem: (problem) => problems.push(problem.code),
                });
            }""",
            session_id,
        )

    def wait_for(self, condition: str) -> None:
        """Wait until something holds on the page."""
        self.page.wait_for_function(condition, timeout=30_000)

    def outcome(self) -> Any:
        """Return the status at which the watch has ended."""
        return self.run("() => outcome")

    def paths(self) -> list[str]:
        """Return the ways in which sessions were watched, in order."""
        urls = [asked.url for asked in self.asked if asked.method == "GET" and "/sessions/" in asked.url]
        return [url.rpartition("/sessions/")[2].partition("/")[2] for url in urls]

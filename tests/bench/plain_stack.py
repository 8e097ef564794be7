"""The plain rows beside a running Daftari: in the same PostgreSQL, and paid by a simulator of the same kind.

It has to be another one: M-Pesa honours only the newest access token of an app.
"""

import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import jwt
import psycopg

from api.local import children
from api.local.instances import running_instance
from api.local.ports import answers_http
from api.local.postgres import DATABASE_NAME, OWNER
from shop.demo import LINES_PER_BUYER, LISTINGS, MAX_UNITS_PER_LINE
from tests.bench.bench_stack import DAFTARI, BenchStack
from tests.bench.lifecycles import Buyer
from tests.support.ports import LOCALHOST, free_port
from tests.support.waiting import wait_until

DATABASE = "plain_rows"
FIRST_USER = 5_000_000
"""So that they have other phones than Daftari's buyers: M-Pesa takes the same sum of one phone once in two minutes."""

STOCK = 10_000_000
READY_WITHIN_SECONDS = 20
STOP_WITHIN_SECONDS = 20

OUR_SERVER = (sys.executable, "-m", "tests.bench.plain_server", "{port}")
GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "--preload", "--bind", f"{LOCALHOST}:{{port}}"),
    *("--workers", "2", "--worker-class", "gthread", "--threads", "8", "--keep-alive", "75"),
    "tests.bench.plain_gunicorn:app",
)
"""As its author would serve the plain rows, with as many processes and threads as did best on two cores."""


INSERT_PRODUCTS = "INSERT INTO products VALUES (%s, %s, %s, %s, %s)"
INSERT_PLACES = "INSERT INTO subcounties VALUES (%s, %s)"
READ_PLACES = "SELECT subcounty_id, county_id FROM shop_subcounties ORDER BY subcounty_id"
COPY_LINES = "COPY cart_items (user_id, listing_id, quantity, price) FROM STDIN"
ANALYZE = "ANALYZE"
# One sentence for each broken rule; the money that came is the sum of the orders, and what was sold left the stock.
BROKEN = """
SELECT 'sessions without their order' FROM payment_sessions
 WHERE (session_status = 'order_created') <> (order_id IS NOT NULL)
UNION
SELECT 'payments without an order' WHERE (SELECT count(*) FROM payment_transactions WHERE status = 'paid')
    <> (SELECT count(*) FROM orders)
UNION
SELECT 'stock lost or won' FROM products LEFT JOIN order_items USING (listing_id)
 GROUP BY listing_id, stock HAVING stock + coalesce(sum(quantity), 0) <> %s
"""


@dataclass(frozen=True)
class PlainServer:
    """A web server of the plain rows: its process id, its port, and the process id of its own simulator."""

    pid: int
    port: int
    simulator_pid: int


@dataclass
class PlainStack:
    """The plain rows on gunicorn, and the same on Daftari's server; `superuser_url` is their database."""

    on_gunicorn: PlainServer
    on_our_server: PlainServer
    secret: str
    superuser_url: str
    places: list[tuple[int, int]]
    next_user: int = FIRST_USER

    def make_buyers(self, count: int) -> list[Buyer]:
        """Return new buyers, each with a filled cart and a token."""
        users = range(self.next_user, self.next_user + count)
        self.next_user += count
        with psycopg.connect(self.superuser_url) as connection:
            with connection.cursor().copy(COPY_LINES) as lines:
                for user in users:
                    for row in _cart(user):
                        lines.write_row(row)
            connection.execute(ANALYZE)
        return [self._buyer(user) for user in users]

    def violations(self) -> list[str]:
        """Return a sentence for each rule that the rows break."""
        with psycopg.connect(self.superuser_url) as connection:
            return [f"plain rows: {row[0]}" for row in connection.execute(BROKEN, (STOCK,))]

    def _buyer(self, user: int) -> Buyer:
        claims = {"sub": str(user), "exp": datetime.now(UTC) + timedelta(days=1)}
        subcounty_id, county_id = self.places[user % len(self.places)]
        return Buyer(f"Bearer {jwt.encode(claims, self.secret, 'HS256')}", user, county_id, subcounty_id)


@contextmanager
def running_plain_rows(daftari: BenchStack) -> Iterator[PlainStack]:
    """Serve the plain rows, with a database of their own in Daftari's PostgreSQL, until the end."""
    published = running_instance(daftari.folder)
    places = _make_database(daftari)
    url, secret = superuser_url(daftari, DATABASE), secrets.token_hex(32)
    environ = daftari.environ | {
        **{name: text for name, text in published.items() if name.startswith("MPESA_")},
        "PLAIN_DATABASE_URL": url,
        "PLAIN_JWT_SECRET": secret,
    }
    with (
        _serving(GUNICORN, environ) as on_gunicorn,
        _serving(OUR_SERVER, environ) as on_our_server,
    ):
        yield PlainStack(on_gunicorn, on_our_server, secret, url, places)


@contextmanager
def _serving(command: tuple[str, ...], environ: dict[str, str]) -> Iterator[PlainServer]:
    """Run a web server of the plain rows, and a simulator for it alone."""
    port, simulator_port = free_port(), free_port()
    environ = environ | {
        "DAFTARI_SIMULATOR_PORT": str(simulator_port),
        "MPESA_BASE_URL": f"http://{LOCALHOST}:{simulator_port}",
        "PLAIN_CALLBACK_URL": f"http://{LOCALHOST}:{port}/api/payments/transactions/mpesa_callback/",
    }
    with (
        _running((*DAFTARI, "simulator", "--auto-approve", "0"), environ, simulator_port, "/") as simulator,
        _running(tuple(part.format(port=port) for part in command), environ, port, "/healthz") as server,
    ):
        yield PlainServer(server.pid, port, simulator.pid)


@contextmanager
def _running(
    command: tuple[str, ...], environ: dict[str, str], port: int, path: str
) -> Iterator[subprocess.Popen[bytes]]:
    with (Path(environ["DAFTARI_DATA_DIR"]) / "plain.log").open("ab") as log:
        process = children.spawn(list(command), death_signal=signal.SIGTERM, environ=environ, output=log)
    try:
        wait_until(
            lambda: answers_http(LOCALHOST, port, path), f"{path} of {port} answers", READY_WITHIN_SECONDS
        )
        yield process
    finally:
        children.stop(process, signal.SIGTERM, STOP_WITHIN_SECONDS)


def _make_database(daftari: BenchStack) -> list[tuple[int, int]]:
    """Make the tables with products and places; return the places."""
    with psycopg.connect(superuser_url(daftari), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
        places = connection.execute(READ_PLACES).fetchall()
    tables = (resources.files("tests.bench") / "plain_tables.sql").read_text("utf-8")
    with psycopg.connect(superuser_url(daftari, DATABASE)) as connection:
        connection.execute(tables)
        products = [(key, name, farm, unit, STOCK) for key, farm, name, _, unit, _ in LISTINGS]
        connection.cursor().executemany(INSERT_PRODUCTS, products)
        connection.cursor().executemany(INSERT_PLACES, places)
    return places


def superuser_url(daftari: BenchStack, database: str = DATABASE_NAME) -> str:
    """Return the URL of a database of the embedded PostgreSQL as its superuser, which needs no password from us."""
    [socket_folder] = parse_qs(urlsplit(running_instance(daftari.folder)["DATABASE_URL"]).query)["host"]
    return f"postgresql://{OWNER}@/{database}?host={quote(socket_folder, safe='')}"


def _cart(user: int) -> list[tuple[int, int, int, int]]:
    """Return (user, listing, quantity, shillings) of each line."""
    chosen = [(index, LISTINGS[(user + 7 * index) % len(LISTINGS)]) for index in range(LINES_PER_BUYER)]
    return [
        (user, listing[0], 1 + (user + index) % MAX_UNITS_PER_LINE, listing[3] // 100)
        for index, listing in chosen
    ]

"""A real Prometheus scrapes a real instance, two API processes and a worker, and sees alerts fire and clear.

Intervals and what the rules wait for are shortened in a copy of them; thresholds are not. Which alerts need more time
than a test has is in UNIT_TESTED_ONLY: promtool runs their course in test_alert_rules.py.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import requests

from api.issued_tokens import make_token
from daraja.simulator import Simulator, SimulatorSettings, create_simulator
from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.vault import DELIVERY as DELIVERY_PURPOSE
from ledger.store.vault import ERASED_VALUE
from payments.operators.operator import Operator
from payments.operators.switches import Switch
from projections.follower import Follower
from projections.refunds import PaymentRefunds
from tests.monitoring.test_rules_and_boards import RULES, of_boards
from tests.payments.exceptions.test_work_list import GIVEN_UP, MOVED
from tests.support.checkouts import Checkout
from tests.support.database import TestCluster, migrated_template
from tests.support.horizon import until_readable
from tests.support.instance import DELIVERY, SIMULATED
from tests.support.ports import LOCALHOST, free_port
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.proxy import DatabaseProxy
from tests.support.waiting import wait_until
from tests.support.web_server import Server, serving

pytestmark = pytest.mark.system

UNIT_TESTED_ONLY = {
    "DaftariSlow": "a slow database is slow for the test, too",
    "DaftariUnsigned": "five minutes without a block",
    "DaftariNotVerified": "two days without a verification",
    "DaftariWebhookFails": "an endpoint that takes nothing for days, or an hour of what waits",
}
MONITOR = "f3Zq8Lw1Kx7Vb2Nc9Tm4Rh6Yd0Sg5PjQ8t"
WITHIN_SECONDS = 150
LISTING, BUYERS = 123, 12
UNREAD = """
INSERT INTO daraja_inbox (inbox_id, received_at, session_id, key_owner, sealed_body, body_bytes, body_sha256, state,
                          tries, next_try_at, is_proven)
VALUES (gen_random_uuid(), now() - interval '1 hour', NULL, 0, 'v1.x', 2, 'unread', 'new', 0, now() + interval '1 day',
        true)
"""
WRITE_FREELY = "SET session_replication_role = replica"
SEEN = "last_over_time(({})[15m:5s])"
"""What an expression of a board showed at any time of the test."""

INITIATED = 'sum(daftari_events_appended_total{event="PaymentInitiated"})'


class Watched:
    """An instance of processes of its own behind a database that can be cut off, and who watches it."""

    def __init__(self, server: Server, database: Database, simulator: Simulator) -> None:
        self.server = server
        self.ledger = Ledger(database, server.services.vault.keys)
        self.database = database
        self.simulator = simulator
        self.url = f"http://{LOCALHOST}:{server.settings.daftari_port}"

    def checkout(self, **ago: int) -> Checkout:
        """Return a session that was created so long ago."""
        at = clock.now() - timedelta(**ago)
        return Checkout(self.ledger, at=at, phone_sealed=ERASED_VALUE, delivery_sealed=ERASED_VALUE)

    def as_user(self, user: int, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {make_token(self.server.settings, user, [role], 60)}"}

    def post(self, path: str, body: dict[str, str], headers: dict[str, str]) -> int:
        url = f"{self.url}/api/payments/{path}"
        return requests.post(url, json=body, headers=headers, timeout=30).status_code

    def initiate(self, user: int) -> int:
        """Send a prompt to a buyer, whose order can be made once they pay; return the status of the answer."""
        session_id = uuid4()
        delivery = self.server.services.vault.encrypt(
            user, json.dumps(DELIVERY), purpose=DELIVERY_PURPOSE, row=session_id
        )
        Checkout(
            self.ledger,
            user_id=user,
            at=clock.now(),
            session_id=session_id,
            phone_sealed=ERASED_VALUE,
            delivery_sealed=delivery,
        )
        body = {"phone_number": f"2547123{user:05d}"}
        return self.post(f"sessions/{session_id}/initiate_payment/", body, self.as_user(user, "customer"))

    def return_by_hand(self, session_id: UUID) -> None:
        """Let an operator record that the money of a session went back."""
        body = {"note": "Paid out in cash."}
        assert self.post(f"refunds/{session_id}/1/returned/", body, self.as_user(9, "operator")) == 200

    def post_what_nobody_asked_for(self, count: int) -> None:
        for _ in range(count):
            self.post("callbacks/", {"of": str(uuid4())}, {})

    def run(self, statement: str, *values: object) -> None:
        """Write past Daftari."""
        with psycopg.connect(self.database.url) as connection:
            connection.execute(WRITE_FREELY)
            connection.execute(statement.encode(), values)

    def switch(self, *, is_on: bool) -> None:
        self.server.services.switches.turn(Switch.REFUNDS, is_on=is_on, reason="A test.", by=Operator(9))


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server of this test alone: for minutes it holds the log of every database of its server back."""
    cluster = TestCluster()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def template_database(server_url: str) -> str:
    """The migrated database on that server."""
    return migrated_template(server_url)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    given = {name: SIMULATED[f"MPESA_{name}"] for name in ("CONSUMER_KEY", "CONSUMER_SECRET", "PASSKEY")}
    settings = SimulatorSettings(
        consumer_key=given["CONSUMER_KEY"],
        consumer_secret=given["CONSUMER_SECRET"],
        shortcode=SIMULATED["MPESA_BUSINESS_SHORTCODE"],
        passkey=given["PASSKEY"],
    )
    made = create_simulator(settings, clock=clock.now)
    yield made
    made.stop()


@pytest.fixture
def variables(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    """The settings of all processes; the initiator's password ends in five days."""
    folder = tmp_path / "counts"
    folder.mkdir()
    return {
        "DAFTARI_PORT": str(free_port()),
        "DAFTARI_WEB_WORKERS": "2",
        "DAFTARI_METRICS_TOKEN": MONITOR,
        "DAFTARI_VERIFY_HOURS": "0",
        "DAFTARI_INITIATOR_PASSWORD_SET": str((clock.now() - timedelta(days=85)).date()),
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "MPESA_BASE_URL": simulator.start(LOCALHOST, 0),
    }


@pytest.fixture
def prometheus(variables: dict[str, str], tmp_path: Path) -> Iterator[Prometheus]:
    rules = re.sub(r"for: \S+", "for: 2s", RULES)
    rules = rules.replace("[10m]", "[60s]")  # A job fails once in some seconds.
    (tmp_path / "alerts.yml").write_text(re.sub(r"\[\d+m\]", "[10s]", rules), "utf-8")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(
        f"""
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: daftari
    authorization: {{credentials: "{MONITOR}"}}
    static_configs: [{{targets: ["{LOCALHOST}:{variables["DAFTARI_PORT"]}"]}}]
""",
        "utf-8",
    )
    with running_prometheus(configuration) as running:
        yield running


@contextmanager
def worker(server: Server, variables: dict[str, str], database_url: str, log: Path) -> Iterator[None]:
    """Run a worker in a process of its own."""
    environ = {**SIMULATED, **variables, "DATABASE_URL": database_url}
    environ["DAFTARI_DATA_DIR"] = str(server.settings.daftari_data_dir)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "work"], env=os.environ | environ, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def see_fire(prometheus: Prometheus, wanted: set[str], meanwhile: Callable[[], Any] = lambda: None) -> None:
    """Wait until each of these alerts has fired."""
    seen: set[str] = set()

    def all_fired() -> bool:
        meanwhile()
        seen.update(prometheus.firing())
        return wanted <= seen

    try:
        wait_until(all_fired, "all fire", WITHIN_SECONDS)
    except AssertionError:
        raise AssertionError(f"did not fire: {sorted(wanted - seen)}") from None


def see_clear(prometheus: Prometheus, wanted: set[str]) -> None:
    """Wait until none of these alerts is about to fire."""
    try:
        wait_until(lambda: prometheus.is_calm(wanted), "all are cleared", WITHIN_SECONDS)
    except AssertionError:
        raise AssertionError(f"still fire: {sorted(prometheus.firing() & wanted)}") from None


def test_alerts_fire_and_clear(
    database: Database,
    database_url: str,
    data_folder: Path,
    proxy: DatabaseProxy,
    simulator: Simulator,
    variables: dict[str, str],
    prometheus: Prometheus,
) -> None:
    fired: set[str] = set()

    def see(*alerts: str, meanwhile: Callable[[], Any] = lambda: None) -> set[str]:
        see_fire(prometheus, set(alerts), meanwhile)
        fired.update(alerts)
        return set(alerts)

    with serving(proxy.url, data_folder, **variables) as server:
        watched = Watched(server, database, simulator)
        see_clear(prometheus, {"DaftariDown"})
        see("DaftariRunsOut")
        tampered_with(watched, see, prometheus)
        with ExitStack() as faults:
            asked_by_many(watched, see, prometheus)
            repair = [each(watched) for each in ROWS]
            faults.enter_context(holding_the_log(database_url))
            see("DaftariHorizonHeld", "DaftariFollowerBehind", *OF_ROWS)
            for each in repair:
                each()
        with worker(server, variables, proxy.url, data_folder / "work.log"):
            mended = fired - {"DaftariRunsOut"}
            see_clear(prometheus, mended)
            proxy.cut()
            ask = lambda: requests.get(f"{watched.url}/readyz", timeout=30)  # noqa: E731
            cut_off = see("DaftariDatabaseDown", "DaftariErrors", "DaftariJobFails", meanwhile=ask)
            proxy.restore()
            see_clear(prometheus, mended | cut_off)
            # The API's two processes count together, and the failures of jobs are counted by the worker.
            assert prometheus.value(INITIATED) == BUYERS + 1
            assert [where for where, text in of_boards() if prometheus.value(SEEN.format(text)) is None] == []
    see("DaftariDown")
    renewed = variables | {"DAFTARI_INITIATOR_PASSWORD_SET": str(clock.now().date())}
    with serving(proxy.url, data_folder, **renewed):
        see_clear(prometheus, {"DaftariDown", "DaftariRunsOut"})
    assert prometheus.wrong_rules() == []
    assert fired | set(UNIT_TESTED_ONLY) == set(re.findall(r"- alert: (\w+)", RULES))


def tampered_with(watched: Watched, see: Callable[..., set[str]], prometheus: Prometheus) -> None:
    """Change a row past Daftari, verify; put it right, verify."""
    session = watched.checkout(minutes=0).session_id
    verifier = watched.server.services.verifier
    until_readable(watched.database)
    for change, until in (("+ 1", see), ("- 1", lambda alert: see_clear(prometheus, {alert}))):
        watched.run(
            f"UPDATE payment_sessions SET delivery_fee_cents = delivery_fee_cents {change} WHERE session_id = %s",
            session,
        )
        verifier.run()
        until("DaftariInvariantViolated")


def asked_by_many(watched: Watched, see: Callable[..., set[str]], prometheus: Prometheus) -> None:
    """Send prompts that nobody pays, then some that M-Pesa refuses, then some that it does not answer."""
    shelf = {
        "product_name": "T",
        "farm_name": "G",
        "price": "150.00",
        "unit_of_measure": "kg",
        "stock": "999",
    }
    operator = watched.as_user(9, "operator")
    requests.put(f"{watched.url}/api/catalogue/{LISTING}/", json=shelf, headers=operator, timeout=30)
    assert watched.initiate(100) == 200
    watched.post_what_nobody_asked_for(1)
    seen = lambda: prometheus.value(INITIATED) == 1  # noqa: E731 - growth is seen from the second sample on
    wait_until(seen, "the first prompt is counted", 30)
    for user in range(101, 101 + BUYERS):
        assert watched.initiate(user) == 200
    see("DaftariNobodyPays")
    watched.simulator.approve(watched.simulator.prompts(open_only=True)[0].checkout_request_id)
    see("DaftariUnauthenticatedMessages", meanwhile=lambda: watched.post_what_nobody_asked_for(3))
    watched.simulator.faults.add("push", 3 * ["wrong-credentials"])
    for user in (121, 122, 123):
        assert watched.initiate(user) >= 400
    see("DaftariMpesaRefusesUs")
    watched.simulator.faults.start_outage(3_600)
    users = iter(range(130, 1_000))
    see("DaftariMpesaUnanswered", meanwhile=lambda: watched.initiate(next(users)))
    watched.simulator.faults.clear()


@contextmanager
def holding_the_log(database_url: str) -> Iterator[None]:
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        yield
        holder.rollback()


Repair = Callable[[], Any]


def _doubted_refund(watched: Watched) -> Repair:
    checkout = watched.checkout(days=2).prompt().pay("RCPT000001").refuse_order()
    checkout.request_refund().accept_refund().doubt_refund()
    until_readable(watched.database)
    Follower(watched.database, watched.ledger.macs, PaymentRefunds()).catch_up()
    return lambda: watched.return_by_hand(checkout.session_id)


def _doubted_payment(watched: Watched) -> Repair:
    return watched.checkout(hours=1).prompt().cancel


def _paid_without_order(watched: Watched) -> Repair:
    """It also shows that M-Pesa takes our requests again."""
    checkout = watched.checkout(minutes=3).prompt().pay("RCPT000002")
    return lambda: (checkout.order(), watched.checkout(minutes=0).prompt().pay("RCPT000003").order(790))


def _given_up(watched: Watched) -> Repair:
    watched.run(GIVEN_UP, uuid4(), clock.now())
    watched.run("UPDATE follower_failures SET name = 'goods_returns'")
    return lambda: watched.run("DELETE FROM follower_failures")


def _moved(watched: Watched) -> Repair:
    watched.run(MOVED, "unknown", clock.now())
    return lambda: watched.run("DELETE FROM mpesa_movements")


def _unread(watched: Watched) -> Repair:
    watched.run(UNREAD)
    return lambda: watched.run("DELETE FROM daraja_inbox WHERE body_sha256 = 'unread'")


def _switched_off(watched: Watched) -> Repair:
    watched.switch(is_on=False)
    return lambda: watched.switch(is_on=True)


ROWS = (
    _doubted_refund,
    _doubted_payment,
    _paid_without_order,
    _given_up,
    _moved,
    _unread,
    _switched_off,
)
OF_ROWS = (
    "DaftariRefundInDoubt",
    "DaftariMoneyDueBack",
    "DaftariPaymentInDoubt",
    "DaftariOrderMissing",
    "DaftariDeadLetters",
    "DaftariMoneyUnexplained",
    "DaftariMessageWaits",
    "DaftariSwitchedOff",
)

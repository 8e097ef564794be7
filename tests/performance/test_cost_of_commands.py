"""No command may begin to cost PostgreSQL more than it does: counts, which no machine and no load changes."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import psycopg
import pytest

from ledger.store.database import Database
from payments.worker.processes import jobs
from tests.performance.bounds import MOST
from tests.performance.cost import Cost, CostMeter, least
from tests.scenarios.steps import TOMATOES, approve, put_in_cart, put_on_shelf
from tests.support.database import reachable_folder
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance
from tests.support.proxy import proxy_before
from tests.support.waiting import wait_until

Answer = TypeVar("Answer")

SESSIONS, CHECKOUTS = "/api/payments/sessions/", "/api/payments/checkouts/"
BUYERS = 12
CONNECTIONS = "2"
"""So few that each has prepared every statement after some buyers, however many requests come at once."""

HAS_ORDER = "SELECT FROM shop_orders WHERE session_id = %s"
# PostgreSQL keeps a plan at the sixth execution, unless one made for the values seems cheaper than it.
PLANNED_EACH_TIME = """
SELECT statement FROM pg_prepared_statements WHERE generic_plans = 0 AND custom_plans > 6 ORDER BY statement
"""
READ_WHOLE = """
SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname IN ('payment_events', 'payment_sessions', 'shop_orders')
"""
HAS_OTHERS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Shopper:
    """Buys again and again, and keeps what each step cost."""

    def __init__(self, instance: Instance, meter: CostMeter, past_the_proxy: Database) -> None:
        self.costs = defaultdict[str, list[Cost]](list)
        self._instance = instance
        self._meter = meter
        self._database = past_the_proxy
        self._server = instance.server()
        one_thread = jobs(instance.services.worker, max_workers=1)
        self._orders = next(job for job in one_thread if job.name == "orders")

    def buy(self, user: int) -> None:
        """Take a buyer's cart to the order, without a key, and another cart to a prompt, with keys."""
        session_id = self._create(user, "create", None)
        self._initiate(user, session_id, "initiate", {})
        self._step("callback, and its order", lambda: self._pay(user, session_id))
        client = self._instance.client(user)
        shown = self._step("status", lambda: client.status(session_id))
        assert shown["session_status"] == "order_created"
        self._step("list", lambda: client.get(SESSIONS))
        session_id = self._create(user, "create, with a key", str(uuid4()))
        extension = f"{SESSIONS}{session_id}/extend_session/"
        self._step("extend, with a key", lambda: client.post(extension, headers=_key()))
        self._initiate(user, session_id, "initiate, with a key", _key())
        self._pay(user, session_id)
        self._check_out(user)

    def _check_out(self, user: int) -> None:
        """Open a session as the shop's server does, under a reference of its own, with a key."""
        body = {
            "reference": f"WEB-{user}",
            "lines": [
                {"name": "Maize flour", "quantity": "3", "unit_price": "189.50", "product_id": "SKU-17"}
            ],
            "buyer": {"id": str(user), "phone_number": "0712345678", "name": "John Doe"},
        }
        answer = self._step("checkout", lambda: self._server.post(CHECKOUTS, json=body, headers=_key()))
        assert answer.status_code == 201, answer.text

    def _create(self, user: int, step: str, key: str | None) -> str:
        client = self._instance.client(user)
        put_in_cart(client, TOMATOES, "2")
        answer = self._step(step, lambda: client.create(key=key))
        assert answer.status_code == 201, answer.text
        session_id: str = answer.json()["session_id"]
        return session_id

    def _initiate(self, user: int, session_id: str, step: str, headers: dict[str, str]) -> None:
        client = self._instance.client(user)
        path, body = f"{SESSIONS}{session_id}/initiate_payment/", {"phone_number": _phone(user)}
        answer = self._step(step, lambda: client.post(path, json=body, headers=headers))
        assert answer.status_code == 200, answer.text

    def _pay(self, user: int, session_id: str) -> None:
        approve(self._instance, _phone(user))
        if not self._has_order(session_id):
            until_readable(self._database)
            assert self._orders.work()

    def _has_order(self, session_id: str) -> bool:
        with self._database.connection() as connection:
            return connection.execute(HAS_ORDER, (session_id,)).fetchone() is not None

    def _step(self, step: str, work: Callable[[], Answer]) -> Answer:
        answers: list[Answer] = []
        self.costs[step].append(self._meter.cost_of(lambda: answers.append(work())))
        return answers[0]


def _key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def _phone(user: int) -> str:
    return f"25472{user:07}"


def _planned_each_time(database: Database) -> list[str]:
    """Return the statements that connections of the pool plan at each execution."""
    with database.connection() as one, database.connection() as other:
        return [row["statement"] for each in (one, other) for row in each.execute(PLANNED_EACH_TIME)]


@dataclass(frozen=True)
class Measured:
    """What each step costs at the least, which statements are planned each time, and which tables were read whole."""

    costs: dict[str, Cost]
    planned: list[str]
    read_whole: list[str]


@pytest.fixture(scope="module")
def measured(own_database_url: str) -> Iterator[Measured]:
    """What a shopper's steps cost in a new store, whose tables PostgreSQL has not counted yet."""
    folder = reachable_folder()
    with (
        proxy_before(own_database_url) as proxy,
        psycopg.connect(own_database_url, autocommit=True) as connection,
        closing(Database(own_database_url, max_connections=2)) as past_the_proxy,
    ):
        meter = CostMeter(proxy, connection)
        # A connection that made the database tells as it ends how it read.
        wait_until(lambda: connection.execute(HAS_OTHERS).fetchone() is None, "other connections to end")
        whole: dict[str, int] = dict(connection.execute(READ_WHOLE).fetchall())
        with running_instance(proxy.url, folder, DAFTARI_DATABASE_CONNECTIONS=CONNECTIONS) as instance:
            put_on_shelf(instance, TOMATOES, stock="1000")
            shopper = Shopper(instance, meter, past_the_proxy)
            for user in range(1, 1 + BUYERS):
                shopper.buy(user)
            planned = _planned_each_time(instance.services.database)
        # The connections of the instance have ended, and so have told how they read.
        read = [name for name, times in connection.execute(READ_WHOLE) if times > whole[name]]
        yield Measured({step: least(costs) for step, costs in shopper.costs.items()}, planned, read)
    shutil.rmtree(folder)


@pytest.mark.parametrize("step", MOST)
def test_a_step_costs_no_more_than_it_did(step: str, measured: Measured) -> None:
    assert not measured.costs[step].exceeds(MOST[step]), measured.costs[step]


def test_no_statement_is_planned_each_time(measured: Measured) -> None:
    assert measured.planned == []


def test_no_step_reads_a_whole_table_of_payments_in_a_new_store(measured: Measured) -> None:
    assert measured.read_whole == []

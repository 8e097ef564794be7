from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.store.database import Database
from projections.follower import Follower
from projections.metrics import FROM_SESSIONS, READ_ALL, TABLE, PaymentMetrics, rates
from projections.rebuilds import rebuild
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

TEN = HALF_PAST_TEN.replace(minute=0)
BY_STATUS = "SELECT session_status, COUNT(*) FROM Payment_Sessions GROUP BY session_status"
SUCCESS_RATE = """
SELECT
  COUNT(CASE WHEN session_status = 'order_created' THEN 1 END) * 100.0 / COUNT(*) as success_rate
FROM Payment_Sessions
WHERE created_at >= NOW() - INTERVAL '24 HOUR';
"""


def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(statement.encode()).fetchall()


class Patient(Follower):
    """Waits first until tests beside this one do not hold it back."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, event_macs(database), PaymentMetrics(), batch_size=5)
        self._waits_for = database

    def catch_up(self) -> int:
        until_readable(self._waits_for)
        return super().catch_up()


@pytest.fixture
def metrics(database: Database) -> Follower:
    return Patient(database)


def test_figures_are_those_of_the_status_rows(ledger: Ledger, database: Database, metrics: Follower) -> None:
    one_of_every_kind(ledger)
    metrics.catch_up()
    counted = rows(database, READ_ALL)
    assert counted == rows(database, FROM_SESSIONS)
    assert len(counted) == 2


def test_figures_are_right_after_every_single_event(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    checkout = Checkout(ledger)
    steps = (
        checkout.request,
        checkout.lose_push_answer,
        checkout.initiate,
        checkout.cancel,
        checkout.pay,
        checkout.refuse_order,
    )
    for step in steps:
        step()
        metrics.catch_up()
        assert rows(database, READ_ALL) == rows(database, FROM_SESSIONS)


def test_a_session_counts_in_the_hour_of_its_creation_for_ever(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    Checkout(ledger).prompt().wait(hours=30).pay().order()
    metrics.catch_up()
    (hour,) = rows(database, READ_ALL)
    assert hour["hour"] == TEN
    assert (hour["sessions_created"], hour["order_created"], hour["orders_created"]) == (1, 1, 1)
    assert (hour["payments_initiated"], hour["payments_received"], hour["paid_cents"]) == (1, 1, 350_00)


def test_a_rebuild_of_right_figures_changes_nothing(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    one_of_every_kind(ledger)
    metrics.catch_up()
    before = rows(database, READ_ALL)
    rebuilt = rebuild(database, event_macs(database), TABLE, at_once=9)
    assert rebuilt.wrong_rows == 0
    assert rebuilt.events == rows(database, "SELECT count(*) AS events FROM payment_events")[0]["events"]
    assert rows(database, READ_ALL) == before


def test_a_rebuild_corrects_wrong_figures_and_counts_them(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    one_of_every_kind(ledger)
    metrics.catch_up()
    with database.connection() as connection:
        connection.execute("UPDATE payment_metrics SET paid = paid + 1 WHERE hour = %s", (TEN,))
    assert rebuild(database, event_macs(database), TABLE).wrong_rows == 1
    assert rows(database, READ_ALL) == rows(database, FROM_SESSIONS)


def test_a_rebuild_stands_where_the_live_follower_does_so_that_nothing_counts_twice(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    Checkout(ledger).prompt()
    metrics.catch_up()
    Checkout(ledger).prompt().pay()
    until_readable(database)
    assert rebuild(database, event_macs(database), TABLE).wrong_rows == 0
    Checkout(ledger)
    metrics.catch_up()
    rebuild(database, event_macs(database), TABLE)
    assert rows(database, READ_ALL) == rows(database, FROM_SESSIONS)


def test_each_rate_tells_its_numerator_and_denominator(
    ledger: Ledger, database: Database, metrics: Follower
) -> None:
    Checkout(ledger)
    Checkout(ledger).expire()
    Checkout(ledger).prompt()
    Checkout(ledger).prompt().cancel()
    Checkout(ledger).prompt().pay("RCPT000001")
    Checkout(ledger).prompt().pay("RCPT000002").refuse_order()
    Checkout(ledger).prompt().pay("RCPT000003").order()
    metrics.catch_up()
    report = rates(database, HALF_PAST_TEN, HALF_PAST_TEN + timedelta(hours=1))
    figures = {rate.name: (rate.numerator, rate.denominator, rate.rate) for rate in report.rates}
    assert figures == {
        "session_creation_rate": (7, 2, Decimal("3.5000")),
        "payment_initiation_rate": (5, 6, Decimal("0.8333")),
        "payment_success_rate": (3, 4, Decimal("0.7500")),
        "session_expiry_rate": (1, 5, Decimal("0.2000")),
        "order_creation_success_rate": (1, 2, Decimal("0.5000")),
    }
    assert all(rate.numerator_is and rate.denominator_is for rate in report.rates)
    assert report.open_sessions == 2
    assert report.by_status["failed"] == 2
    assert report.paid_cents == 3 * 350_00


def test_where_nothing_was_decided_there_is_no_rate(database: Database) -> None:
    report = rates(database, HALF_PAST_TEN, HALF_PAST_TEN + timedelta(hours=1))
    assert [rate.rate for rate in report.rates] == [Decimal(0), None, None, None, None]


def test_a_period_that_ends_before_it_begins_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue):
        rates(database, HALF_PAST_TEN, HALF_PAST_TEN - timedelta(hours=1))


def test_the_contracts_queries_run_as_printed(ledger: Ledger, database: Database) -> None:
    checkouts = one_of_every_kind(ledger)
    by_status = {row["session_status"]: row["count"] for row in rows(database, BY_STATUS)}
    assert by_status == Counter(checkout.session.status for checkout in checkouts)
    for _ in range(3):
        Checkout(ledger, at=clock.now())
    Checkout(ledger, at=clock.now()).prompt().pay("RCPTNOW001").order(99)
    assert rows(database, SUCCESS_RATE)[0]["success_rate"] == 25

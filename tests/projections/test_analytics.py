"""The views for analysts say what the log and the aggregates say."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence
from ledger.store.database import Database
from payments.worker.processes import PROCESSES, View
from projections.follower import Follower
from projections.metrics import TABLE, PaymentMetrics
from projections.rebuilds import REBUILDABLE, rebuild
from projections.refunds import PaymentRefunds
from tests.support.checkouts import HALF_PAST_TEN, Checkout, new_session, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

OF_SESSIONS = """
SELECT (created_at AT TIME ZONE 'Africa/Nairobi')::date AS day, count(*) AS sessions_created, count(paid_at) AS paid
FROM payment_sessions GROUP BY 1 ORDER BY 1
"""
OF_FUNNEL = "SELECT day, sessions_created, payments_received AS paid FROM analytics.daily_funnel ORDER BY day"


def rows(database_url: str, statement: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def follow(database: Database, *projections: Any) -> None:
    until_readable(database)
    for projection in projections:
        Follower(database, event_macs(database), projection).catch_up()


def add(ledger: Ledger, user_id: int, at: datetime = HALF_PAST_TEN, **details: Any) -> UUID:
    """Add a session whose buyer gave no phone and no address."""
    like = new_session()
    session = PaymentSession.create(
        uuid4(),
        user_id=user_id,
        lines=like.lines,
        totals=like.totals,
        phone_sealed=None,
        delivery_sealed=None,
        expires_at=at + timedelta(minutes=15),
        at=at,
        **details,
    )
    assert ledger.add(session)
    return session.id


def deliver(
    ledger: Ledger,
    user_id: int,
    county_id: int | None,
    subcounty_id: int | None,
    at: datetime = HALF_PAST_TEN,
) -> None:
    add(ledger, user_id, at, county_id=county_id, subcounty_id=subcounty_id)


def test_attempts_are_those_of_the_sessions(ledger: Ledger, database_url: str) -> None:
    checkouts = one_of_every_kind(ledger)
    found = rows(database_url, "SELECT * FROM analytics.payment_attempts ORDER BY session_id, attempt")
    shown = {
        (row["session_id"], row["attempt"]): (
            row["attempt_state"],
            row["transaction_id"],
            row["requested_at"],
            row["amount_cents"],
        )
        for row in found
    }
    assert shown == {
        (session.id, number): (
            str(attempt.state),
            attempt.transaction_id,
            attempt.requested_at,
            session.totals.total_cents,
        )
        for session in (checkout.session for checkout in checkouts)
        for number, attempt in session.attempts.items()
    }
    codes = {(row["attempt_state"], row["failure_code"], row["result_code"]) for row in found}
    assert {code for code in codes if code[1]} == {("failed", "CANCELLED", "1032"), ("refused", "BUSY", None)}


def test_payments_are_the_money_of_the_sessions(ledger: Ledger, database_url: str) -> None:
    checkouts = one_of_every_kind(ledger)
    upgraded = (
        Checkout(ledger).prompt().pay(None).pay("RCPTBEST01").pay("RCPTBEST01", evidence=Evidence.STATEMENT)
    )
    found = rows(database_url, "SELECT * FROM analytics.payments")
    for session in (checkout.session for checkout in (*checkouts, upgraded)):
        of_session = [row for row in found if row["session_id"] == session.id]
        assert sum(row["amount_cents"] for row in of_session) == session.received_cents
        named = {(row["receipt"], row["attempt"], row["evidence"]) for row in of_session if row["receipt"]}
        assert named == {
            (credit.receipt, credit.attempt, str(credit.evidence)) for credit in session.credits.values()
        }
    assert [row["receipt"] for row in found if row["is_late"]] == ["RCPTLATE01"]
    assert {row["kind"] for row in found} == {"payment", "second_payment", "wrong_amount", "amount_not_named"}


def test_orders_have_their_lines(ledger: Ledger, database_url: str) -> None:
    one_of_every_kind(ledger)
    [orders] = rows(
        database_url, "SELECT count(*) AS orders, sum(goods_cents)::bigint AS cents FROM analytics.orders"
    )
    [lines] = rows(
        database_url,
        "SELECT count(*) AS lines, sum(subtotal_cents)::bigint AS cents, min(quantity)::text AS least,"
        " min(product_name) AS name FROM analytics.order_lines",
    )
    assert orders == {"orders": 6, "cents": 6 * 300_00}
    assert lines == {"lines": 6, "cents": 6 * 300_00, "least": "2.000", "name": "Fresh Tomatoes"}


def test_a_caller_s_own_number_of_an_order_is_not_shown(ledger: Ledger, database_url: str) -> None:
    checkout = Checkout(ledger)
    checkout.session_id = add(ledger, 7, shop="none")
    checkout.prompt().pay()
    ledger.decide(
        checkout.session_id,
        lambda paid: paid.record_order(order_id=None, order_number="Achieng's party", at=checkout.at),
    )
    for view in ("orders", "payment_sessions"):
        of_session = f"SELECT order_number FROM analytics.{view} WHERE session_id = %s"
        assert rows(database_url, of_session, checkout.session_id) == [{"order_number": None}]


def test_a_day_is_nairobi_s(ledger: Ledger, database: Database, database_url: str) -> None:
    for minutes in (0, 60):  # 23:30 and 00:30 in Nairobi.
        late = HALF_PAST_TEN.replace(hour=20) + timedelta(minutes=minutes)
        Checkout(ledger, at=late).prompt().pay(f"RCPTDAY{minutes:03d}")
    follow(database, PaymentMetrics())
    funnel = rows(database_url, OF_FUNNEL)
    assert [(str(row["day"]), row["paid"]) for row in funnel] == [("2024-01-15", 1), ("2024-01-16", 1)]
    assert funnel == rows(database_url, OF_SESSIONS)
    paid = rows(database_url, "SELECT paid_day::text AS day FROM analytics.payments ORDER BY paid_at")
    assert [row["day"] for row in paid] == ["2024-01-15", "2024-01-16"]


@pytest.mark.parametrize(("buyers", "is_shown"), [(4, False), (5, True)])
def test_a_place_of_few_buyers_is_left_out(
    ledger: Ledger, database_url: str, buyers: int, is_shown: bool
) -> None:
    for user_id in range(1, buyers + 1):
        for _ in range(2):
            deliver(ledger, user_id, 1, 5)
    found = rows(
        database_url, "SELECT month::text, county_id, subcounty_id, buyers, sessions FROM analytics.by_county"
    )
    shown = {"month": "2024-01-01", "county_id": 1, "subcounty_id": 5, "buyers": 5, "sessions": 10}
    assert found == ([shown] if is_shown else [])


def test_few_buyers_of_several_subcounties_are_the_rest_of_their_county(
    ledger: Ledger, database_url: str
) -> None:
    places = [*[(1, 5)] * 5, *[(1, 6)] * 3, (1, None), (1, 4), (2, 7), (None, None)]
    for user_id, (county_id, subcounty_id) in enumerate(places, start=1):
        deliver(ledger, user_id, county_id, subcounty_id)
    found = rows(database_url, "SELECT county_id, subcounty_id, buyers FROM analytics.by_county ORDER BY 2")
    assert [tuple(row.values()) for row in found] == [(1, 5, 5), (1, None, 5)]


def test_the_plan_of_places_counts_no_rows_of_what_is_left_out(ledger: Ledger, database_url: str) -> None:
    deliver(ledger, 1, 3, 11)
    plan = rows(
        database_url, "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM analytics.by_county WHERE county_id = 3"
    )
    assert "payment_sessions" not in str(plan)


def test_the_status_of_projections_says_how_far_and_how_old_they_are(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    one_of_every_kind(ledger)
    of_metrics = "SELECT * FROM analytics.projection_status WHERE name = 'payment_metrics'"
    [before] = rows(database_url, of_metrics)
    assert (before["position"], before["version"]) == (0, None)
    assert before["events_behind"] > 100
    assert before["seconds_behind"] > 0
    follow(database, PaymentMetrics())
    assert rebuild(database, event_macs(database), TABLE).wrong_rows == 0
    [after] = rows(database_url, of_metrics)
    assert after["built_at"] > before["built_at"]
    assert after["version"]
    assert after["position"] > 0


def test_every_projection_has_its_row(database_url: str) -> None:
    found = rows(database_url, "SELECT name, built_at, projection_version FROM analytics.projection_status")
    views = {process.name for process in PROCESSES if isinstance(process, View)}
    assert {row["name"] for row in found} == views | {"payment_sessions"} == set(REBUILDABLE)
    assert all(row["built_at"] for row in found)
    made_by = {name: projection.version for name, projection in REBUILDABLE.items()}
    assert {row["name"]: row["projection_version"] for row in found} == made_by


def test_refunds_are_those_of_the_sessions(ledger: Ledger, database: Database, database_url: str) -> None:
    checkouts = one_of_every_kind(ledger)
    follow(database, PaymentRefunds())
    found = rows(database_url, "SELECT session_id, refund, refund_state, amount_cents FROM analytics.refunds")
    assert {tuple(row.values()) for row in found} == {
        (session.id, number, str(refund.state), refund.amount_cents)
        for session in (checkout.session for checkout in checkouts)
        for number, refund in session.refunds.items()
    }

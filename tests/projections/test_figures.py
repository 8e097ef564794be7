"""Figures by time and group, as they stand and as they were reported."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.session.status_row import status_row
from ledger.store.database import Database
from projections.figure_sums import PaymentFigures
from projections.figures import GROUPS, NONE, OTHERS, FiguresQuery, FiguresRow, figures, restatements
from projections.follower import Follower
from projections.history_steps import sessions_at
from projections.metrics import FROM_SESSIONS
from projections.rebuilds import rebuild
from projections.session_figures import NAMES, interval_of, percentile
from tests.projections.test_analytics import deliver
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEN = HALF_PAST_TEN.replace(minute=0)
PERIOD = (HALF_PAST_TEN - DAY, HALF_PAST_TEN + 2 * DAY)
ALL_ROWS = "SELECT * FROM payment_figures ORDER BY grain, dimension, start, value, position"
REFUNDED = "SELECT count(*) FROM payment_sessions WHERE paid_at IS NOT NULL AND refunded_cents > 0"
MOMENTS = "SELECT DISTINCT recorded_at FROM payment_events ORDER BY 1"
BY_COUNTY = """
SELECT county_id, sum(sessions)::bigint AS sessions_created, sum(payments_received)::bigint AS payments_received
FROM analytics.by_county GROUP BY 1
"""
AS_IT_HAPPENED = """
UPDATE payment_events SET recorded_at = (state->>'timestamp')::timestamptz + version * interval '1 millisecond'
"""
Follow = Callable[[], int]


def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(statement.encode()).fetchall()


def run(database_url: str, *statements: str) -> list[dict[str, Any]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        *_, found = [connection.execute(statement.encode()) for statement in statements]
        return found.fetchall() if found.description else []


@pytest.fixture
def follow(database: Database) -> Follow:
    follower = Follower(database, event_macs(database), PaymentFigures(), batch_size=5)

    def catch_up() -> int:
        until_readable(database)
        return follower.catch_up()

    return catch_up


def ask(
    database: Database, since: datetime = PERIOD[0], until: datetime = PERIOD[1], **query: Any
) -> list[FiguresRow]:
    return figures(database, FiguresQuery(since, until, **query), event_macs(database))


def test_hours_are_those_of_the_status_rows(ledger: Ledger, database: Database, follow: Follow) -> None:
    one_of_every_kind(ledger)
    follow()
    by_hour = {row.start: row.counts for row in ask(database, by="hour") if row.counts["sessions_created"]}
    expected = {row.pop("hour"): row for row in rows(database, FROM_SESSIONS)}
    shown = {start: {name: counts[name] for name in expected[TEN]} for start, counts in by_hour.items()}
    assert shown == expected
    [whole] = ask(database)
    [refunded] = rows(database, REFUNDED)
    assert whole.counts["refunds"] == refunded["count"] > 0


def test_figures_are_right_after_every_single_event(
    ledger: Ledger, database: Database, follow: Follow
) -> None:
    checkout = Checkout(ledger)
    codes: list[str | None] = []
    refunded = (checkout.pay, checkout.refuse_order, checkout.request_refund, checkout.refund)
    for step in (checkout.request, checkout.lose_push_answer, checkout.initiate, checkout.cancel, *refunded):
        step()
        follow()
        [expected] = rows(database, FROM_SESSIONS)
        [whole], [coded] = ask(database), ask(database, group="result_code")
        assert whole.counts | {"hour": TEN} == expected | {"refunds": int(step == checkout.refund)}
        assert coded.counts == whole.counts
        codes.append(coded.group)
    assert codes == [NONE] * 3 + ["1032", NONE] + ["OUT_OF_STOCK"] * 3


def test_a_rebuild_comes_to_the_same_rows(ledger: Ledger, database: Database, follow: Follow) -> None:
    one_of_every_kind(ledger)
    for user_id in range(11, 18):
        deliver(ledger, user_id, 1, user_id % 2)
    follow()
    before = rows(database, ALL_ROWS)
    assert rebuild(database, event_macs(database), "payment_figures", at_once=97).wrong_rows == 0
    assert rows(database, ALL_ROWS) == before


def test_days_and_weeks_are_nairobi_s_and_cover_the_period_once(
    ledger: Ledger, database: Database, follow: Follow
) -> None:
    """Sums of hours, days and months are taken together, and the first and last hours of the period count whole."""
    for hours in (0, 1, 10, 11, 24 * 5, 24 * 6 + 10, 24 * 6 + 11, 24 * 20, 24 * 50, 24 * 80):
        Checkout(ledger, at=HALF_PAST_TEN + hours * HOUR)
    follow()
    until = HALF_PAST_TEN + 80 * DAY
    assert [row.counts["sessions_created"] for row in ask(database, TEN, until)] == [10]
    assert [row.counts["sessions_created"] for row in ask(database, TEN + HOUR, until - HOUR)] == [8]
    by_day = {
        row.start: row.counts["sessions_created"] for row in ask(database, TEN, TEN + 2 * DAY, by="day")
    }
    midnight = TEN.replace(hour=21) - DAY
    assert by_day == {midnight: 3, midnight + DAY: 1, midnight + 2 * DAY: 0}
    by_week = [
        (row.start, row.counts["sessions_created"]) for row in ask(database, TEN, TEN + 7 * DAY, by="week")
    ]
    assert by_week == [(midnight, 6), (midnight + 7 * DAY, 1)]  # 15 January 2024 is a Monday.
    [day, *_] = ask(database, TEN, TEN + 2 * DAY, by="day")
    assert (day.rates[0].numerator, day.rates[0].denominator) == (3, 11)


def test_each_rate_tells_its_numerator_and_denominator(
    ledger: Ledger, database: Database, follow: Follow
) -> None:
    Checkout(ledger)
    Checkout(ledger).expire()
    Checkout(ledger).prompt().pay("RCPT000001").order()
    Checkout(ledger).prompt().pay("RCPT000002").refuse_order().request_refund().refund()
    follow()
    [whole] = ask(database, TEN, TEN + HOUR)
    rates = {rate.name: (rate.numerator, rate.denominator) for rate in whole.rates}
    assert rates == {
        "session_creation_rate": (4, 1),
        "payment_initiation_rate": (2, 3),
        "payment_success_rate": (2, 2),
        "session_expiry_rate": (1, 3),
        "order_creation_success_rate": (1, 2),
        "payment_success_of_created_rate": (2, 3),
        "refund_rate": (1, 2),
    }
    assert all(rate.numerator_is and rate.denominator_is for rate in whole.rates)


def test_products_have_their_lines_money(ledger: Ledger, database: Database, follow: Follow) -> None:
    Checkout(ledger).prompt().pay("RCPT000001")
    Checkout(ledger).prompt().cancel()
    follow()
    [tomatoes] = ask(database, group="product")
    assert (tomatoes.group, tomatoes.counts["sessions_created"], tomatoes.counts["paid_cents"]) == (
        "123",
        2,
        300_00,
    )
    cancelled, paid = sorted(ask(database, group="result_code"), key=lambda row: str(row.group))
    assert (cancelled.group, cancelled.counts["failed"]) == ("1032", 1)
    assert (paid.group, paid.counts["paid_cents"], paid.seconds_to_pay_p50) == (NONE, 350_00, 9.5)


def test_a_group_beyond_the_largest_is_with_the_others(
    ledger: Ledger, database: Database, database_url: str, follow: Follow
) -> None:
    Checkout(ledger)
    follow()
    run(
        database_url,
        "CREATE TEMPORARY TABLE more AS SELECT payment_figures.*, number FROM payment_figures, generate_series(2, 60)"
        " AS number WHERE dimension = 'product' AND grain <> 'late';"
        "UPDATE more SET value = number::text, sessions_created = number, pending = number;"
        "ALTER TABLE more DROP COLUMN number; INSERT INTO payment_figures TABLE more",
    )
    found = ask(database, group="product")
    assert [row.group for row in found] == [*(str(number) for number in range(60, 10, -1)), OTHERS]
    assert found[-1].counts["sessions_created"] == sum(range(2, 11)) + 1
    assert len(ask(database, group="product", by="day")) == 11


@pytest.mark.parametrize("seed", range(3))
def test_counties_are_those_of_the_analysts_view(
    ledger: Ledger, database: Database, database_url: str, follow: Follow, seed: int
) -> None:
    """Else a small group would follow from the difference of the two."""
    places = [
        *[(1, 5)] * 5,
        *[(1, 6)] * (3 + seed),
        (1, None),
        (2, 7),
        (None, None),
        *[(3, None)] * 5,
        (3, 8),
    ]
    for user_id, (county_id, subcounty_id) in enumerate(places, start=1):
        deliver(ledger, user_id, county_id, subcounty_id)
        deliver(ledger, user_id, county_id, subcounty_id)
    follow()
    expected = {str(row.pop("county_id")): row for row in run(database_url, BY_COUNTY)}
    *shown, hidden = ask(database, group="county")
    assert {row.group: {name: row.counts[name] for name in expected["1"]} for row in shown} == expected
    assert (hidden.group, hidden.suppressed, hidden.counts, hidden.rates) == (OTHERS, True, {}, ())
    assert ask(database, TEN + 20 * DAY, TEN + 40 * DAY, group="county") == []
    assert len(ask(database, TEN + 10 * DAY, TEN + 11 * DAY, group="county")) == len(shown) + 1


@pytest.mark.parametrize(
    "query",
    [
        {"by": "month"},
        {"group": "buyer"},
        {"since": PERIOD[1] + HOUR},
        {"until": PERIOD[0] + 367 * DAY},
        {"until": PERIOD[0] + 32 * DAY, "by": "hour"},
        {"until": PERIOD[0] + 200 * DAY, "by": "day", "group": "product"},
        {"by": "day", "group": "county"},
        {"as_reported_at": HALF_PAST_TEN, "group": "county"},
    ],
)
def test_what_cannot_be_shown_is_refused(database: Database, query: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        ask(database, **query)


@given(st.lists(st.floats(0, 3_600), min_size=1, max_size=60))
def test_percentiles_are_right_to_a_second_or_a_tenth(times: list[float]) -> None:
    payments: dict[int, int] = {}
    for seconds in times:
        payments[interval_of(seconds)] = payments.get(interval_of(seconds), 0) + 1
    shown, ordered = percentile(payments, 0.5), sorted(times)
    assert shown is not None
    low, high = ordered[(len(times) - 1) // 2], ordered[len(times) // 2]
    assert low - max(1, low / 9) - 0.1 <= shown <= high + max(1, high / 9) + 0.1


def payments_of_a_few_days(ledger: Ledger) -> None:
    """Sessions some of whose events are recorded hours and days after they began."""
    one_of_every_kind(ledger)
    for number, hours in enumerate((0, 1, 2, 3, 30), start=1):
        at = HALF_PAST_TEN + number * timedelta(minutes=25)
        Checkout(ledger, at=at).prompt().wait(hours=hours).pay(f"RCPTSLOW{number:02d}").wait(
            hours=hours
        ).order()
        Checkout(ledger, at=at).prompt().cancel().wait(hours=hours).pay(
            f"RCPTSLOX{number:02d}"
        ).refuse_order()


@pytest.fixture
def as_it_happened(database_url: str) -> Callable[[], object]:
    """Make as if each event had been recorded when it happened: its MAC does not cover when that was."""
    return lambda: run(database_url, "SET session_replication_role = replica", AS_IT_HAPPENED)


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_batches_of_any_size_come_to_the_same_rows(
    ledger: Ledger, database: Database, as_it_happened: Callable[[], object], follow: Follow, batch_size: int
) -> None:
    """Buyers are told in order, and one who fails alone in an hour leaves a row of nothing where they were counted."""
    Checkout(ledger, at=HALF_PAST_TEN - DAY).prompt().cancel()
    payments_of_a_few_days(ledger)
    for user_id in range(11, 18):
        deliver(ledger, user_id, 47, user_id % 2)
    Checkout(ledger).prompt().cancel(code='a "b" \\ c, {d}\n\u00e9').pay("RCPTODD01A")
    as_it_happened()
    follow()
    macs, shadow = event_macs(database), PaymentFigures("payment_figures_rebuilt")
    Follower(database, macs, shadow, batch_size).catch_up()
    found = rows(database, ALL_ROWS)
    assert rows(database, ALL_ROWS.replace("payment_figures", shadow.name)) == found
    assert 'a "b" \\ c, {d}\n\u00e9' in {row["value"] for row in found}


def expected_at(database: Database, moment: datetime) -> dict[datetime, dict[str, int]]:
    """Return the figures by hour of all sessions as folded from what was recorded until a moment."""
    ids = [row["session_id"] for row in rows(database, "SELECT session_id FROM payment_sessions")]
    found: dict[datetime, dict[str, int]] = {}
    for session in sessions_at(database, event_macs(database), ids, moment).values():
        row = status_row(session)
        counts = found.setdefault(row["created_at"].replace(minute=0, second=0), dict.fromkeys(NAMES, 0))
        is_paid = row["paid_at"] is not None
        counts["sessions_created"] += 1
        counts[row["session_status"]] += 1
        counts["payments_initiated"] += row["session_status"] not in ("pending", "expired")
        counts["payments_received"] += is_paid
        counts["orders_created"] += row["order_number"] is not None
        counts["paid_cents"] += row["total_cents"] if is_paid else 0
        counts["refunds"] += is_paid and row["refunded_cents"] > 0
    return found


def test_what_was_reported_at_a_time_is_a_fold_of_the_log_as_of_then(
    ledger: Ledger, database: Database, as_it_happened: Callable[[], object], follow: Follow
) -> None:
    payments_of_a_few_days(ledger)
    as_it_happened()
    follow()
    moments = [row["recorded_at"] for row in rows(database, MOMENTS)]
    assert moments[-1] - moments[0] > DAY
    hours = [TEN + number * HOUR for number in range(12)]
    for moment in [*moments[::7], *hours, moments[0] - timedelta(microseconds=1), moments[-1]]:
        found = ask(database, by="hour", as_reported_at=moment)
        shown = {row.start: row.counts for row in found if row.counts["sessions_created"]}
        assert shown == expected_at(database, moment), moment


def test_groups_and_longer_times_as_reported_add_up_to_the_hours(
    ledger: Ledger, database: Database, as_it_happened: Callable[[], object], follow: Follow
) -> None:
    payments_of_a_few_days(ledger)
    as_it_happened()
    follow()
    for moment in (TEN + HOUR, TEN + 3 * HOUR, TEN + 30 * HOUR):
        [whole] = ask(database, as_reported_at=moment)
        by_code = ask(database, as_reported_at=moment, group="result_code")
        for shown in (
            by_code,
            ask(database, as_reported_at=moment, by="hour"),
            ask(database, as_reported_at=moment, by="week"),
        ):
            assert {name: sum(row.counts[name] for row in shown) for name in NAMES} == whole.counts
        failed = sum(row.counts["failed"] for row in by_code if row.group != NONE)
        assert failed == whole.counts["failed"]
    assert ask(database) == ask(database, as_reported_at=TEN + 30 * DAY)
    assert ask(database, group="product") == ask(database, group="product", as_reported_at=TEN + 30 * DAY)


def test_a_restatement_names_the_event_and_what_it_changed(
    ledger: Ledger,
    database: Database,
    database_url: str,
    as_it_happened: Callable[[], object],
    follow: Follow,
) -> None:
    checkout = Checkout(ledger).prompt().cancel().wait(hours=5).pay("RCPTLATE01")
    Checkout(ledger).prompt().pay("RCPTSOON01").order()
    as_it_happened()
    follow()
    [late] = restatements(database, 10)
    assert (late.session_id, late.version, late.hour) == (checkout.session_id, 5, TEN)
    assert late.topic == "payment_session.paid.v1"
    assert late.recorded_at > TEN + 2 * HOUR
    assert late.changes == {"failed": -1, "paid": 1, "payments_received": 1, "paid_cents": 350_00}
    assert restatements(database, 10, late.key) == []
    shown = run(database_url, "SELECT figure, change, version FROM analytics.figure_restatements")
    assert {row["figure"]: row["change"] for row in shown} == late.changes


def test_an_event_restates_the_past_an_hour_after_the_end_of_its_hour(
    ledger: Ledger, database: Database, database_url: str, follow: Follow
) -> None:
    Checkout(ledger).request()
    at = "UPDATE payment_events SET recorded_at = '{}'"
    Checkout(ledger).prompt()
    run(database_url, "SET session_replication_role = replica", at.format("2024-01-15 11:59:59.999999Z"))
    follow()
    assert restatements(database, 10) == []
    Checkout(ledger)
    run(database_url, "SET session_replication_role = replica", at.format("2024-01-15 12:00Z"))
    follow()
    assert [(each.version, each.changes) for each in restatements(database, 10)] == [
        (1, {"sessions_created": 1, "pending": 1})
    ]


def test_pages_of_restatements_pass_over_nothing(ledger: Ledger, database: Database, follow: Follow) -> None:
    one_of_every_kind(ledger)
    follow()
    everything = restatements(database, 1_000)
    assert [each.key for each in everything] == sorted((each.key for each in everything), reverse=True)
    paged, key = [], None
    while page := restatements(database, 7, key):
        paged += page
        key = page[-1].key
    assert paged == everything
    by_hour = {
        start: list(group)
        for start, group in groupby(sorted(paged, key=lambda each: each.hour), lambda each: each.hour)
    }
    for start, late in by_hour.items():  # All of it was recorded long after 2024.
        [row] = ask(database, start, start + HOUR)
        assert row.counts == {name: sum(each.changes.get(name, 0) for each in late) for name in NAMES}


@pytest.mark.parametrize("group", GROUPS)
def test_without_a_session_there_is_nothing(database: Database, group: str) -> None:
    assert ask(database, group=group) == []
    [whole] = ask(database)
    assert (whole.counts["sessions_created"], whole.seconds_to_pay_p50) == (0, None)
    assert {rate.name: rate.rate for rate in whole.rates}["refund_rate"] is None

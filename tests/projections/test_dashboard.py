"""The dashboard shows what an analyst gets by the queries beside it, and what the aggregates say."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.application import Ledger
from ledger.clock import NAIROBI
from ledger.store.database import Database
from projections import metrics
from projections.dashboard import (
    DAY,
    OF_NOW,
    OF_PERIOD,
    PERIODS,
    SECONDS_TO_PAY,
    Figures,
    Rows,
    Window,
    read,
    windows,
)
from projections.figure_sums import PaymentFigures
from projections.metrics import PaymentMetrics
from projections.session_figures import SECONDS
from tests.projections.test_analytics import deliver, follow
from tests.support.analysts import new_analyst
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind

NOW = HALF_PAST_TEN + timedelta(minutes=32, seconds=7)
"""11:02:07 in UTC, 14:02:07 in Nairobi."""

EXACT_TIMES = """
SELECT greatest(extract(epoch FROM paid_at - last_requested_at)::float8, 0) AS seconds FROM payment_sessions
WHERE paid_at IS NOT NULL AND created_at >= %s AND created_at < %s
"""
EXACT_FAILURES = """
SELECT failure_code, count(*) AS sessions FROM payment_sessions
WHERE session_status = 'failed' AND created_at >= %s AND created_at < %s GROUP BY 1 ORDER BY 2 DESC, 1
"""


@pytest.fixture
def figures(ledger: Ledger, database: Database) -> dict[str, Figures]:
    """Each period's figures, until half an hour after sessions of every kind; the day before had two that were paid."""
    one_of_every_kind(ledger)
    for back, receipt in ((timedelta(days=1), "RCPTBEFORE1"), (timedelta(days=1, hours=1), "RCPTBEFORE2")):
        Checkout(ledger, at=HALF_PAST_TEN - back).prompt().pay(receipt)
    follow(database, PaymentMetrics(), PaymentFigures())
    return {name: read(database, period, NOW) for name, period in PERIODS.items()}


@pytest.mark.parametrize("name", PERIODS)
def test_a_period_is_followed_by_the_next_and_they_are_of_one_length(name: str) -> None:
    period = PERIODS[name]
    now, before = windows(period, NOW)
    assert now.until == NOW
    assert now.until - before.until == now.since - before.since == period.span
    assert period.span - period.step < now.until - now.since <= period.span
    assert before.until <= now.since + period.step
    assert len(now.starts) == period.span / period.step
    assert now.starts[0] == now.since
    assert now.starts[-1] <= NOW < now.starts[-1] + period.step


def test_a_day_of_a_week_is_nairobi_s() -> None:
    now, _ = windows(PERIODS["week"], NOW.replace(hour=22))
    assert f"{now.since.astimezone(NAIROBI):%F %T}" == "2024-01-10 00:00:00"
    assert f"{now.starts[-1].astimezone(NAIROBI):%F %T}" == "2024-01-16 00:00:00"


def test_an_analyst_gets_the_figures_by_the_queries_beside_them(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    one_of_every_kind(ledger)
    for user_id in range(11, 16):
        deliver(ledger, user_id, 1, 5)
    follow(database, PaymentMetrics(), PaymentFigures())
    with (
        new_analyst(database_url) as url,
        psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection,
    ):
        for period in PERIODS.values():
            shown = read(database, period, NOW)
            assert shown.sql.keys() == {*OF_PERIOD, *OF_NOW}
            for name, query in shown.sql.items():
                assert shown.now[name], name
                assert _still(connection.execute(query.encode()).fetchall()) == _still(shown.now[name]), name


def _still(rows: Rows) -> Rows:
    """Return rows without what changes while one looks."""
    return [{name: value for name, value in row.items() if name != "seconds_behind"} for row in rows]


@pytest.mark.parametrize("name", ["day", "week", "month"])
def test_the_funnel_is_what_the_rates_say(figures: dict[str, Figures], database: Database, name: str) -> None:
    [funnel] = figures[name].now["funnel"]
    window = figures[name].window
    rates = metrics.rates(database, window.since, NOW + timedelta(hours=1))
    by_name = {rate.name: rate for rate in rates.rates}
    assert funnel["created"] == by_name["session_creation_rate"].numerator
    assert funnel["prompted"] == by_name["payment_initiation_rate"].numerator
    assert funnel["paid"] == by_name["payment_success_rate"].numerator
    assert funnel["ordered"] == by_name["order_creation_success_rate"].numerator
    assert funnel["paid_cents"] == rates.paid_cents
    success = by_name["payment_success_rate"].rate
    assert success is not None
    assert funnel["success_percent"] == round(100 * success, 1)


@pytest.mark.parametrize("name", PERIODS)
def test_the_series_and_the_reasons_sum_up_to_the_funnel(figures: dict[str, Figures], name: str) -> None:
    [funnel] = figures[name].now["funnel"]
    for series in ("over_time", "by_hour"):
        for step in ("created", "paid", "ordered"):
            assert sum(row[step] for row in figures[name].now[series]) == funnel[step], (series, step)
    [to_pay] = figures[name].now["time_to_pay"]
    assert (
        to_pay["payments"] == sum(row["payments"] for row in figures[name].now["how_long"]) == funnel["paid"]
    )
    assert to_pay["p50_seconds"] <= to_pay["p95_seconds"]


def test_the_period_before_is_cut_at_the_same_time_of_day(
    figures: dict[str, Figures], ledger: Ledger, database: Database
) -> None:
    assert figures["day"].before["funnel"][0]["paid"] == 2
    later = NOW - timedelta(days=1) + timedelta(minutes=1)
    Checkout(ledger, at=later).prompt().pay("RCPTBEFORE3")
    follow(database, PaymentMetrics(), PaymentFigures())
    shown = read(database, PERIODS["day"], NOW)
    assert shown.before["funnel"][0]["paid"] == 2
    later_still = read(database, PERIODS["day"], NOW + timedelta(minutes=2))
    assert later_still.before["funnel"][0]["paid"] == 3


def test_the_running_hour_counts_before_its_follower_has_read_it(ledger: Ledger, database: Database) -> None:
    Checkout(ledger, at=NOW - timedelta(seconds=30)).prompt().pay("RCPTNOW0001")
    for period in PERIODS.values():
        assert read(database, period, NOW).now["funnel"][0]["paid"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_failures_and_times_to_pay_are_those_of_the_sessions(
    ledger: Ledger, database: Database, seed: int
) -> None:
    """Times are right to a second and beyond a minute to a tenth; those of the hour that runs are exact."""
    draw = Random(seed)
    for number in range(60):
        ago = timedelta(minutes=draw.choice([20, 90, 60 * 20, 60 * 24 * 4, 60 * 24 * 20]))
        checkout = Checkout(ledger, at=NOW - ago).prompt()
        if draw.random() < 0.3:
            checkout.cancel()
        elif draw.random() < 0.2:
            checkout.pay(f"RCPT{number:06d}").refuse_order()
        else:
            checkout.wait(seconds=int(draw.expovariate(1 / 40))).pay(f"RCPT{number:06d}")
    follow(database, PaymentMetrics(), PaymentFigures())
    for period in PERIODS.values():
        shown = read(database, period, NOW)
        values = (shown.window.since, shown.window.until)
        with database.connection() as connection:
            times = sorted(row["seconds"] for row in connection.execute(EXACT_TIMES, values))
            failures = connection.execute(EXACT_FAILURES, values).fetchall()
        assert shown.now["failures"] == failures
        [to_pay] = shown.now["time_to_pay"]
        assert to_pay["payments"] == len(times)
        for name, share in (("p50_seconds", 0.5), ("p95_seconds", 0.95)):
            exact = times[math.ceil(share * len(times)) - 1]
            error = 0.05 if period.span < DAY else max(1, exact / 10) + 0.05
            assert abs(float(to_pay[name]) - exact) <= error, (period.name, name)


@pytest.mark.parametrize("name", ["times_to_pay_hourly", "times_to_pay_daily"])
def test_spans_of_times_to_pay_are_those_in_which_they_are_counted(database_url: str, name: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO payment_figures SELECT grain, 'all', now(), '', 0,"
            " 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ARRAY(SELECT generate_series(1, %s)), '{}'"
            " FROM unnest(ARRAY['hour', 'day']) AS grain",
            [len(SECONDS)],
        )
        view = f"SELECT over_seconds, up_to_seconds, payments FROM analytics.{name} ORDER BY payments"
        found = connection.execute(view.encode()).fetchall()
        connection.rollback()
    assert set(SECONDS_TO_PAY) < set(SECONDS)
    assert found == [(low, high, number) for number, (low, high) in enumerate(pairwise([0, *SECONDS]), 1)]


def test_money_that_is_held_and_payments_in_doubt(ledger: Ledger, database: Database) -> None:
    Checkout(ledger, at=NOW - timedelta(minutes=3)).prompt().pay("RCPTHELD001")
    Checkout(ledger, at=NOW - timedelta(minutes=3)).prompt().pay("RCPTHELD002").refuse_order()
    Checkout(ledger, at=NOW - timedelta(minutes=3)).prompt()
    Checkout(ledger, at=NOW - timedelta(minutes=12)).prompt()
    Checkout(ledger, at=NOW - timedelta(minutes=3)).request().lose_push_answer()
    shown = {
        row["what"]: (row["sessions"], row["cents"])
        for row in read(database, PERIODS["hour"], NOW).now["money"]
    }
    assert shown == {
        "without_order": (1, 350_00),
        "refund_due": (1, 350_00),
        "waiting": (1, 350_00),
        "in_doubt": (2, 700_00),
    }


def test_a_county_counts_what_the_view_by_county_shows_and_no_more(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    for user_id in range(11, 16):
        deliver(ledger, user_id, 1, 5)
    for user_id in range(11, 15):
        deliver(ledger, user_id, 1, 6)
        deliver(ledger, user_id, 1, 7)
        deliver(ledger, user_id, 3, 20)
    deliver(ledger, 11, 1, 5)
    deliver(ledger, 11, 1, None)
    follow(database, PaymentFigures())
    shown = read(database, PERIODS["hour"], NOW)
    [county] = shown.now["counties"]
    assert county["sessions"] == 6
    with psycopg.connect(database_url) as connection:
        by_view = connection.execute(
            "SELECT * FROM analytics.by_county ORDER BY county_id, subcounty_id"
        ).fetchall()
        by_month = connection.execute(
            "SELECT * FROM analytics.county_groups('2024-01-31') ORDER BY county_id, subcounty_id"
        ).fetchall()
        without_buyers = connection.execute(
            "SELECT * FROM analytics.county_figures('2024-01-31') ORDER BY county_id, subcounty_id"
        ).fetchall()
    assert by_month == by_view
    assert without_buyers == [(*row[:3], *row[4:]) for row in by_view] != []
    assert shown.before["counties"] == []


def test_a_month_begins_at_midnight_in_nairobi(ledger: Ledger, database: Database, database_url: str) -> None:
    midnight = datetime(2024, 1, 31, 21, tzinfo=UTC)
    for user_id in range(11, 16):
        deliver(ledger, user_id, 1, 5, midnight - timedelta(microseconds=1))
        deliver(ledger, user_id, 3, 20, midnight)
    follow(database, PaymentFigures())
    with psycopg.connect(database_url) as connection:
        for month, county_id in (("2024-01-31", 1), ("2024-02-01", 3)):
            for function in ("county_groups", "county_figures"):
                of_month = f"SELECT county_id FROM analytics.{function}('{month}')"
                assert connection.execute(of_month.encode()).fetchall() == [(county_id,)]


def test_a_query_names_moments_in_nairobi() -> None:
    window = Window(HALF_PAST_TEN, NOW.replace(microsecond=120_000), NOW, NOW, timedelta(hours=1))
    assert window.sql("'{since}' '{until}' '{month}' '{step}'") == (
        "'2024-01-15 13:30:00+03' '2024-01-15 14:02:07.12+03' '2024-01-01' '60 minutes'"
    )

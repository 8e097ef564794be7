"""The dashboard shows what an analyst gets by the queries beside it, and what the aggregates say."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.application import Ledger
from ledger.clock import NAIROBI
from ledger.store.database import Database
from projections import metrics
from projections.dashboard import OF_NOW, OF_PERIOD, PERIODS, Figures, Rows, Window, read, windows
from projections.metrics import PaymentMetrics
from tests.projections.test_analytics import deliver, follow
from tests.support.analysts import new_analyst
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind

NOW = HALF_PAST_TEN + timedelta(minutes=32, seconds=7)
"""11:02:07 in UTC, 14:02:07 in Nairobi."""


@pytest.fixture
def figures(ledger: Ledger, database: Database) -> dict[str, Figures]:
    """Each period's figures, until half an hour after sessions of every kind; the day before had two that were paid."""
    one_of_every_kind(ledger)
    for back, receipt in ((timedelta(days=1), "RCPTBEFORE1"), (timedelta(days=1, hours=1), "RCPTBEFORE2")):
        Checkout(ledger, at=HALF_PAST_TEN - back).prompt().pay(receipt)
    follow(database, PaymentMetrics())
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
    follow(database, PaymentMetrics())
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
    follow(database, PaymentMetrics())
    shown = read(database, PERIODS["day"], NOW)
    assert shown.before["funnel"][0]["paid"] == 2
    later_still = read(database, PERIODS["day"], NOW + timedelta(minutes=2))
    assert later_still.before["funnel"][0]["paid"] == 3


def test_the_running_hour_counts_before_its_follower_has_read_it(ledger: Ledger, database: Database) -> None:
    Checkout(ledger, at=NOW - timedelta(seconds=30)).prompt().pay("RCPTNOW0001")
    for period in PERIODS.values():
        assert read(database, period, NOW).now["funnel"][0]["paid"] == 1


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
    shown = read(database, PERIODS["hour"], NOW)
    [county] = shown.now["counties"]
    assert (county["sessions"], county["buyers"]) == (6, 5)
    with psycopg.connect(database_url) as connection:
        by_view = connection.execute(
            "SELECT * FROM analytics.by_county ORDER BY county_id, subcounty_id"
        ).fetchall()
        by_month = connection.execute(
            "SELECT * FROM analytics.county_groups('2024-01-31') ORDER BY county_id, subcounty_id"
        ).fetchall()
    assert by_month == by_view
    assert shown.before["counties"] == []


def test_a_month_begins_at_midnight_in_nairobi(ledger: Ledger, database_url: str) -> None:
    midnight = datetime(2024, 1, 31, 21, tzinfo=UTC)
    for user_id in range(11, 16):
        deliver(ledger, user_id, 1, 5, midnight - timedelta(microseconds=1))
        deliver(ledger, user_id, 3, 20, midnight)
    with psycopg.connect(database_url) as connection:
        for month, county_id in (("2024-01-31", 1), ("2024-02-01", 3)):
            found = connection.execute("SELECT county_id FROM analytics.county_groups(%s::date)", [month])
            assert found.fetchall() == [(county_id,)]


def test_a_query_names_moments_in_nairobi() -> None:
    window = Window(HALF_PAST_TEN, NOW.replace(microsecond=120_000), NOW, timedelta(hours=1))
    assert window.sql("'{since}' '{until}' '{month}' '{step}'") == (
        "'2024-01-15 13:30:00+03' '2024-01-15 14:02:07.12+03' '2024-01-01' '60 minutes'"
    )

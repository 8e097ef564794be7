"""Analysts ask for rates by time and group, as they stand or were reported, and for what late events changed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger import clock
from ledger.application import Ledger
from projections.figure_sums import PaymentFigures
from projections.figures import OTHERS
from projections.follower import Follower
from projections.metrics import PaymentMetrics
from tests.api.http.resources.test_reports import METRICS, buy
from tests.projections.test_analytics import deliver
from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, put_on_shelf
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

RESTATEMENTS = f"{METRICS}restatements/"
RATES = {
    "session_creation_rate",
    "payment_initiation_rate",
    "payment_success_rate",
    "session_expiry_rate",
    "order_creation_success_rate",
}


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def follow(ledger: Ledger) -> None:
    until_readable(ledger.database)
    for projection in (PaymentMetrics(), PaymentFigures()):
        Follower(ledger.database, ledger.macs, projection).catch_up()


def shown(instance: Instance, path: str = METRICS, **query: Any) -> Any:
    answer = instance.client(9, "analyst").get(
        path, params={"from" if name == "from_" else name: value for name, value in query.items()}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_five_rates_say_what_they_are_made_of(instance: Instance) -> None:
    buy(instance, phone_number=PAYS_AT_ONCE)
    buy(instance)
    shown = instance.client(9, "analyst").get(METRICS).json()
    rates = {rate["name"]: rate for rate in shown["rates"]}
    assert set(rates) == RATES
    for rate in rates.values():
        assert rate["numerator_is"]
        assert rate["denominator_is"]
        assert type(rate["numerator"]) is int
        assert type(rate["denominator"]) is int
    initiated, made = rates["payment_initiation_rate"], rates["order_creation_success_rate"]
    assert (initiated["numerator"], initiated["denominator"], initiated["rate"]) == (2, 2, 1)
    assert (made["numerator"], made["denominator"], made["rate"]) == (1, 1, 1)
    assert shown["open_sessions"] == 1
    assert shown["amount_received"] == "350.00"
    assert shown["sessions_by_status"] == shown["sessions_by_status"] | {
        "order_created": 1,
        "payment_initiated": 1,
    }


def test_a_rate_of_nothing_is_null_and_no_failure(instance: Instance) -> None:
    shown = instance.client(9, "analyst").get(METRICS).json()
    rates = {rate["name"]: rate["rate"] for rate in shown["rates"]}
    assert rates["payment_success_rate"] is None
    assert shown["open_sessions"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=2024-01-15",
        "since=2024-01-15T10:30:00",
        "until=0001-01-01T00:00:00%2B14:00",
        "since=9999-12-31T23:59:59-14:00",
        "since=2024-01-15T10:30:00Z&until=2026-01-15T10:30:00Z",
        "since=2026-01-16T10:30:00Z&until=2026-01-15T10:30:00Z",
        "since=",
        "until=0001-01-01T00:00:00Z",
    ],
)
def test_an_impossible_period_is_refused_by_field(instance: Instance, query: str) -> None:
    answer = instance.client(9, "analyst").get(f"{METRICS}?{query}")
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["errors"]) <= {"since", "until"}


def test_rows_have_each_time_with_its_rates(instance: Instance) -> None:
    buy(instance, phone_number=PAYS_AT_ONCE)
    buy(instance)
    today = str((clock.now() + timedelta(hours=3)).date())
    answer = shown(instance, from_=today, to=today, by="hour")
    assert (answer["by"], answer["group"], answer["as_reported_at"], len(answer["rows"])) == (
        "hour",
        None,
        None,
        24,
    )
    assert {rate["name"] for rate in answer["rates"]} == RATES
    assert sum(row["sessions_created"] for row in answer["rows"]) == 2
    assert sum(row["sessions_by_status"]["order_created"] for row in answer["rows"]) == 1
    [busy, *_] = sorted(answer["rows"], key=lambda row: -row["sessions_created"])
    assert {rate["name"] for rate in busy["rates"]} == RATES | {
        "refund_rate",
        "payment_success_of_created_rate",
    }
    [whole] = shown(instance)["rows"]
    assert (whole["start"], whole["group"], whole["sessions_created"], whole["amount_received"]) == (
        None,
        None,
        2,
        "350.00",
    )
    assert 0 <= whole["seconds_to_pay_p50"] <= whole["seconds_to_pay_p95"] < 60
    [product] = shown(instance, group="product")["rows"]
    assert (product["group"], product["open_sessions"]) == (str(TOMATOES), 1)


def test_from_and_to_are_the_same_as_since_and_until(instance: Instance) -> None:
    moments = {"from_": "2024-01-15T10:30:00Z", "to": "2024-01-16T10:30:00+03:00"}
    one, other = shown(instance, **moments), shown(instance, since=moments["from_"], until=moments["to"])
    assert one == other
    assert (one["since"], one["until"]) == ("2024-01-15T10:00:00Z", "2024-01-16T07:30:00Z")
    days = shown(instance, from_="2024-01-15", to="2024-01-15")
    assert (days["since"], days["until"]) == ("2024-01-14T21:00:00Z", "2024-01-15T21:00:00Z")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"since": "2024-01-15T10:30:00Z", "from": "2024-01-15"}, {"from"}),
        ({"until": "2024-01-15T10:30:00Z", "to": "2024-01-15"}, {"to"}),
        ({"from": "2024-02-30"}, {"from"}),
        ({"from": "1024-02-20"}, {"from"}),
        ({"to": "yesterday"}, {"to"}),
        ({"from": "2024-01-16", "to": "2024-01-14"}, {"from"}),
        ({"from": "2022-01-16", "to": "2024-01-14"}, {"from"}),
        ({"by": ["day", "week"]}, {"by"}),
        ({"by": "month"}, {"by"}),
        ({"group": "buyer"}, {"group"}),
        ({"form": "2024-01-15"}, {"form"}),
        ({"as_reported_at": "2024-01-15"}, {"as_reported_at"}),
        ({"as_reported_at": "2199-01-15T10:30:00Z"}, {"as_reported_at"}),
        ({"group": "county", "by": "day"}, {"group"}),
        ({"from": "2024-01-01", "to": "2024-02-28", "by": "hour"}, {"by"}),
    ],
)
def test_what_cannot_be_answered_is_refused_by_field(
    instance: Instance, query: dict[str, str | list[str]], names: set[str]
) -> None:
    answer = instance.client(9, "analyst").get(METRICS, params=query)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()["errors"]) == names


def test_a_period_may_be_of_days_and_the_refusal_says_so(instance: Instance) -> None:
    told = instance.client(9, "analyst").get(METRICS, params={"from": "yesterday"}).json()["errors"]["from"]
    assert told == [
        "Write a day in Nairobi like 2024-01-15, or a moment with its zone, like 2024-01-15T10:30:00Z."
    ]


def test_counties_are_of_whole_months_and_small_ones_suppressed(instance: Instance) -> None:
    for user_id in range(11, 17):
        deliver(instance.services.ledger, user_id, 1 if user_id < 16 else 2, None)
    instance.work()
    answer = shown(instance, from_="2024-01-15", to="2024-01-15", group="county")
    assert (answer["since"], answer["until"]) == ("2023-12-31T21:00:00Z", "2024-01-31T21:00:00Z")
    county, hidden = answer["rows"]
    assert (county["group"], county["sessions_created"], county["suppressed"]) == ("1", 5, False)
    assert (hidden["group"], hidden["sessions_created"], hidden["suppressed"]) == (OTHERS, None, True)


def test_a_late_event_restates_the_past_and_is_named(instance: Instance) -> None:
    ledger = instance.services.ledger
    old = Checkout(ledger, at=clock.now() - timedelta(days=2)).prompt()
    follow(ledger)
    period = {"since": str((clock.now() - timedelta(days=3)).isoformat())}
    before, then = shown(instance, **period), clock.now().isoformat()
    old.cancel()
    old.pay("RCPTLATE01")
    follow(ledger)
    after = shown(instance, **period)
    assert (before["amount_received"], after["amount_received"]) == ("0.00", "350.00")
    reported = shown(instance, **period, as_reported_at=then)
    assert reported["sessions_by_status"] == before["sessions_by_status"] != after["sessions_by_status"]
    assert reported["rates"][1:] == before["rates"][1:]
    [row] = reported["rows"]
    assert row["sessions_by_status"] == before["sessions_by_status"]
    pages = [shown(instance, RESTATEMENTS, page_size=2)]
    while link := pages[-1]["next"]:
        pages.append(shown(instance, link[link.index(RESTATEMENTS) :]))
    named = [each for page in pages for each in page["results"]]
    assert [each["event"] for each in named] == ["Paid", "Failed", "PaymentInitiated", "Created"]
    assert named[0]["session_id"] == str(old.session_id)
    assert (named[0]["version"], named[0]["hour"]) == (5, named[-1]["hour"])
    assert named[0]["changes"] == {"failed": -1, "paid": 1, "payments_received": 1, "paid_cents": 350_00}

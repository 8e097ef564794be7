"""Spike arrest by rate, and query answers as they were recorded."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from daraja import DarajaClient
from daraja.simulator.spike_arrest import CallRate, SpikeArrest
from tests.daraja.simulator.conftest import NOON, Shop

SANDBOX = {"query": {"calls": 5, "seconds": 60, "burst": 1}}


def test_calls_are_spread_over_the_time() -> None:
    limit = SpikeArrest(CallRate(5, 60))
    taken = [second for second in range(61) if limit.takes(NOON + timedelta(seconds=second))]
    assert taken == [0, 12, 24, 36, 48, 60]


def test_a_burst_passes_at_once_and_no_more() -> None:
    limit = SpikeArrest(CallRate(10, 1, burst=3))
    assert [limit.takes(NOON) for _ in range(5)] == [True, True, True, False, False]
    assert limit.takes(NOON + timedelta(milliseconds=100))
    assert not limit.takes(NOON + timedelta(milliseconds=100))


@pytest.mark.parametrize("rate", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 86_401, 1)])
def test_a_rate_that_makes_no_sense_is_refused(rate: tuple[int, float, int]) -> None:
    with pytest.raises(ValueError, match="A rate is"):
        CallRate(*rate)


def test_the_sandboxs_rate_holds_for_the_query_and_for_no_other_endpoint(shop: Shop) -> None:
    checkout_request_id = shop.push()["CheckoutRequestID"]
    set_rates = shop.http.post(f"{shop.url}/simulator/api/faults", json={"rates": SANDBOX}, timeout=10)
    assert set_rates.json()["rates"] == SANDBOX
    assert [shop.query(checkout_request_id).status_code for _ in range(3)] == [200, 429, 429]
    shop.push("254712345679")
    shop.simulator.advance(12)
    assert [shop.query(checkout_request_id).status_code for _ in range(2)] == [200, 429]
    shop.http.post(f"{shop.url}/simulator/api/faults", json={"rates": {"query": None}}, timeout=10)
    assert [shop.query(checkout_request_id).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "rates",
    [
        5,
        {"callback": SANDBOX["query"]},
        {"query": 5},
        {"query": {"calls": 5}},
        {"query": {"calls": 5, "seconds": 0}},
    ],
)
def test_rates_that_make_no_sense_are_refused(shop: Shop, rates: object) -> None:
    answer = shop.http.post(f"{shop.url}/simulator/api/faults", json={"rates": rates}, timeout=10)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("phone", "ages", "expected"),
    [
        ("254700012401", [1, 10, 17, 60], ["pending", "pending", "paid", "paid"]),
        ("254700012501", [1, 13, 27, 50], ["no_answer", "no_answer", "failed", "failed"]),
        (
            "254700012601",
            [0, 6, 14, 75, 90, 103, 120, 130, 135, 141, 150],
            ["pending", "pending", *["failed", "no_answer"] * 4, "failed"],
        ),
    ],
)
def test_queries_answer_as_recorded_by_the_age_of_the_push(
    shop: Shop, open_client: Callable[..., DarajaClient], phone: str, ages: list[int], expected: list[str]
) -> None:
    client = open_client(shop)
    checkout_request_id = shop.push_and_settle(phone)
    verdicts = []
    age = 0
    for next_age in ages:
        shop.simulator.advance(next_age - age)
        age = next_age
        verdicts.append(client.query(checkout_request_id).kind)
    assert verdicts == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paid", ["pending", "pending", "paid", "paid"]),
        ("cancelled", ["no_answer", "no_answer", "failed", "failed"]),
        ("unreachable", ["pending", "pending", *["failed", "no_answer"] * 4, "failed", "failed"]),
    ],
)
def test_a_recording_can_be_played_answer_by_answer(
    shop: Shop, open_client: Callable[..., DarajaClient], name: str, expected: list[str]
) -> None:
    client = open_client(shop)
    checkout_request_id = shop.push()["CheckoutRequestID"]
    shop.http.post(f"{shop.url}/simulator/api/faults", json={"query_script": name}, timeout=10)
    assert [client.query(checkout_request_id).kind for _ in expected] == expected
    assert (
        shop.http.post(f"{shop.url}/simulator/api/faults", json={"query_script": "x"}, timeout=10).status_code
        == 400
    )

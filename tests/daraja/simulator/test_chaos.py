"""Chaos by seed: the same choices each time, every kind of fault, and the truth underneath."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

from daraja.simulator.callback_bodies import VARIANTS
from daraja.simulator.chaos import Chaos
from daraja.simulator.delivery_sender import guessed
from daraja.simulator.faults import ENDPOINTS, TRUTH, read_fault
from daraja.simulator.outcomes import PAID, Script
from tests.daraja.simulator.conftest import Receiver, Shop

REFERENCES = [f"D{number}" for number in range(1500)]
DAYS_SECONDS = 3 * 86_400.0
OWN_PATH = "/callbacks/secret-path"


def make_chaos(seed: int | None = 7, longest: float = DAYS_SECONDS) -> Chaos:
    return Chaos(seed, longest, 60)


def rolled(chaos: Chaos, references: list[str]) -> dict[str, tuple[str, Script]]:
    return {name: (chaos.fault_for("push", name), chaos.script_for(name)) for name in references}


def test_the_same_seed_gives_the_same_choices_in_any_order_and_another_seed_others() -> None:
    first = rolled(make_chaos(), REFERENCES)
    assert first == rolled(make_chaos(), REFERENCES[::-1])
    assert first != rolled(make_chaos(8), REFERENCES)


def test_a_retry_is_a_new_draw() -> None:
    chaos = make_chaos()
    for reference in REFERENCES[:50]:
        assert TRUTH in [chaos.fault_for("push", reference) for _ in range(20)]


def test_every_fault_that_can_be_drawn_is_known_to_its_endpoint_and_comes_up() -> None:
    chaos = make_chaos()
    for endpoint in ENDPOINTS:
        names = Counter(chaos.fault_for(endpoint, reference) for reference in REFERENCES)
        for name in names:
            read_fault(name, endpoint)
        assert names[TRUTH] > len(REFERENCES) / 2
        assert len(names) > 4
        assert "lose-answer" in names


def test_every_callback_fault_comes_up_and_delays_reach_from_seconds_to_days() -> None:
    scripts = [chaos.script_for(name) for chaos in (make_chaos(),) for name in REFERENCES]
    assert {script.fault for script in scripts} == {
        None,
        "lost",
        "doubled",
        "late",
        "reordered",
        "early",
        "garbled",
        "contradicted",
    }
    assert {script.code for script in scripts} == {"0", "1", "1032", "1037", "2001"}
    assert any(script.forgeries for script in scripts)
    assert any(script.query_code == "1032" for script in scripts)
    delays = sorted(s.deliveries[0].delay_seconds or 0 for s in scripts if s.fault == "late")
    assert 1 <= delays[0] < 60
    assert 86_400 < delays[-1] <= DAYS_SECONDS


def test_no_fault_invents_a_payment() -> None:
    truthful_of_failures = {"truthful", "empty-object", "truncated"}
    for name in REFERENCES:
        script = make_chaos().script_for(name)
        assert {delivery.variant for delivery in (*script.deliveries, *script.forgeries)} <= set(VARIANTS)
        assert all(delivery.to_wrong_address for delivery in script.forgeries)
        assert not any(delivery.to_wrong_address for delivery in script.deliveries)
        if script.code != PAID:
            assert {delivery.variant for delivery in script.deliveries} <= truthful_of_failures
            assert script.query_code is None


def test_a_longest_delay_of_zero_is_kept() -> None:
    chaos = make_chaos(longest=0)
    scripts = [chaos.script_for(name) for name in REFERENCES[:300]]
    assert {delivery.delay_seconds for script in scripts for delivery in script.deliveries} == {0.0}
    assert {script.after_seconds for script in scripts} == {0.0}


def test_without_a_seed_everything_behaves_until_it_is_turned_on(shop: Shop, receiver: Receiver) -> None:
    assert shop.http.get(f"{shop.url}/simulator/api/chaos", timeout=10).json() == {"on": False, "seed": 0}
    assert turn(shop, {"on": True, "seed": 7}).json() == {"on": True, "seed": 7}
    assert turn(shop, {"on": False}).json() == {"on": False, "seed": 7}
    shop.simulator.approve(shop.push_and_settle())
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


@pytest.mark.parametrize("wanted", [None, {}, {"on": 1}, {"on": True, "seed": "x"}, {"on": True, "sed": 1}])
def test_invalid_changes_to_chaos_are_refused(shop: Shop, wanted: object) -> None:
    assert turn(shop, wanted).status_code == 400
    assert not shop.simulator.chaos.is_on


def turn(shop: Shop, wanted: object) -> requests.Response:
    return shop.http.post(f"{shop.url}/simulator/api/chaos", json=wanted, timeout=10)


def push_until_answered(shop: Shop, number: int) -> None:
    """Send a push as a shop does that trusts no answer; the outcome is the simulator's to know."""
    document = shop.document(f"2547120{number:05}") | {"AccountReference": f"D{number}"}
    try:
        shop.send_push(document, timeout=10)
    except requests.ConnectionError:
        return


def run_chaos(open_shop: Callable[..., Shop]) -> dict[str, int]:
    shop = open_shop(chaos_seed=3, chaos_longest_delay_seconds=0.05, prompt_seconds=60)
    for number in range(120):
        push_until_answered(shop, number)
    assert shop.simulator.wait_until_idle()
    shop.simulator.chaos.turn_off()
    shop.simulator.advance(60)
    assert shop.simulator.wait_until_idle()
    assert shop.simulator.prompts(open_only=True) == []
    return shop.simulator.statistics()


def test_a_storm_can_be_repeated_is_counted_and_ends(open_shop: Any, receiver: Receiver) -> None:
    counts = run_chaos(open_shop)
    posted = receiver.received[:]
    receiver.received.clear()
    again = run_chaos(open_shop)
    # Tokens are fetched anew by the shop's helper, not by chaos.
    assert without_tokens(counts) == without_tokens(again)
    assert counts["chaos_push_lose-answer"] > 0
    for delivery_fault in ("lost", "doubled", "early", "forged"):
        assert counts[f"chaos_callback_{delivery_fault}"] > 0, delivery_fault
    forged = [post for post in posted if post.path != OWN_PATH]
    assert len(forged) == counts["chaos_callback_forged"]
    assert {len(post.path) for post in forged} == {len(OWN_PATH)}


def without_tokens(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if "token" not in name}


def test_receipts_in_callbacks_are_those_of_the_books_except_in_forged_ones(
    open_shop: Any, receiver: Receiver
) -> None:
    shop = open_shop(chaos_seed=5, chaos_longest_delay_seconds=0)
    for number in range(80):
        push_until_answered(shop, number)
    assert shop.simulator.wait_until_idle()
    receipts = {p.outcome.receipt for p in shop.simulator.prompts() if p.outcome and p.outcome.receipt}
    reported = set()
    for post in receiver.received:
        if b"MpesaReceiptNumber" in post.body and post.path == OWN_PATH and post.body.endswith(b"}}}}"):
            reported.add(post.items.get("MpesaReceiptNumber"))
    assert reported
    assert reported <= receipts | {None}


def test_numbers_whose_outcome_is_fixed_stay_out_of_it(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(chaos_seed=1)
    for number in range(40):
        phone = f"2547000100{number:02}"
        answer = shop.send_push(shop.document(phone) | {"AccountReference": f"D{number}"})
        assert answer.status_code == 200
        assert shop.query(answer.json()["CheckoutRequestID"]).json()["ResultCode"] == "0"
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0] * 40


def test_a_token_can_be_voided_before_a_request(shop: Shop) -> None:
    shop.simulator.fail_next("push", "void-token")
    answer = shop.send_push(shop.document())
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "404.001.03")
    assert shop.simulator.tokens.valid_token() is None
    shop.push()


def test_a_query_contradicts_only_the_outcome_of_its_script(open_shop: Any) -> None:
    shop = open_shop(wallet_shillings=0)
    checkout_request_id = shop.push_and_settle("254700011901")
    assert shop.query(checkout_request_id).json()["ResultCode"] == "1"


def test_the_forgers_address_is_another_of_the_same_form() -> None:
    url = "http://shop.test/api/payments/callbacks/" + "ab" * 36 + "/"
    assert guessed(url) != url
    assert len(guessed(url)) == len(url)
    assert guessed(url).startswith("http://shop.test/api/payments/callbacks/")
    assert guessed(url).endswith("/")


def test_chaos_starts_over_with_a_seed_and_goes_on_without_one() -> None:
    chaos = make_chaos()
    first = [chaos.fault_for("push", "D1") for _ in range(30)]
    chaos.turn_on()
    more = [chaos.fault_for("push", "D1") for _ in range(30)]
    chaos.turn_on(7)
    assert [chaos.fault_for("push", "D1") for _ in range(60)] == first + more

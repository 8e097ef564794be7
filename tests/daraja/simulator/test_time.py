"""What the simulator does by itself as time passes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daraja.simulator import SimulatorSettings, create_simulator
from daraja.simulator.identifiers import Identifiers, receipt_date_code
from daraja.simulator.kenya_time import compact_stamp, in_kenya, is_compact_stamp
from daraja.simulator.scheduler import Scheduler
from tests.daraja.simulator.conftest import NOON, PHONE, Receiver, Shop

LAST_SECOND_OF_2026_IN_KENYA = datetime(2026, 12, 31, 20, 59, 59, tzinfo=UTC)


def test_an_unanswered_prompt_ends_with_1037(shop: Shop, receiver: Receiver) -> None:
    shop.push_and_settle()
    shop.simulator.advance(59)
    assert shop.simulator.prompts(open_only=True)
    shop.simulator.advance(1)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [1037]
    assert shop.simulator.prompts(open_only=True) == []


def test_a_prompt_that_was_answered_does_not_expire(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.approve(shop.push_and_settle())
    shop.simulator.advance(3600)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_auto_approval_pays_after_its_time(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(auto_approve_seconds=5)
    shop.push_and_settle()
    shop.simulator.advance(4.9)
    assert shop.simulator.prompts(open_only=True)
    shop.simulator.advance(0.1)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_auto_approval_at_once_pays_when_the_push_is_answered(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(auto_approve_seconds=0)
    shop.push_and_settle()
    assert receiver.codes() == [0]


def test_fixed_numbers_go_before_auto_approval(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(auto_approve_seconds=0)
    shop.push_and_settle("254700001032")
    assert receiver.codes() == [1032]


def test_the_schedulers_own_thread_runs_what_is_due(receiver: Receiver) -> None:
    simulator = create_simulator(SimulatorSettings(prompt_seconds=0.01))
    shop = Shop(simulator, simulator.start("127.0.0.1", 0), receiver)
    try:
        checkout_request_id = shop.push()["CheckoutRequestID"]
        assert simulator.wait_for_outcome(checkout_request_id).code == "1037"
    finally:
        simulator.stop()


def test_what_is_planned_is_done_in_order_and_once() -> None:
    now = [NOON]
    scheduler = Scheduler(lambda: now[0])
    done: list[str] = []
    scheduler.at(NOON + timedelta(seconds=2), lambda: done.append("later"))
    scheduler.at(NOON + timedelta(seconds=1), lambda: done.append("soon"))
    scheduler.at(NOON + timedelta(seconds=1), lambda: done.append("soon as well"))
    assert scheduler.run_due() == 0
    now[0] += timedelta(seconds=2)
    assert scheduler.run_due() == 3
    assert scheduler.run_due() == 0
    assert done == ["soon", "soon as well", "later"]


def test_the_day_in_an_id_is_nairobis() -> None:
    identifiers = Identifiers(0, NOON)
    next_year = LAST_SECOND_OF_2026_IN_KENYA + timedelta(seconds=1)
    old = identifiers.checkout_request_id(PHONE, LAST_SECOND_OF_2026_IN_KENYA, ())
    new = identifiers.checkout_request_id(PHONE, next_year, ())
    assert old == "ws_CO_311220262359590712345678"
    assert new == "ws_CO_010120270000000712345678"
    assert identifiers.receipt(LAST_SECOND_OF_2026_IN_KENYA).startswith("ULV")
    assert identifiers.receipt(next_year).startswith("VA1")
    assert compact_stamp(next_year) == "20270101000000"


@pytest.mark.parametrize(
    ("day", "code"), [("2023-01-09", "RA9"), ("2025-10-10", "TJA"), ("2026-12-31", "ULV")]
)
def test_a_receipt_opens_with_its_date(day: str, code: str) -> None:
    assert receipt_date_code(datetime.fromisoformat(f"{day}T12:00:00+03:00")) == code


def test_one_seed_and_one_moment_give_the_same_identifiers_and_another_moment_does_not() -> None:
    first, same, later = (Identifiers(7, NOON + timedelta(seconds=delay)) for delay in (0, 0, 1))
    receipt = first.receipt(NOON)
    assert receipt == same.receipt(NOON)
    assert receipt != later.receipt(NOON)


@pytest.mark.parametrize("text", ["20240229000000", "20261231235959"])
def test_fourteen_digits_that_name_a_moment_are_a_stamp(text: str) -> None:
    assert is_compact_stamp(text)


@pytest.mark.parametrize("text", ["20230229000000", "20261115240000", "2026111512000", "202611151200000", ""])
def test_other_digits_are_no_stamp(text: str) -> None:
    assert not is_compact_stamp(text)


def test_kenya_is_three_hours_ahead() -> None:
    assert in_kenya(NOON).hour == 12

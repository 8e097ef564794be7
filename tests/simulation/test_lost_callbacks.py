"""Callbacks that are lost, and callbacks in any order, handled by all processes."""

from dataclasses import replace
from itertools import permutations
from typing import Any

from ledger.phone import PhoneNumber
from shop.port import Cart, CartLine
from tests.simulation.fault_odds import NO_TROUBLE
from tests.simulation.mpesa import CANCELLED, NO_RESPONSE, PAID
from tests.simulation.processes import Machine
from tests.simulation.run import Plan, run, stage

RESOLVED_WITHIN_SECONDS = 90.0
ENDS = {"paid", "failed", "attempt_failed", "payment_refused"}
SEED_OF_MANUAL_REFUNDS = 5
SILENT = replace(NO_TROUBLE, callback_lost=1.0)


def _seconds_until_resolved(log: list[tuple[Any, ...]]) -> list[float]:
    """Return for each attempt how long it was open; the sessions of this run have one at a time."""
    opened: dict[str, float] = {}
    took = []
    for at, what, *about in log:
        if what == "appended":
            session_id, _, *topics = about
            if "payment_requested" in topics:
                opened[session_id] = at
            if ENDS & set(topics) and session_id in opened:
                took.append(at - opened.pop(session_id))
    assert not opened
    return took


def _as_quick_as_in_earnest(machine: Machine) -> None:
    machine.slowness = 1.0


def test_where_three_of_ten_callbacks_are_lost_all_is_resolved_within_90_seconds() -> None:
    lost, took = 0, []
    for seed in range(1, 6):
        outcome = run(Plan(seed, odds=replace(NO_TROUBLE, callback_lost=0.3)), _as_quick_as_in_earnest)
        assert outcome.violations == []
        lost += outcome.met["callback lost"]
        took += _seconds_until_resolved(outcome.log)
    assert lost > 80
    assert max(took) <= RESOLVED_WITHIN_SECONDS


def test_five_callbacks_of_one_attempt_end_the_same_in_all_120_orders() -> None:
    assert {_ending(order) for order in permutations(range(5))} == {
        ("order_created", 700_00, ("UKG1", "UKG2"), ((350_00, "due"),), (("outcome", True),))
    }


def _ending(order: tuple[int, ...]) -> tuple[Any, ...]:
    """Return how a session ends whose attempt is reported on in this order, a second apart, to any API process."""
    faults: list[str] = []
    with stage(Plan(SEED_OF_MANUAL_REFUNDS, odds=SILENT), faults) as on:
        assert on.machine.settings.daftari_refund_policy == "manual"
        on.machine.shelves.put_on_shelf(1, 10**6)
        on.machine.shelves.carts[1] = Cart((CartLine(1, 1, "Tomatoes", "Farm", 2_000, 150_00, "kg"),))
        on.machine.ask(_buy, lambda: None)
        [prompt] = on.mpesa.prompts.values()
        success = on.mpesa.body(prompt, PAID, "UKG1")
        bodies = (
            success,
            success,
            on.mpesa.body(prompt, CANCELLED),
            on.mpesa.body(prompt, NO_RESPONSE),
            on.mpesa.body(prompt, PAID, "UKG2"),
        )
        for second, number in enumerate(order, 1):
            on.machine.post(prompt.callback_url, bodies[number], float(second), lambda: None)
        on.world.run(30.0)
        [session_id] = on.machine.tables.ledger.rows
        session = on.machine.services().ledger.session(session_id)
    assert faults == []
    refunds = tuple((refund.amount_cents, str(refund.state)) for refund in session.refunds.values())
    discrepancies = tuple((each.about, each.is_open) for each in session.discrepancies.values())
    return (
        str(session.status),
        session.received_cents,
        tuple(sorted(session.receipts)),
        refunds,
        discrepancies,
    )


def _buy(services: Any) -> None:
    delivery = {"county_id": 1, "subcounty_id": 5, "full_name": "Jane", "phone_number": "254712345678"}
    session = services.checkout.create(1, delivery, PhoneNumber("254712345678"), key="one")
    services.checkout.initiate(1, session.id, None)

"""Outcomes with lost callbacks, and with callbacks in any order, over several processes."""

from dataclasses import replace
from itertools import permutations
from typing import Any

from ledger.phone import PhoneNumber
from shop.port import Cart, CartLine
from tests.simulation.deployment import Deployment
from tests.simulation.fault_odds import NO_FAULTS
from tests.simulation.memory_mpesa import CANCELLED, NO_RESPONSE, PAID
from tests.simulation.run import Plan, run, set_up

RESOLVED_WITHIN_SECONDS = 90.0
RESOLVING_EVENTS = {"paid", "failed", "attempt_failed", "payment_refused"}
SEED_OF_MANUAL_REFUNDS = 5
NO_CALLBACKS = replace(NO_FAULTS, callback_lost=1.0)


def _seconds_until_resolved(log: list[tuple[Any, ...]]) -> list[float]:
    """Return for each attempt how long it was open; the sessions of this run have one at a time."""
    opened: dict[str, float] = {}
    took = []
    for at, what, *about in log:
        if what == "appended":
            session_id, _, *topics = about
            if "payment_requested" in topics:
                opened[session_id] = at
            if RESOLVING_EVENTS & set(topics) and session_id in opened:
                took.append(at - opened.pop(session_id))
    assert not opened
    return took


def _at_production_speed(deployment: Deployment) -> None:
    deployment.slowness = 1.0


def test_every_attempt_is_resolved_within_90_seconds_if_three_of_ten_callbacks_are_lost() -> None:
    lost, took = 0, []
    for seed in range(1, 6):
        outcome = run(Plan(seed, odds=replace(NO_FAULTS, callback_lost=0.3)), _at_production_speed)
        assert outcome.violations == []
        lost += outcome.fault_counts["callback lost"]
        took += _seconds_until_resolved(outcome.log)
    assert lost > 80
    assert max(took) <= RESOLVED_WITHIN_SECONDS


def test_five_callbacks_of_one_attempt_have_the_same_outcome_in_all_120_orders() -> None:
    assert {_outcome(order) for order in permutations(range(5))} == {
        ("order_created", 700_00, ("UKG1", "UKG2"), ((350_00, "due"),), (("outcome", True),))
    }


def _outcome(order: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the outcome of a session whose callbacks come in this order, a second apart, to any API process."""
    errors: list[str] = []
    with set_up(Plan(SEED_OF_MANUAL_REFUNDS, odds=NO_CALLBACKS), errors) as setup:
        assert setup.deployment.settings.daftari_refund_policy == "manual"
        setup.deployment.shop.stock_up(1, 10**6)
        setup.deployment.shop.carts[1] = Cart((CartLine(1, 1, "Tomatoes", "Farm", 2_000, 150_00, "kg"),))
        setup.deployment.request(_buy, lambda: None)
        [prompt] = setup.mpesa.prompts.values()
        success = setup.mpesa.body(prompt, PAID, "UKG1")
        bodies = (
            success,
            success,
            setup.mpesa.body(prompt, CANCELLED),
            setup.mpesa.body(prompt, NO_RESPONSE),
            setup.mpesa.body(prompt, PAID, "UKG2"),
        )
        for second, number in enumerate(order, 1):
            setup.deployment.deliver(prompt.callback_url, bodies[number], float(second), lambda: None)
        setup.scheduler.run(30.0)
        [session_id] = setup.deployment.tables.ledger.rows
        session = setup.deployment.services().ledger.session(session_id)
    assert errors == []
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
    session = services.checkout.create(1, delivery, PhoneNumber("254712345678"))
    services.checkout.initiate(1, session.id, None)

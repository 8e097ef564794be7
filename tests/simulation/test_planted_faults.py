"""A bug planted in the product makes some seed fail, and the failing run shrinks."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import uuid5

import pytest

from ledger import clock
from ledger.application import WAIT_BRIEFLY, Ledger
from ledger.phone import PhoneNumber
from ledger.session.session import PaymentSession
from ledger.store.event_macs import EventMacs
from ledger.store.parts import run_parts
from ledger.store.vault import PHONE
from payments.checkout.checkout import Checkout, Prompted
from payments.fulfilment.order_process import OrderMaker
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.idempotency.keyed_request import KeyedRequest, UnkeyedRequest
from payments.prompts.phone_locks import PhoneLocks, PromptRefused
from payments.refunds.reversals import RefundSender
from payments.settlement.receiver import CallbackReceiver
from tests.simulation.fault_odds import NO_FAULTS, USUAL_ODDS, FaultOdds
from tests.simulation.run import Outcome, Plan, run
from tests.simulation.shrinking import shrink

SEEDS = range(1, 13)

Plant = Callable[[], Any]


def _push_before_recording() -> Any:
    """Send the prompt before the attempt is recorded."""

    def send(
        self: Checkout, session: PaymentSession, phone: PhoneNumber, number: int, keyed: UnkeyedRequest
    ) -> tuple[Any, Any]:
        now, trial = clock.now(), self._ledger.session(session.id)
        digest = self._vault.digest("phone", phone.digits)
        encrypted = self._vault.encrypt(session.user_id, phone.digits, purpose=PHONE, row=session.id)
        lock = self._phone_locks.to_write(digest, number, timedelta(minutes=2), session, None)
        with self._ledger.database.connection() as connection:
            try:
                run_parts(connection, lock)
            except PromptRefused as refused:
                raise refused.refusal.error(now) from None

        request = partial(
            PaymentSession.request_payment,
            transaction_id=number,
            phone_sealed=encrypted,
            prompt_seconds=self._terms.prompt_seconds,
            max_attempts=self._terms.max_attempts,
            at=now,
        )
        attempt = trial.attempts[request(trial)]
        prompted = push(self, trial, attempt, phone, keyed)
        self._ledger.decide(session.id, request)
        return prompted, attempt

    push = Checkout._push
    return patch.multiple(
        Checkout,
        _request=send,
        _push=lambda _, prompted, *__: prompted,
        _record_acceptance=lambda _, session, attempt, accepted, __: Prompted(
            session.id, attempt.transaction_id, accepted.checkout_request_id, "", ""
        ),
    )


def _reserve_any_receipt() -> Any:
    """Credit a receipt that another session holds."""
    return patch.multiple(
        Ledger,
        reserve_receipt=lambda *_: True,
        reserve_receipts=lambda _, session_of_receipt: session_of_receipt,
        receipt_part=lambda *_: WAIT_BRIEFLY,
    )


def _order_twice() -> Any:
    """Make two orders for one payment."""
    handle, asked = OrderMaker.handle, OrderMaker._request

    def handle_twice(self: OrderMaker, recorded: Any) -> None:
        session = self._ledger.session(recorded.session_id)
        if session.status == "paid" and session.lines[0].listing_id == 1:
            again = asked(self, session, clock.now())
            lines = tuple(
                replace(line, cart_item_id=(line.cart_item_id or 0) + 10**6) for line in again.lines
            )
            self._shops.named(session.shop).create_order(
                replace(again, session_id=uuid5(session.id, "again"), lines=lines)
            )
        handle(self, recorded)

    return patch.multiple(OrderMaker, handle=handle_twice, make_at_once=lambda *_: None)


def _ignore_idempotency_keys() -> Any:
    """Ignore idempotency keys."""
    nothing = {name: UnkeyedRequest.__dict__[name] for name in ("to_read", "check", "to_claim", "to_answer")}
    patched = ExitStack()
    patched.enter_context(patch.multiple(KeyedRequest, **nothing))
    patched.enter_context(patch.multiple(IdempotencyStore, keep=lambda *_: None))
    return patched


def _grant_every_phone_lock() -> Any:
    """Let every session acquire any phone lock."""
    lock_part = PhoneLocks.lock_part

    def lock(self: PhoneLocks, phone_digest: str, session_id: Any, *names: Any, **moments: Any) -> Any:
        return lock_part(self, f"{phone_digest} {session_id}", session_id, *names, **moments)

    return patch.object(PhoneLocks, "lock_part", lock)


def _acknowledge_without_storing() -> Any:
    """Acknowledge a callback without storing it."""
    return patch.object(CallbackReceiver, "receive", lambda *_, **__: None)


def _believe_every_row() -> Any:
    """Act on events that do not carry our MAC."""
    return patch.multiple(EventMacs, is_genuine=lambda *_: True, require_genuine=lambda *_: b"")


def _resend_reversals_in_doubt() -> Any:
    """Treat a reversal whose answer was lost as failed."""
    return patch.object(
        RefundSender, "_doubt", lambda self, sending, reason: self._fail(sending, "MPESA_UNAVAILABLE", reason)
    )


def _fails(plant: Plant, seeds: range = SEEDS, odds: FaultOdds | None = None) -> Outcome | None:
    with plant():
        outcomes = (run(Plan(seed, odds=odds)) for seed in seeds)
        return next((outcome for outcome in outcomes if outcome.violations), None)


@pytest.mark.parametrize(
    "plant",
    [
        _order_twice,
        *(
            pytest.param(plant, marks=pytest.mark.system)
            for plant in (
                _reserve_any_receipt,
                _ignore_idempotency_keys,
                _grant_every_phone_lock,
                _acknowledge_without_storing,
            )
        ),
    ],
)
def test_a_planted_fault_is_found(plant: Plant) -> None:
    assert _fails(plant) is not None


@pytest.mark.system
@pytest.mark.parametrize(
    ("plant", "odds"),
    [
        (_push_before_recording, replace(NO_FAULTS, crash=0.01)),
        (_believe_every_row, replace(NO_FAULTS, forged_row=1.0)),
        (_resend_reversals_in_doubt, replace(USUAL_ODDS, low_stock=1.0, reversal_answer_lost=0.5)),
    ],
)
def test_a_planted_fault_that_needs_certain_faults_is_found(plant: Plant, odds: FaultOdds) -> None:
    assert _fails(plant, odds=odds) is not None
    assert run(Plan(1, odds=odds)).violations == []


@pytest.mark.system
def test_a_failing_run_shrinks_to_few_checkouts_and_few_faults() -> None:
    with _order_twice():
        smallest = shrink(Plan(3, checkouts=8))
        assert smallest.violations
        assert smallest.plan.checkouts <= 6
        assert len(smallest.plan.disabled) > 20
        assert run(smallest.plan).violations == smallest.violations

"""What is posted to the shop, and when: callbacks as scripted, results and confirmations with their faults."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daraja.simulator.callback_bodies import CallbackContext, compose
from daraja.simulator.callback_dispatcher import CallbackDispatcher, QueuedDelivery
from daraja.simulator.chaos import Chaos
from daraja.simulator.faults import LATE, TRUTH, DeliveryKind, Faults
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.outcomes import PAID, CallbackDelivery
from daraja.simulator.prompts import PromptOutcome, StkPrompt
from daraja.simulator.scheduler import Scheduler

_TRUTHFUL = (CallbackDelivery(),)
_AFTER_TIMEOUT_SECONDS = 5.0
_CUT_BYTES = 25

Then = Callable[[], None]


def nothing() -> None:
    """Do nothing afterwards."""


@dataclass(frozen=True, slots=True)
class ResultDelivery:
    """A result or a C2B confirmation to post, `delay_seconds` from now unless a fault has it otherwise.

    Chaos draws its fault from `reference`. `timeout_url` and `timeout_body` are for results that time out instead.
    """

    kind: DeliveryKind
    reference: str
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    delay_seconds: float = 0
    timeout_url: str = field(default="", repr=False)
    timeout_body: bytes = field(default=b"", repr=False)


class DeliverySender:
    """Schedules deliveries and hands those that are due to the dispatcher. Safe to use from any thread."""

    def __init__(
        self,
        mobile_money: MobileMoney,
        scheduler: Scheduler,
        dispatcher: CallbackDispatcher,
        faults: Faults,
        chaos: Chaos,
    ) -> None:
        self._mobile_money = mobile_money
        self._scheduler = scheduler
        self._dispatcher = dispatcher
        self._faults = faults
        self._chaos = chaos
        self._late_seconds = mobile_money.settings.late_callback_seconds

    @property
    def is_full(self) -> bool:
        """Whether so much is queued that no more requests should be accepted."""
        return self._dispatcher.is_full or self._scheduler.is_full

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until everything that was due is delivered or has failed; return False if the time runs out first."""
        return self._dispatcher.wait_until_idle(timeout_seconds)

    def ask(self, url: str, body: bytes, timeout_seconds: float) -> tuple[str, bytes]:
        """Post on the caller's own thread; return the HTTP status, or why there is none, and the answer's body."""
        return self._dispatcher.ask(url, body, timeout_seconds)

    def post_callbacks(self, prompt: StkPrompt, outcome: PromptOutcome, then: Then = nothing) -> None:
        """Post the callbacks of a prompt that has ended; `then` runs once the first that is due now is delivered."""
        script = prompt.script
        as_scripted = script.code in (None, outcome.code)
        with self._mobile_money.changed:
            context = CallbackContext(prompt, outcome, self._mobile_money.identifiers.receipt(outcome.at))
        if as_scripted and script.fault is not None:
            self._mobile_money.count(f"chaos_callback_{script.fault}")
        deliveries = script.deliveries if as_scripted else _TRUTHFUL
        first_due_now = next((delivery for delivery in deliveries if delivery.delay_seconds == 0), None)
        for delivery in deliveries:
            self._post_callback(delivery, context, then if delivery is first_due_now else nothing)
        if first_due_now is None:
            then()

    def post_forgeries(self, prompt: StkPrompt) -> None:
        """Post the forged callbacks of a prompt's script: right ids, wrong address, and no money moves."""
        for delivery in prompt.script.forgeries:
            with self._mobile_money.changed:
                now = self._mobile_money.now()
                balance = self._mobile_money.wallets.balance(prompt.phone)
                receipt = self._mobile_money.identifiers.receipt(now)
            self._mobile_money.count("chaos_callback_forged")
            self._post_callback(
                delivery, CallbackContext(prompt, PromptOutcome(PAID, now, None, balance), receipt)
            )

    def post_result(self, delivery: ResultDelivery, then: Then = nothing) -> None:
        """Post a result or a confirmation; `then` runs once the first copy is delivered, or will not be soon."""
        fault = self._delivery_fault_for(delivery)
        url, body, delay = delivery.url, delivery.body, delivery.delay_seconds
        if fault == "lost":
            then()
        elif late := LATE.fullmatch(fault):
            self._send_counted(url, body, delay + float(late[1] or self._late_seconds))
            then()
        elif fault == "early":
            self._dispatcher.send_and_wait(self._counted(url, body, then))
        elif fault.startswith("timeout"):
            self._send_counted(delivery.timeout_url, delivery.timeout_body, delay, then)
            if fault == "timeout-then-result":
                self._send_counted(url, body, delay + _AFTER_TIMEOUT_SECONDS)
        else:
            body = body[:-_CUT_BYTES] if fault == "truncated" else body
            self._send_counted(url, body, delay, then)
            if fault == "doubled":
                self._send_counted(url, body, delay)

    def _delivery_fault_for(self, delivery: ResultDelivery) -> str:
        """Return the fault that was set by hand, else what chaos draws, which is counted."""
        fault = self._faults.take_delivery_fault(delivery.kind)
        if fault is not None:
            return fault
        fault = self._chaos.delivery_fault_for(delivery.kind, delivery.reference)
        if fault != TRUTH:
            self._mobile_money.count(f"chaos_{delivery.kind}_{fault.partition(':')[0]}")
        return fault

    def _post_callback(
        self, delivery: CallbackDelivery, context: CallbackContext, then: Then = nothing
    ) -> None:
        prompt = context.prompt

        def done(status: str) -> None:
            with self._mobile_money.changed:
                prompt.deliveries.append(status)
                self._mobile_money.count(f"callbacks_{status}")
            then()

        url = guessed(prompt.callback_url) if delivery.to_wrong_address else prompt.callback_url
        queued = QueuedDelivery(url, compose(delivery.variant, context), done)
        delay = self._late_seconds if delivery.delay_seconds is None else delivery.delay_seconds
        if delay:
            self._send_at(context.outcome.at + timedelta(seconds=delay), queued)
        elif prompt.script.callback_first:
            self._dispatcher.send_and_wait(queued)
        else:
            self._dispatcher.send(queued)

    def _send_counted(self, url: str, body: bytes, delay_seconds: float, then: Then = nothing) -> None:
        queued = self._counted(url, body, then)
        if delay_seconds:
            self._send_at(self._mobile_money.now() + timedelta(seconds=delay_seconds), queued)
        else:
            self._dispatcher.send(queued)

    def _counted(self, url: str, body: bytes, then: Then) -> QueuedDelivery:
        def done(status: str) -> None:
            self._mobile_money.count(f"posts_{status}")
            then()

        return QueuedDelivery(url, body, done)

    def _send_at(self, moment: datetime, queued: QueuedDelivery) -> None:
        self._scheduler.at(moment, lambda: self._dispatcher.send(queued))


def guessed(url: str) -> str:
    """Return the address with another last segment of the same length: a guess by someone who does not know it."""
    head, slash, token = url.rstrip("/").rpartition("/")
    digits = hashlib.sha256(token.encode()).hexdigest()
    guess = (digits * (len(token) // len(digits) + 1))[: len(token)]
    return f"{head}{slash}{guess}" + "/" * url.endswith("/")

"""Callbacks on their way: as a prompt's script wants them, and beside them the notice that C2B gives of the payment."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

from daraja.simulator.c2b_payments import C2b
from daraja.simulator.callback_bodies import Occasion, compose
from daraja.simulator.callback_dispatcher import CallbackDispatcher, QueuedDelivery
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.outcomes import PAID, CallbackDelivery
from daraja.simulator.prompts import PromptOutcome, StkPrompt
from daraja.simulator.scheduler import Scheduler
from daraja.simulator.simulator_settings import SimulatorSettings

_TRUTHFUL = (CallbackDelivery(),)

Then = Callable[[], None]


class CallbackSender:
    """Posts what is told of a prompt that has ended, and what forgers make up meanwhile."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: SimulatedClock,
        scheduler: Scheduler,
        callback_dispatcher: CallbackDispatcher,
        mobile_money: MobileMoney,
        c2b: C2b,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._scheduler = scheduler
        self._callback_dispatcher = callback_dispatcher
        self._mobile_money = mobile_money
        self._c2b = c2b

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that no more pushes should be taken."""
        return self._callback_dispatcher.is_full or self._scheduler.is_full

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until everything that was handed over has met its fate; return False where the time runs out."""
        return self._callback_dispatcher.wait_until_idle(timeout_seconds)

    def tell(self, prompt: StkPrompt, outcome: PromptOutcome) -> None:
        """Post the callbacks of a prompt that has ended, and a C2B confirmation where one is wanted."""
        order = self._c2b.prompt_confirmation if outcome.receipt is not None else "never"
        if order == "never":
            self._tell_callbacks(prompt, outcome)
        elif order == "before" and not prompt.script.callback_first:
            self._c2b.confirm(outcome.receipt, then=lambda: self._tell_callbacks(prompt, outcome))
        else:
            self._tell_callbacks(prompt, outcome, then=lambda: self._c2b.confirm(outcome.receipt))

    def forge(self, prompt: StkPrompt) -> None:
        """Post what somebody made up who has seen the ids and not the address; no money moves."""
        for delivery in prompt.script.forgeries:
            with self._mobile_money.changed:
                now = self._clock.now()
                claimed = PromptOutcome(PAID, now, None, self._mobile_money.wallets.balance(prompt.phone))
                occasion = Occasion(prompt, claimed, self._mobile_money.identifiers.receipt(now))
            self._mobile_money.count("chaos_callback_forged")
            self._post(delivery, occasion)

    def _tell_callbacks(self, prompt: StkPrompt, outcome: PromptOutcome, then: Then | None = None) -> None:
        script = prompt.script
        as_scripted = script.code in (None, outcome.code)
        with self._mobile_money.changed:
            occasion = Occasion(prompt, outcome, self._mobile_money.identifiers.receipt(outcome.at))
        if as_scripted and script.fault is not None:
            self._mobile_money.count(f"chaos_callback_{script.fault}")
        deliveries = script.deliveries if as_scripted else _TRUTHFUL
        first_at_once = next((delivery for delivery in deliveries if delivery.delay_seconds == 0), None)
        for delivery in deliveries:
            self._post(delivery, occasion, then if delivery is first_at_once else None)
        if first_at_once is None and then is not None:
            then()

    def _post(self, delivery: CallbackDelivery, occasion: Occasion, then: Then | None = None) -> None:
        prompt = occasion.prompt
        body = compose(delivery.variant, occasion)
        url = guessed(prompt.callback_url) if delivery.to_wrong_address else prompt.callback_url
        queued = QueuedDelivery(url, body, self._settings.shortcode, self._note_fault_of(prompt, then))
        delay = (
            self._settings.late_callback_seconds if delivery.delay_seconds is None else delivery.delay_seconds
        )
        if delay:
            self._scheduler.at(
                occasion.outcome.at + timedelta(seconds=delay), lambda: self._callback_dispatcher.send(queued)
            )
        elif prompt.script.callback_first:
            self._callback_dispatcher.send_and_wait(queued)
        else:
            self._callback_dispatcher.send(queued)

    def _note_fault_of(self, prompt: StkPrompt, then: Then | None) -> Callable[[str], None]:
        def note(delivery_fault: str) -> None:
            with self._mobile_money.changed:
                prompt.deliveries.append(delivery_fault)
                self._mobile_money.count(f"callbacks_{delivery_fault}")
            if then is not None:
                then()

        return note


def guessed(url: str) -> str:
    """Return the address with another last segment of the same length: the guess of one who does not know it."""
    head, slash, token = url.rstrip("/").rpartition("/")
    digits = hashlib.sha256(token.encode()).hexdigest()
    guess = (digits * (len(token) // len(digits) + 1))[: len(token)]
    return f"{head}{slash}{guess}" + "/" * url.endswith("/")

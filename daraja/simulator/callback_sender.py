"""Callbacks on their way: as a prompt's script wants them, and beside them the notice that C2B gives of the payment."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

from daraja.simulator.bank import Bank
from daraja.simulator.c2b import C2b
from daraja.simulator.callbacks import Occasion, compose
from daraja.simulator.courier import Courier, Parcel
from daraja.simulator.kenya_time import Watch
from daraja.simulator.outcomes import PAID, Delivery
from daraja.simulator.prompts import Outcome, Prompt
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.timetable import Timetable

_TRUTHFUL = (Delivery(),)

Then = Callable[[], None]


class CallbackSender:
    """Posts what is told of a prompt that has ended, and what forgers make up meanwhile."""

    def __init__(
        self,
        settings: SimulatorSettings,
        watch: Watch,
        timetable: Timetable,
        courier: Courier,
        bank: Bank,
        c2b: C2b,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._timetable = timetable
        self._courier = courier
        self._bank = bank
        self._c2b = c2b

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that no more pushes should be taken."""
        return self._courier.is_full or self._timetable.is_full

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until everything that was handed over has met its fate; return False where the time runs out."""
        return self._courier.wait_until_idle(timeout_seconds)

    def tell(self, prompt: Prompt, outcome: Outcome) -> None:
        """Post the callbacks of a prompt that has ended, and a C2B confirmation where one is wanted."""
        order = self._c2b.order_for_prompts if outcome.receipt is not None else "never"
        if order == "never":
            self._tell_callbacks(prompt, outcome)
        elif order == "before" and not prompt.script.callback_first:
            self._c2b.confirm(outcome.receipt, then=lambda: self._tell_callbacks(prompt, outcome))
        else:
            self._tell_callbacks(prompt, outcome, then=lambda: self._c2b.confirm(outcome.receipt))

    def forge(self, prompt: Prompt) -> None:
        """Post what somebody made up who has seen the ids and not the address; no money moves."""
        for delivery in prompt.script.forgeries:
            with self._bank.changed:
                now = self._watch.now()
                claimed = Outcome(PAID, now, None, self._bank.wallets.balance(prompt.phone))
                occasion = Occasion(prompt, claimed, self._bank.identifiers.receipt(now))
            self._bank.count("chaos_callback_forged")
            self._post(delivery, occasion)

    def _tell_callbacks(self, prompt: Prompt, outcome: Outcome, then: Then | None = None) -> None:
        script = prompt.script
        as_scripted = script.code in (None, outcome.code)
        with self._bank.changed:
            occasion = Occasion(prompt, outcome, self._bank.identifiers.receipt(outcome.at))
        if as_scripted and script.fault is not None:
            self._bank.count(f"chaos_callback_{script.fault}")
        deliveries = script.deliveries if as_scripted else _TRUTHFUL
        first_at_once = next((delivery for delivery in deliveries if delivery.delay_seconds == 0), None)
        for delivery in deliveries:
            self._post(delivery, occasion, then if delivery is first_at_once else None)
        if first_at_once is None and then is not None:
            then()

    def _post(self, delivery: Delivery, occasion: Occasion, then: Then | None = None) -> None:
        prompt = occasion.prompt
        body = compose(delivery.variant, occasion)
        url = guessed(prompt.callback_url) if delivery.to_wrong_address else prompt.callback_url
        parcel = Parcel(url, body, self._settings.shortcode, self._note_fate_of(prompt, then))
        delay = (
            self._settings.late_callback_seconds if delivery.delay_seconds is None else delivery.delay_seconds
        )
        if delay:
            self._timetable.at(
                occasion.outcome.at + timedelta(seconds=delay), lambda: self._courier.send(parcel)
            )
        elif prompt.script.callback_first:
            self._courier.send_and_wait(parcel)
        else:
            self._courier.send(parcel)

    def _note_fate_of(self, prompt: Prompt, then: Then | None) -> Callable[[str], None]:
        def note(fate: str) -> None:
            with self._bank.changed:
                prompt.deliveries.append(fate)
                self._bank.count(f"callbacks_{fate}")
            if then is not None:
                then()

        return note


def guessed(url: str) -> str:
    """Return the address with another last segment of the same length: the guess of one who does not know it."""
    head, slash, token = url.rstrip("/").rpartition("/")
    digits = hashlib.sha256(token.encode()).hexdigest()
    guess = (digits * (len(token) // len(digits) + 1))[: len(token)]
    return f"{head}{slash}{guess}" + "/" * url.endswith("/")

"""The simulated M-Pesa itself: prompts are opened and answered, money moves, callbacks are sent on their way."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from daraja.simulator.answers import refusal
from daraja.simulator.callbacks import Occasion, compose
from daraja.simulator.chaos import Chaos
from daraja.simulator.courier import Courier, Parcel
from daraja.simulator.identifiers import Identifiers
from daraja.simulator.messages import BUY_GOODS, PAYBILL, PushRequest
from daraja.simulator.outcomes import (
    NO_RESPONSE,
    OPERATOR_UNKNOWN,
    PAID,
    PRODUCT_MISMATCH,
    WAITS_FOR_A_PERSON,
    Letter,
    Script,
    code_script,
    script_for,
)
from daraja.simulator.prompts import Outcome, Prompt, PromptBook, PromptClosed
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.timetable import Timetable
from daraja.simulator.wallets import Wallets

if TYPE_CHECKING:
    from daraja.simulator.kenya_time import Clock

Found = TypeVar("Found", Prompt, Outcome)

_TRUTHFUL = (Letter(),)


class Network:
    """Holds all state in memory under one lock; every method is safe to call from any thread."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: "Clock",
        timetable: Timetable,
        courier: Courier,
        chaos: Chaos,
    ) -> None:
        self._settings = settings
        self._chaos = chaos
        self._clock = clock
        self._timetable = timetable
        self._courier = courier
        self._identifiers = Identifiers(settings.seed, clock())
        self._changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget every prompt, wallet and count; identifiers go on, so that none comes twice."""
        with self._changed:
            self._timetable.clear()
            self._book = PromptBook()
            self._wallets = Wallets(self._settings)
            self._counts: Counter[str] = Counter()
            self._unbegun: set[str] = set()

    def new_token(self) -> str:
        """Return a new access token."""
        with self._changed:
            self._counts["tokens"] += 1
            return self._identifiers.token()

    def new_request_id(self) -> str:
        """Return a fresh id in the form of a MerchantRequestID."""
        with self._changed:
            return self._identifiers.merchant_request_id()

    def count(self, what: str) -> None:
        """Count one more of something for the statistics."""
        with self._changed:
            self._counts[what] += 1

    def statistics(self) -> dict[str, int]:
        """Return how many of each thing happened since the start or the last reset."""
        with self._changed:
            return {**self._counts, "open_prompts": self._book.open_count}

    def submit(self, push: PushRequest) -> Prompt:
        """Open a prompt; raise Refusal where the phone shows one already or there is too much to do."""
        if self._courier.is_full or self._timetable.is_full:
            raise refusal("busy")
        script = self._script_of(push)
        with self._changed:
            self._book.check_free(push.phone)
            prompt = self._new_prompt(push, script)
            self._book.open(prompt)
            self._unbegun.add(prompt.checkout_request_id)
            self._counts["pushes_accepted"] += 1
            self._changed.notify_all()
        if script.callback_first and script.code is not None:
            self._answer_if_open(prompt, script.code)
        return prompt

    def begin(self, prompt: Prompt) -> None:
        """Let fixed outcomes and the clock take their course; called once the push has been answered."""
        try:
            if prompt.is_open:
                self._plan(prompt)
        finally:
            with self._changed:
                self._unbegun.discard(prompt.checkout_request_id)
                self._changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until every push is answered and every callback posted; return False where the time runs out."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            begun = self._changed.wait_for(lambda: not self._unbegun, timeout_seconds)
        return begun and self._courier.wait_until_idle(max(0, deadline - time.monotonic()))

    def told_to_queries(self, prompt: Prompt, outcome: Outcome) -> str:
        """Return the code that a query is told of a prompt that has ended; some scripts let it lie."""
        claimed = prompt.script.query_code
        if claimed is None or prompt.script.code != outcome.code:
            return outcome.code
        self.count("queries_contradicted")
        return claimed

    def answer(self, prompt: Prompt, code: str) -> Prompt:
        """End a prompt with a result code; PAID moves money if the wallet's rules allow. Raise PromptClosed."""
        with self._changed:
            if not prompt.is_open or prompt.checkout_request_id not in self._book:
                raise PromptClosed("This prompt was answered already, has run out, or was forgotten.")
            outcome = self._settle(prompt, code, self._clock())
            self._book.close(prompt, outcome)
            self._changed.notify_all()
        self._send_callbacks(prompt, outcome)
        return prompt

    def get(self, checkout_request_id: str) -> Prompt:
        """Return a prompt; raise UnknownPrompt."""
        with self._changed:
            return self._book.get(checkout_request_id)

    def prompts(self, phone: str | None, limit: int, open_only: bool) -> list[Prompt]:
        """Return open prompts, then closed ones, each newest first."""
        with self._changed:
            return self._book.newest(phone, limit, open_only)

    def wait_for(self, found: Callable[[], Found | None], timeout_seconds: float) -> Found:
        """Wait until something of a prompt is found; raise TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while (thing := found()) is None:
                if not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"No prompt came to that within {timeout_seconds} s.")
            return thing

    def balance(self, phone: str) -> int:
        """Return the wallet's balance in whole shillings."""
        with self._changed:
            return self._wallets.balance(phone)

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set the wallet's balance in whole shillings; raise ValueError below zero."""
        with self._changed:
            self._wallets.set_balance(phone, shillings)

    def _script_of(self, push: PushRequest) -> Script:
        """A push to the wrong kind of account is accepted and fails afterwards, whoever the payer is."""
        if push.transaction_type == PAYBILL and push.party_b != push.shortcode:
            return code_script(PRODUCT_MISMATCH)
        if push.transaction_type == BUY_GOODS and push.party_b == push.shortcode:
            return code_script(PRODUCT_MISMATCH)
        if push.transaction_type == BUY_GOODS and self._settings.till not in (None, push.party_b):
            return code_script(OPERATOR_UNKNOWN)
        script = script_for(push.phone)
        if script is WAITS_FOR_A_PERSON and self._chaos.is_on:
            return self._chaos.script_for(push.account_reference)
        return script

    def _new_prompt(self, push: PushRequest, script: Script) -> Prompt:
        now = self._clock()
        return Prompt(
            checkout_request_id=self._identifiers.checkout_request_id(push.phone, now, self._book),
            merchant_request_id=self._identifiers.merchant_request_id(),
            phone=push.phone,
            amount_shillings=push.amount_shillings,
            account_reference=push.account_reference,
            description=push.description,
            callback_url=push.callback_url,
            opened_at=now,
            expires_at=now + timedelta(seconds=self._settings.prompt_seconds),
            script=script,
        )

    def _plan(self, prompt: Prompt) -> None:
        self._forge_callbacks(prompt)
        code, wait = prompt.script.code, prompt.script.after_seconds
        if code is None and self._settings.auto_approve_seconds is not None:
            code, wait = PAID, self._settings.auto_approve_seconds
        if code is not None and wait == 0:
            self._answer_if_open(prompt, code)
            return
        if code is not None:
            self._plan_answer(prompt, code, prompt.opened_at + timedelta(seconds=wait))
        self._plan_answer(prompt, NO_RESPONSE, prompt.expires_at)

    def _plan_answer(self, prompt: Prompt, code: str, moment: datetime) -> None:
        self._timetable.at(moment, lambda: self._answer_if_open(prompt, code))

    def _answer_if_open(self, prompt: Prompt, code: str) -> None:
        try:
            self.answer(prompt, code)
        except PromptClosed:
            return  # a person was quicker, which is no news

    def _settle(self, prompt: Prompt, code: str, now: datetime) -> Outcome:
        if code == PAID:
            code = self._wallets.pay(prompt.phone, prompt.amount_shillings, now)
        receipt = self._identifiers.receipt(now) if code == PAID else None
        if receipt is not None:
            self._counts["shillings_received"] += prompt.amount_shillings
        self._counts[f"result_{code}"] += 1
        return Outcome(code, now, receipt, self._wallets.balance(prompt.phone))

    def _send_callbacks(self, prompt: Prompt, outcome: Outcome) -> None:
        as_scripted = prompt.script.code == outcome.code or prompt.script is WAITS_FOR_A_PERSON
        with self._changed:
            occasion = Occasion(prompt, outcome, self._identifiers.receipt(outcome.at))
            if as_scripted and prompt.script.fault is not None:
                self._counts[f"chaos_callback_{prompt.script.fault}"] += 1
        for letter in prompt.script.letters if as_scripted else _TRUTHFUL:
            self._post(letter, occasion)

    def _forge_callbacks(self, prompt: Prompt) -> None:
        """Post what somebody made up who has seen the ids and not the address; no money moves."""
        for letter in prompt.script.forgeries:
            with self._changed:
                now = self._clock()
                claimed = Outcome(PAID, now, None, self._wallets.balance(prompt.phone))
                occasion = Occasion(prompt, claimed, self._identifiers.receipt(now))
                self._counts["chaos_callback_forged"] += 1
            self._post(letter, occasion)

    def _post(self, letter: Letter, occasion: Occasion) -> None:
        prompt = occasion.prompt
        body = compose(letter.variant, occasion)
        url = _guessed(prompt.callback_url) if letter.to_wrong_address else prompt.callback_url
        parcel = Parcel(url, body, self._settings.shortcode, self._note_fate_of(prompt))
        delay = self._settings.late_callback_seconds if letter.delay_seconds is None else letter.delay_seconds
        if delay:
            self._timetable.at(
                occasion.outcome.at + timedelta(seconds=delay), lambda: self._courier.send(parcel)
            )
        elif prompt.script.callback_first:
            self._courier.send_and_wait(parcel)
        else:
            self._courier.send(parcel)

    def _note_fate_of(self, prompt: Prompt) -> Callable[[str], None]:
        def note(fate: str) -> None:
            with self._changed:
                prompt.deliveries.append(fate)
                self._counts[f"callbacks_{fate}"] += 1

        return note


def _guessed(url: str) -> str:
    """Return the address with another last segment of the same length: the guess of one who does not know it."""
    head, slash, token = url.rstrip("/").rpartition("/")
    digits = hashlib.sha256(token.encode()).hexdigest()
    guess = (digits * (len(token) // len(digits) + 1))[: len(token)]
    return f"{head}{slash}{guess}" + "/" * url.endswith("/")

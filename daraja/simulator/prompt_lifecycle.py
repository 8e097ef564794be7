"""How prompts live: opened by a push, ended by the payer, a script or the clock, then reported to the shop."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from daraja.simulator.answers import refusal
from daraja.simulator.books import PaymentChannel
from daraja.simulator.c2b_payments import C2b
from daraja.simulator.chaos import Chaos
from daraja.simulator.delivery_sender import DeliverySender
from daraja.simulator.gateway_requests import BUY_GOODS, PAYBILL, PushRequest
from daraja.simulator.mobile_money import MobileMoney, PaymentOrder
from daraja.simulator.outcomes import (
    ANSWERED_BY_HAND,
    NO_RESPONSE,
    PAID,
    PRODUCT_MISMATCH,
    RECEIVER_UNKNOWN,
    Script,
    code_script,
    script_for,
)
from daraja.simulator.prompt_records import outcome_record, prompt_record, read_outcome, read_prompt
from daraja.simulator.prompts import PromptBook, PromptClosed, PromptOutcome, StkPrompt
from daraja.simulator.scheduler import Scheduler
from daraja.simulator.state_file import Record, StateFileProblem

Awaited = TypeVar("Awaited", StkPrompt, PromptOutcome)

_RETRY_AFTER = timedelta(seconds=1)

_log = logging.getLogger(__name__)


class PromptLifecycle:
    """Holds the prompts, under the lock of the money; every method is safe to call from any thread."""

    def __init__(
        self,
        mobile_money: MobileMoney,
        scheduler: Scheduler,
        sender: DeliverySender,
        c2b: C2b,
        chaos: Chaos,
    ) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._scheduler = scheduler
        self._sender = sender
        self._c2b = c2b
        self._chaos = chaos
        self._changed = mobile_money.changed
        self.forget()
        readers = {"prompt": self._read_prompt, "ended": self._read_outcome}
        mobile_money.state_file.register(readers, self._snapshot)

    def forget(self) -> None:
        """Forget every prompt, and what was scheduled for it."""
        with self._changed:
            self._scheduler.clear()
            self._book = PromptBook()
            self._unanswered_pushes: set[str] = set()

    def resume(self) -> None:
        """Schedule the ends of prompts that the state file left open; their forgeries were posted before."""
        for prompt in self.prompts(None, self.open_count, open_only=True):
            self._schedule_end(prompt)

    @property
    def open_count(self) -> int:
        """How many phones show a prompt."""
        with self._changed:
            return self._book.open_count

    def submit(self, push: PushRequest) -> StkPrompt:
        """Open a prompt; raise GatewayRefusal if the phone shows one already or there is too much to do."""
        if self._sender.is_full:
            raise refusal("busy")
        script = self._script_of(push)
        with self._changed:
            self._book.check_free(push.phone)
            prompt = self._new_prompt(push, script)
            self._mobile_money.state_file.write(prompt_record(prompt))
            self._book.open(prompt)
            self._unanswered_pushes.add(prompt.checkout_request_id)
            self._mobile_money.count("pushes_accepted")
            self._changed.notify_all()
        if script.callback_first and script.code is not None:
            self._answer_if_open(prompt, script.code)
        return prompt

    def begin(self, prompt: StkPrompt) -> None:
        """Let the script and the clock end a prompt; called once its push has been answered."""
        try:
            if prompt.is_open:
                self._sender.post_forgeries(prompt)
                self._schedule_end(prompt)
        finally:
            with self._changed:
                self._unanswered_pushes.discard(prompt.checkout_request_id)
                self._changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until every push is answered and everything due is posted; return False if the time runs out."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            answered = self._changed.wait_for(
                lambda: not self._unanswered_pushes and not self._mobile_money.has_unfinished, timeout_seconds
            )
        return answered and self._sender.wait_until_idle(max(0, deadline - time.monotonic()))

    def code_for_queries(self, prompt: StkPrompt, outcome: PromptOutcome) -> str:
        """Return the code that a query gets for a prompt that has ended; some scripts contradict the truth."""
        contradiction = prompt.script.query_code
        if contradiction is None or prompt.script.code != outcome.code:
            return outcome.code
        self._mobile_money.count("queries_contradicted")
        return contradiction

    def age_seconds(self, prompt: StkPrompt) -> float:
        """Return how long ago a prompt was opened."""
        return (self._mobile_money.now() - prompt.opened_at).total_seconds()

    def answer(self, prompt: StkPrompt, code: str) -> StkPrompt:
        """End a prompt with a result code; PAID moves money if the wallet's rules allow.

        Raise PromptClosed, or StateFileProblem if the state file cannot be written: then nothing has happened.
        """
        with self._changed:
            if not prompt.is_open or prompt.checkout_request_id not in self._book:
                raise PromptClosed("This prompt was answered already, has run out, or was forgotten.")
            outcome = self._settle(prompt, code, self._mobile_money.now())
            self._book.close(prompt, outcome)
            self._changed.notify_all()
        self._report(prompt, outcome)
        return prompt

    def get(self, checkout_request_id: str) -> StkPrompt:
        """Return a prompt; raise UnknownPrompt."""
        with self._changed:
            return self._book.get(checkout_request_id)

    def prompts(self, phone: str | None, limit: int, open_only: bool) -> list[StkPrompt]:
        """Return open prompts, then closed ones, each newest first."""
        with self._changed:
            return self._book.newest(phone, limit, open_only)

    def wait_for(self, read: Callable[[], Awaited | None], timeout_seconds: float) -> Awaited:
        """Wait until `read` returns a prompt or an outcome; raise TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while (awaited := read()) is None:
                if not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"No prompt came to that within {timeout_seconds} s.")
            return awaited

    def _script_of(self, push: PushRequest) -> Script:
        """Return how the prompt will end; a push to the wrong kind of account is accepted and fails afterwards."""
        if push.transaction_type == PAYBILL and push.party_b != push.shortcode:
            return code_script(PRODUCT_MISMATCH)
        if push.transaction_type == BUY_GOODS and push.party_b == push.shortcode:
            return code_script(PRODUCT_MISMATCH)
        if push.transaction_type == BUY_GOODS and self._settings.till not in (None, push.party_b):
            return code_script(RECEIVER_UNKNOWN)
        script = script_for(push.phone)
        if script is ANSWERED_BY_HAND and self._chaos.is_on:
            return self._chaos.script_for(push.account_reference)
        return script

    def _new_prompt(self, push: PushRequest, script: Script) -> StkPrompt:
        now = self._mobile_money.now()
        identifiers = self._mobile_money.identifiers
        return StkPrompt(
            checkout_request_id=identifiers.checkout_request_id(push.phone, now, self._book),
            merchant_request_id=identifiers.merchant_request_id(),
            phone=push.phone,
            amount_shillings=push.amount_shillings,
            account_reference=push.account_reference,
            description=push.description,
            callback_url=push.callback_url,
            opened_at=now,
            expires_at=now + timedelta(seconds=self._settings.prompt_seconds),
            script=script,
            is_till=push.transaction_type == BUY_GOODS,
        )

    def _schedule_end(self, prompt: StkPrompt) -> None:
        code, wait = prompt.script.code, prompt.script.after_seconds
        if code is None and self._settings.auto_approve_seconds is not None:
            code, wait = PAID, self._settings.auto_approve_seconds
        if code is not None and wait == 0:
            self._answer_if_open(prompt, code)
            return
        if code is not None:
            self._schedule_answer(prompt, code, prompt.opened_at + timedelta(seconds=wait))
        self._schedule_answer(prompt, NO_RESPONSE, prompt.expires_at)

    def _schedule_answer(self, prompt: StkPrompt, code: str, moment: datetime) -> None:
        self._scheduler.at(moment, lambda: self._answer_if_open(prompt, code))

    def _answer_if_open(self, prompt: StkPrompt, code: str) -> None:
        try:
            self.answer(prompt, code)
        except PromptClosed:
            return  # the payer was quicker
        except StateFileProblem as problem:
            _log.warning("%s The prompt stays open; ending it is retried.", problem)
            self._schedule_answer(prompt, code, self._mobile_money.now() + _RETRY_AFTER)

    def _report(self, prompt: StkPrompt, outcome: PromptOutcome) -> None:
        """Post the callbacks, and the C2B confirmation before or after them if prompts are confirmed."""
        confirmation = self._c2b.prompt_confirmation if outcome.receipt is not None else "never"
        if confirmation == "never":
            self._sender.post_callbacks(prompt, outcome)
        elif confirmation == "before" and not prompt.script.callback_first:
            self._c2b.confirm(outcome.receipt, lambda: self._sender.post_callbacks(prompt, outcome))
        else:
            self._sender.post_callbacks(prompt, outcome, lambda: self._c2b.confirm(outcome.receipt))

    def _settle(self, prompt: StkPrompt, code: str, now: datetime) -> PromptOutcome:
        order = PaymentOrder(
            prompt.phone,
            prompt.amount_shillings,
            self._mobile_money.keep_reference(prompt.account_reference),
            prompt.is_till,
            PaymentChannel.PROMPT,
        )
        proposal = self._mobile_money.propose_payment(order, code, now)
        outcome = PromptOutcome(proposal.code, now, proposal.receipt, proposal.balance_shillings)
        self._mobile_money.commit(proposal, outcome_record(prompt, outcome))
        self._mobile_money.count(f"result_{outcome.code}")
        return outcome

    def _snapshot(self) -> Iterator[Record]:
        for prompt in self._book:
            yield prompt_record(prompt)
            if prompt.outcome is not None:
                yield outcome_record(prompt, prompt.outcome)

    def _read_prompt(self, read: Record) -> None:
        self._book.open(read_prompt(read))

    def _read_outcome(self, read: Record) -> None:
        checkout_request_id, outcome = read_outcome(read)
        self._book.close(self._book.get(checkout_request_id), outcome)

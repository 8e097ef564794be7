"""An in-memory double of M-Pesa: tokens, prompts, payments, callbacks; its own books are the truth of a run.

It speaks Daraja's wire format to the real client. It is smaller and faster than `daraja.simulator`, which serves people
and HTTP clients: a run has a millisecond for a whole session.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from daraja import eat
from tests.simulation.scheduler import Scheduler

TOKEN_LASTS = timedelta(seconds=3599)
PROMPT_SECONDS = 60.0
SAME_AMOUNT_AGAIN_AFTER = timedelta(minutes=2)
HOUR = 3_600.0

PAID, CANCELLED, NO_RESPONSE, WRONG_PIN, NO_FUNDS, RULE_LIMITED = "0", "1032", "1037", "2001", "1", "17"

Reply = tuple[int, Any]
Deliver = Callable[[str, bytes, float, Callable[[], None]], None]
"""(url, body, seconds, then): posts a body after some seconds; calls `then` if a process acknowledges it."""

UNAUTHENTICATED_URL = "https://shop.example/api/payments/transactions/mpesa_callback/"
"""The callback URL of the checkout contract, which has no token."""


@dataclass
class Prompt:
    """One prompt; `code` is its true result once it has ended, `receipt` that of its payment."""

    checkout_id: str
    merchant_id: str
    phone: str
    shillings: int
    reference: str
    callback_url: str
    opened_at: datetime
    random: Random
    code: str | None = None
    receipt: str | None = None
    ended_at: datetime | None = None
    is_contradicted: bool = False
    is_reported: bool = False
    """Whether a true callback was acknowledged."""


class MemoryMpesa:
    """Daraja and M-Pesa. `deliver` posts callbacks, `on_prompt` is the owner of the phone."""

    def __init__(self, scheduler: Scheduler, random: Random) -> None:
        self.prompts: dict[str, Prompt] = {}
        self.payments: list[Prompt] = []
        self.on_prompt: Callable[[Prompt], None] = _ignore_prompt
        self.deliver: Deliver = lambda *_: None
        self.on_payment: Callable[[Prompt], None] = _ignore_prompt
        self.outage: tuple[float, float] = (0.0, 0.0)
        self._scheduler = scheduler
        self._random = random
        self._token: str | None = None
        self._token_ends = scheduler.now()
        self._open: dict[str, Prompt] = {}
        self._paid: dict[tuple[str, int], datetime] = {}
        self._counted = 0

    def is_out(self) -> bool:
        """Whether M-Pesa is down now."""
        since, until = self.outage
        return since <= self._scheduler.elapsed < until

    def token(self) -> Reply:
        """Issue a token, which voids the one before."""
        self._token = f"token{self.count()}"
        self._token_ends = self._scheduler.now() + TOKEN_LASTS
        return 200, {"access_token": self._token, "expires_in": "3599"}

    def void_token(self) -> None:
        """Void the token, as when another client with our key gets one."""
        self._token = None

    def accepts(self, authorization: str) -> bool:
        """Whether this is the bearer of the valid token."""
        is_valid = self._token is not None and self._scheduler.now() < self._token_ends
        return is_valid and authorization == f"Bearer {self._token}"

    def push(self, request: dict[str, Any], random: Random) -> Reply:
        """Open a prompt, unless the phone shows one."""
        phone = request["PhoneNumber"]
        if phone in self._open:
            return 500, _error(
                "500.001.1001", "Unable to lock subscriber, a transaction is already in process"
            )
        number = self.count()
        prompt = Prompt(
            checkout_id=f"ws_CO_{number:018d}{phone[3:]}",
            merchant_id=f"29115-34620561-{number}",
            phone=phone,
            shillings=request["Amount"],
            reference=request["AccountReference"],
            callback_url=request["CallBackURL"],
            opened_at=self._scheduler.now(),
            random=random,
        )
        self.prompts[prompt.checkout_id] = self._open[phone] = prompt
        self._scheduler.note("prompt", number, prompt.reference)
        self._scheduler.call_later(PROMPT_SECONDS, lambda: self.end(prompt, NO_RESPONSE))
        self.on_prompt(prompt)
        return 200, {
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResponseCode": "0",
            "ResponseDescription": "Success. Request accepted for processing",
            "CustomerMessage": "Success. Request accepted for processing",
        }

    def query(self, request: dict[str, Any]) -> Reply:
        """Answer a status query."""
        prompt = self.prompts.get(request["CheckoutRequestID"])
        if prompt is None:
            return 500, _error("500.001.1001", "The transaction does not Exist")
        if prompt.code is None:
            if self._random.random() < 0.5:
                return 500, _error("500.001.1001", "The transaction is being processed")
            return 200, self._query_result(prompt, "4999")
        return 200, self._query_result(prompt, CANCELLED if prompt.is_contradicted else prompt.code)

    def end(self, prompt: Prompt, code: str) -> None:
        """End an open prompt: book the payment if it is paid, and send the callback."""
        if prompt.code is not None:
            return
        now = self._scheduler.now()
        last_paid = self._paid.get((prompt.phone, prompt.shillings))
        if code == PAID and last_paid is not None and now - last_paid < SAME_AMOUNT_AGAIN_AFTER:
            code = RULE_LIMITED
        prompt.code, prompt.ended_at = code, now
        del self._open[prompt.phone]
        if code == PAID:
            self._paid[prompt.phone, prompt.shillings] = now
            prompt.receipt = f"UKG{self.count():05d}QX"
            self.payments.append(prompt)
        self._scheduler.note("ended", prompt.reference, code, prompt.receipt)
        self._report(prompt)

    def _report(self, prompt: Prompt) -> None:
        odds, random, scheduler = self._scheduler.odds, prompt.random, self._scheduler
        if random.random() < odds.callback_forged:
            scheduler.count_fault("forged callback", prompt.reference)
            forged = self.body(prompt, PAID, f"FORGED{self.count():04d}")
            self.deliver(UNAUTHENTICATED_URL, forged, random.uniform(0.2, 3.0), _ignore)
        if prompt.code == PAID and random.random() < odds.c2b_notified:
            self.on_payment(prompt)
        if random.random() < odds.callback_lost:
            scheduler.count_fault("callback lost", prompt.reference)
        elif random.random() < odds.callback_truncated:
            scheduler.count_fault("callback truncated", prompt.reference)
            body = self.body(prompt, prompt.code or PAID, prompt.receipt)
            self.deliver(prompt.callback_url, body[: len(body) // 2], self._delay(prompt), _ignore)
        else:
            self._send_true_callback(prompt, self._delay(prompt))

    def _delay(self, prompt: Prompt) -> float:
        odds, random = self._scheduler.odds, prompt.random
        if random.random() < odds.callback_hours_late:
            self._scheduler.count_fault("callback hours late", prompt.reference)
            return random.uniform(0.1, 4.0) * HOUR
        return (
            random.uniform(10.0, 600.0) if random.random() < odds.callback_slow else random.uniform(0.2, 3.0)
        )

    def _send_true_callback(self, prompt: Prompt, delay: float) -> None:
        random, body = prompt.random, self.body(prompt, prompt.code or PAID, prompt.receipt)
        if prompt.code == PAID:
            self._contradict_payment(prompt, delay)
        for _ in range(1 + (random.random() < self._scheduler.odds.callback_duplicated)):
            self.deliver(prompt.callback_url, body, delay, lambda: setattr(prompt, "is_reported", True))
            delay += random.choice((0.0, 0.001, 1.0, 30.0))

    def _contradict_payment(self, prompt: Prompt, delay: float) -> None:
        """Draw whether a query or a second callback calls this payment failed."""
        odds, random = self._scheduler.odds, prompt.random
        if random.random() < odds.query_contradicts:
            self._scheduler.count_fault("query contradicts", prompt.reference)
            prompt.is_contradicted = True
        if random.random() < odds.callback_contradicted:
            self._scheduler.count_fault("callback contradicted", prompt.reference)
            self.deliver(
                prompt.callback_url,
                self.body(prompt, CANCELLED),
                delay + random.uniform(-0.2, 6.0),
                _ignore,
            )

    def body(self, prompt: Prompt, code: str, receipt: str | None = None) -> bytes:
        """Write a callback."""
        callback: dict[str, Any] = {
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResultCode": int(code),
            "ResultDesc": "as simulated",
        }
        if code == PAID:
            values = {
                "Amount": float(prompt.shillings),
                "MpesaReceiptNumber": receipt,
                "TransactionDate": int(eat.timestamp(prompt.ended_at or prompt.opened_at)),
                "PhoneNumber": int(prompt.phone),
            }
            callback["CallbackMetadata"] = {"Item": [{"Name": n, "Value": v} for n, v in values.items()]}
        return json.dumps({"Body": {"stkCallback": callback}}).encode()

    def _query_result(self, prompt: Prompt, code: str) -> dict[str, Any]:
        return {
            "ResponseCode": "0",
            "ResponseDescription": "The service request has been accepted successfully",
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResultCode": code,
            "ResultDesc": "as simulated",
        }

    def count(self) -> int:
        """Return the next number of M-Pesa's one counter."""
        self._counted += 1
        return self._counted


def _ignore() -> None:
    pass


def _ignore_prompt(_: Prompt) -> None:
    pass


def _error(code: str, message: str) -> dict[str, str]:
    return {"requestId": "1-2-3", "errorCode": code, "errorMessage": message}

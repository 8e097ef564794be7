"""M-Pesa made of memory: tokens, prompts, money that moves, callbacks; and the truth about all of it.

It speaks Daraja's wire format to the real client, and is a smaller model than `daraja.simulator`, which serves people
and HTTP clients: a run asks it a thousand times, and has a millisecond for a whole session.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from daraja import eat
from tests.simulation.world import World

TOKEN_LASTS = timedelta(seconds=3599)
PROMPT_SECONDS = 60.0
SAME_AMOUNT_AGAIN_AFTER = timedelta(minutes=2)
HOUR = 3_600.0

PAID, CANCELLED, NO_RESPONSE, WRONG_PIN, NO_FUNDS, RULE_LIMITED = "0", "1032", "1037", "2001", "1", "17"
ENDINGS = {
    "pay": PAID,
    "cancel": CANCELLED,
    "ignore": NO_RESPONSE,
    "wrong_pin": WRONG_PIN,
    "no_funds": NO_FUNDS,
}

Reply = tuple[int, Any]
Post = Callable[[str, bytes, float, Callable[[], None]], None]
"""Posts a body to an address after some seconds, and calls back where somebody alive took it."""

UNAUTHENTICATED = "https://shop.example/api/payments/transactions/mpesa_callback/"
"""The contract's callback URL, which authenticates nothing."""


@dataclass
class Prompt:
    """One prompt; `code` is its true ending once there is one, `receipt` that of the money it moved."""

    checkout_id: str
    merchant_id: str
    phone: str
    shillings: int
    reference: str
    callback_url: str
    opened_at: datetime
    chance: Random
    code: str | None = None
    receipt: str | None = None
    ended_at: datetime | None = None
    lies: bool = False
    is_told: bool = False
    """Whether a truthful callback reached a process of ours that lived."""


class Mpesa:
    """The vendor. `post(url, body, seconds, then)` posts after a while; `on_prompt` is the phone's owner."""

    def __init__(self, world: World, chance: Random) -> None:
        self.prompts: dict[str, Prompt] = {}
        self.payments: list[Prompt] = []
        self.on_prompt: Callable[[Prompt], None] = _nothing_of
        self.post: Post = lambda *_: None
        self.on_payment: Callable[[Prompt], None] = _nothing_of
        self.outage: tuple[float, float] = (0.0, 0.0)
        self._world = world
        self._chance = chance
        self._token: str | None = None
        self._token_ends = world.now()
        self._open: dict[str, Prompt] = {}
        self._paid: dict[tuple[str, int], datetime] = {}
        self._counted = 0

    def is_out(self) -> bool:
        """Whether it cannot be reached now."""
        since, until = self.outage
        return since <= self._world.elapsed < until

    def token(self) -> Reply:
        """Issue a token; the one before is void from now on."""
        self._token = f"token{self.count()}"
        self._token_ends = self._world.now() + TOKEN_LASTS
        return 200, {"access_token": self._token, "expires_in": "3599"}

    def void_token(self) -> None:
        """Let no token be valid, as when a stranger with our key asks for one."""
        self._token = None

    def accepts(self, authorization: str) -> bool:
        """Whether this is the bearer of the valid token."""
        is_valid = self._token is not None and self._world.now() < self._token_ends
        return is_valid and authorization == f"Bearer {self._token}"

    def push(self, request: dict[str, Any], chance: Random) -> Reply:
        """Open a prompt on a phone that shows none."""
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
            opened_at=self._world.now(),
            chance=chance,
        )
        self.prompts[prompt.checkout_id] = self._open[phone] = prompt
        self._world.note("prompt", number, prompt.reference)
        self._world.later(PROMPT_SECONDS, lambda: self.end(prompt, NO_RESPONSE))
        self.on_prompt(prompt)
        return 200, {
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResponseCode": "0",
            "ResponseDescription": "Success. Request accepted for processing",
            "CustomerMessage": "Success. Request accepted for processing",
        }

    def query(self, request: dict[str, Any]) -> Reply:
        """Say what became of a prompt."""
        prompt = self.prompts.get(request["CheckoutRequestID"])
        if prompt is None:
            return 500, _error("500.001.1001", "The transaction does not Exist")
        if prompt.code is None:
            if self._chance.random() < 0.5:
                return 500, _error("500.001.1001", "The transaction is being processed")
            return 200, self._verdict(prompt, "4999")
        return 200, self._verdict(prompt, CANCELLED if prompt.lies else prompt.code)

    def end(self, prompt: Prompt, code: str) -> None:
        """End an open prompt, move the money where it is paid, and tell."""
        if prompt.code is not None:
            return
        now = self._world.now()
        if code == PAID and now - self._paid.get(
            (prompt.phone, prompt.shillings), now - timedelta(days=1)
        ) < (SAME_AMOUNT_AGAIN_AFTER):
            code = RULE_LIMITED
        prompt.code, prompt.ended_at = code, now
        del self._open[prompt.phone]
        if code == PAID:
            self._paid[prompt.phone, prompt.shillings] = now
            prompt.receipt = f"UKG{self.count():05d}QX"
            self.payments.append(prompt)
        self._world.note("ended", prompt.reference, code, prompt.receipt)
        self._tell(prompt)

    def _tell(self, prompt: Prompt) -> None:
        odds, random_source, world = self._world.odds, prompt.chance, self._world
        if random_source.random() < odds.callback_forged:
            world.meet("forged", prompt.reference)
            forged = self.body(prompt, PAID, f"FORGED{self.count():04d}")
            self.post(UNAUTHENTICATED, forged, random_source.uniform(0.2, 3.0), _nothing)
        if prompt.code == PAID and random_source.random() < odds.c2b_told:
            self.on_payment(prompt)
        if random_source.random() < odds.callback_lost:
            world.meet("callback lost", prompt.reference)
        elif random_source.random() < odds.callback_maimed:
            world.meet("callback maimed", prompt.reference)
            body = self.body(prompt, prompt.code or PAID, prompt.receipt)
            self.post(prompt.callback_url, body[: len(body) // 2], self._delay(prompt), _nothing)
        else:
            self._tell_truly(prompt, self._delay(prompt))

    def _delay(self, prompt: Prompt) -> float:
        odds, random_source = self._world.odds, prompt.chance
        if random_source.random() < odds.callback_hours_late:
            self._world.meet("callback hours late", prompt.reference)
            return random_source.uniform(0.1, 4.0) * HOUR
        return (
            random_source.uniform(10.0, 600.0)
            if random_source.random() < odds.callback_slow
            else random_source.uniform(0.2, 3.0)
        )

    def _tell_truly(self, prompt: Prompt, delay: float) -> None:
        random_source, body = prompt.chance, self.body(prompt, prompt.code or PAID, prompt.receipt)
        if prompt.code == PAID:
            self._record_discrepancy(prompt, delay)
        for _ in range(1 + (random_source.random() < self._world.odds.callback_doubled)):
            self.post(prompt.callback_url, body, delay, lambda: setattr(prompt, "is_told", True))
            delay += random_source.choice((0.0, 0.001, 1.0, 30.0))

    def _record_discrepancy(self, prompt: Prompt, delay: float) -> None:
        """Let some source report a failure of a payment whose true callback is on its way."""
        odds, random_source = self._world.odds, prompt.chance
        if random_source.random() < odds.query_lies:
            self._world.meet("query lies", prompt.reference)
            prompt.lies = True
        if random_source.random() < odds.callback_contradicted:
            self._world.meet("callback contradicted", prompt.reference)
            self.post(
                prompt.callback_url,
                self.body(prompt, CANCELLED),
                delay + random_source.uniform(-0.2, 6.0),
                _nothing,
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

    def _verdict(self, prompt: Prompt, code: str) -> dict[str, Any]:
        return {
            "ResponseCode": "0",
            "ResponseDescription": "The service request has been accepted successfully",
            "MerchantRequestID": prompt.merchant_id,
            "CheckoutRequestID": prompt.checkout_id,
            "ResultCode": code,
            "ResultDesc": "as simulated",
        }

    def count(self) -> int:
        """Return the next number of whatever M-Pesa counts."""
        self._counted += 1
        return self._counted


def _nothing() -> None:
    pass


def _nothing_of(_: Prompt) -> None:
    pass


def _error(code: str, message: str) -> dict[str, str]:
    return {"requestId": "1-2-3", "errorCode": code, "errorMessage": message}

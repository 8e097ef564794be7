"""Every way to claim, without paying, that a payment was made."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from payments.inbox.callback_tokens import Sign, make_token

CALLBACKS = "/api/payments/callbacks/"
CONTRACT_CALLBACK = "/api/payments/transactions/mpesa_callback/"
RECEIPT_PREFIX = "FORGED"
_TOKEN_DIGITS = 68
_SIGNATURE_DIGITS = 32
_RECEIPT_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


@dataclass(frozen=True)
class Target:
    """A prompted session, as far as an attacker may know it: its buyer sees all but the token."""

    session_id: str
    checkout_request_id: str
    shillings: int
    phone: str


@dataclass(frozen=True)
class Forgery:
    """One forged request."""

    kind: str
    path: str
    body: bytes


class Forger:
    """Draws forgeries. `sign` is our own, used only for a token that leaked from another session."""

    def __init__(self, random_source: Random, sign: Sign) -> None:
        self._random = random_source
        self._sign = sign
        self.kinds: dict[str, Callable[[Target, Target], tuple[str, bytes]]] = {
            "no token": lambda unpaid, _: (CALLBACKS, self._success(unpaid)),
            "no token, the contract's URL": lambda unpaid, _: (CONTRACT_CALLBACK, self._success(unpaid)),
            "a guessed token": lambda unpaid, _: (self._address(self._digits()), self._success(unpaid)),
            "a guessed token, the contract's URL": lambda unpaid, _: (
                f"{CONTRACT_CALLBACK}{self._digits()}/",
                self._success(unpaid),
            ),
            "the right session, a guessed signature": self._guess_signature,
            "the token of another session": self._use_another_token,
            "a true callback again, with another receipt": self._replay_with_another_receipt,
            "a true callback again, with another amount": self._replay_with_another_amount,
            "ids of another session": lambda unpaid, paid: (CALLBACKS, self._success(unpaid, pays_for=paid)),
            "unknown ids": lambda unpaid, _: (CALLBACKS, self._success(self._unknown_ids(unpaid))),
            "a C2B confirmation": self._confirm_c2b,
            "a reversal's result": lambda _, __: (
                f"/api/payments/results/{self._digits()}00ff/",
                self._json({"Result": {"ResultCode": 0, "TransactionID": self._receipt()}}),
            ),
            "junk": lambda _, __: (CALLBACKS, self._random.randbytes(self._random.randint(0, 4_000))),
        }

    def make(self, unpaid: Target, paid: Target) -> Forgery:
        """Return a forgery that claims a payment of an unpaid session, or another one of a paid session."""
        kind = self._random.choice(list(self.kinds))
        return Forgery(kind, *self.kinds[kind](unpaid, paid))

    def _guess_signature(self, unpaid: Target, _: Target) -> tuple[str, bytes]:
        token = make_token(self._sign, UUID(unpaid.session_id), 1)
        return self._address(token[:-_SIGNATURE_DIGITS] + self._digits(_SIGNATURE_DIGITS)), self._success(
            unpaid
        )

    def _use_another_token(self, unpaid: Target, paid: Target) -> tuple[str, bytes]:
        token = make_token(self._sign, UUID(paid.session_id), 1)
        return self._address(token), self._success(unpaid)

    def _replay_with_another_receipt(self, _: Target, paid: Target) -> tuple[str, bytes]:
        return self._random.choice((CALLBACKS, CONTRACT_CALLBACK)), self._success(paid)

    def _replay_with_another_amount(self, _: Target, paid: Target) -> tuple[str, bytes]:
        return CALLBACKS, self._success(paid, shillings=self._random.randint(1, 250_000))

    def _confirm_c2b(self, unpaid: Target, _: Target) -> tuple[str, bytes]:
        values = {
            "TransactionType": "Pay Bill",
            "TransID": self._receipt(),
            "TransTime": "20261116103000",
            "TransAmount": f"{unpaid.shillings}.00",
            "BusinessShortCode": "174379",
            "BillRefNumber": f"D{self._random.randint(1, 10_000)}",
            "MSISDN": unpaid.phone,
        }
        return f"/api/payments/c2b/{self._digits()}/confirmation/", self._json(values)

    def _success(
        self, target: Target, *, pays_for: Target | None = None, shillings: int | None = None
    ) -> bytes:
        named = pays_for or target
        items = {
            "Amount": float(target.shillings if shillings is None else shillings),
            "MpesaReceiptNumber": self._receipt(),
            "TransactionDate": 20261116103000,
            "PhoneNumber": int(target.phone),
        }
        callback = {
            "MerchantRequestID": f"{self._random.randint(1, 99_999)}-{self._random.randint(1, 99_999_999)}-1",
            "CheckoutRequestID": named.checkout_request_id,
            "ResultCode": 0,
            "ResultDesc": "The service request is processed successfully.",
            "CallbackMetadata": {"Item": [{"Name": name, "Value": value} for name, value in items.items()]},
        }
        return self._json({"Body": {"stkCallback": callback}})

    def _unknown_ids(self, like: Target) -> Target:
        checkout_id = f"ws_CO_16112026{self._random.randint(10**11, 10**12)}"
        return Target(like.session_id, checkout_id, like.shillings, like.phone)

    def _receipt(self) -> str:
        return RECEIPT_PREFIX + "".join(self._random.choices(_RECEIPT_LETTERS, k=6))

    def _digits(self, count: int = _TOKEN_DIGITS) -> str:
        return f"{self._random.getrandbits(4 * count):0{count}x}"

    def _address(self, token: str) -> str:
        return f"{CALLBACKS}{token}/"

    def _json(self, values: dict[str, Any]) -> bytes:
        return json.dumps(values).encode()

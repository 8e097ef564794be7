"""C2B: payments made by hand to the shortcode, and the notices that the shop has registered for."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, get_args

from daraja.simulator.books import Booking
from daraja.simulator.delivery_sender import DeliverySender, ResultDelivery, Then, nothing
from daraja.simulator.kenya_time import compact_stamp
from daraja.simulator.mobile_money import MobileMoney, PaymentOrder
from daraja.simulator.outcomes import PAID
from daraja.simulator.state_file import Record, record

PromptConfirmation = Literal["never", "before", "after"]
PROMPT_CONFIRMATIONS: tuple[PromptConfirmation, ...] = get_args(PromptConfirmation)

REJECTED = "C2B00016"
"""The code of a payment that was not validated, if the registration says Cancelled."""

_VALIDATION_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Registration:
    """Where to post. `when_silent`, `Completed` or `Cancelled`, is what happens if a validation gets no answer.

    `version` is that of the API: by 1 notices carry the payer's number hashed, by 2 masked.
    """

    confirmation_url: str = field(repr=False)
    validation_url: str = field(repr=False)
    when_silent: str
    version: int = 2


@dataclass(frozen=True, slots=True)
class HandPayment:
    """How a payment by hand ended; `receipt` is None if no money moved. `reference` is what M-Pesa kept of it."""

    code: str
    receipt: str | None
    balance_shillings: int
    reference: str


class C2b:
    """Takes payments by hand, and validates and confirms payments with the shop. Safe to use from any thread."""

    def __init__(self, mobile_money: MobileMoney, sender: DeliverySender) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._sender = sender
        self.registration: Registration | None = None
        self._prompt_confirmation: PromptConfirmation = self._settings.c2b_for_prompts
        readers = {
            "c2b": self._read_registration,
            "c2b_deleted": self._read_deletion,
            "c2b_order": self._read_prompt_confirmation,
        }
        mobile_money.state_file.register(readers, self._snapshot)

    @property
    def prompt_confirmation(self) -> PromptConfirmation:
        """Whether C2B confirms payments by prompt as well, and before or after their callback."""
        return self._prompt_confirmation if self.registration is not None else "never"

    def confirm_prompts(self, prompt_confirmation: PromptConfirmation) -> None:
        """Choose whether, and when, C2B confirms payments by prompt."""
        with self._mobile_money.changed:
            self._mobile_money.state_file.write(_prompt_confirmation_record(prompt_confirmation))
            self._prompt_confirmation = prompt_confirmation

    def register(self, registration: Registration) -> None:
        """Post to these addresses from now on."""
        with self._mobile_money.changed:
            self._mobile_money.state_file.write(_registration_record(registration))
            self.registration = registration

    def unregister(self) -> None:
        """Post nothing from now on, as after the addresses were deleted in the portal."""
        with self._mobile_money.changed:
            self._mobile_money.state_file.write(record("c2b_deleted"))
            self.registration = None

    def forget(self) -> None:
        """Forget the registration, as at the start."""
        self.registration = None
        self._prompt_confirmation = self._settings.c2b_for_prompts

    def pay(self, order: PaymentOrder) -> HandPayment:
        """Let a payer pay by hand: validated by the shop if it has registered, then moved, then confirmed.

        Blocks for as long as the shop takes to validate, at most eight seconds. The code is M-Pesa's result code, or
        the C2B code with which the shop refused.
        """
        order = replace(order, reference=self._mobile_money.keep_reference(order.reference))
        with self._mobile_money.changed:
            receipt = self._mobile_money.identifiers.receipt(self._mobile_money.now())
        refusal = self._validate(order, receipt)
        with self._mobile_money.changed:
            code = refusal or PAID
            proposal = self._mobile_money.propose_payment(order, code, self._mobile_money.now(), receipt)
            self._mobile_money.commit(proposal)
        self._mobile_money.count(f"by_hand_{proposal.code}")
        if proposal.receipt is not None:
            self.confirm(proposal.receipt)
        return HandPayment(proposal.code, proposal.receipt, proposal.balance_shillings, order.reference)

    def confirm(self, receipt: str | None, then: Then = nothing) -> None:
        """Post the confirmation of a payment; `then` runs once it is delivered, or will not be soon."""
        with self._mobile_money.changed:
            booking = self._mobile_money.books.find(receipt or "")
        if self.registration is None or booking is None:
            then()
            return
        notice = self._notice(self.registration, booking, f"{booking.balance_cents / 100:.2f}")
        url = self.registration.confirmation_url
        self._sender.post_result(ResultDelivery("confirmation", booking.reference, url, notice), then)

    def _validate(self, order: PaymentOrder, receipt: str) -> str | None:
        """Return the code with which the shop refuses, or None."""
        if self.registration is None or not self._settings.c2b_validates:
            return None
        with self._mobile_money.changed:
            proposal = self._mobile_money.propose_payment(order, PAID, self._mobile_money.now(), receipt)
        if not proposal.bookings:
            return None  # M-Pesa itself will refuse, and does not ask the shop.
        body = self._notice(self.registration, proposal.bookings[0], "")
        status, answer = self._sender.ask(self.registration.validation_url, body, _VALIDATION_SECONDS)
        self._mobile_money.count(f"validations_{status}")
        code = _code_of(answer) if status == "200" else None
        if code is None:
            return REJECTED if self.registration.when_silent == "Cancelled" else None
        return None if code == PAID else code

    def _notice(self, registration: Registration, payment: Booking, balance: str) -> bytes:
        """Write the object that validation and confirmation post: every value is text."""
        form = self._settings.c2b_msisdn or ("hashed" if registration.version == 1 else "masked")
        return json.dumps(
            {
                "TransactionType": "Buy Goods" if payment.is_till else "Pay Bill",
                "TransID": payment.receipt,
                "TransTime": compact_stamp(payment.at),
                "TransAmount": f"{payment.shillings}.00",
                "BusinessShortCode": self._settings.shortcode,
                "BillRefNumber": payment.reference,
                "InvoiceNumber": "",
                "OrgAccountBalance": balance,
                "ThirdPartyTransID": "",
                "MSISDN": _MSISDN[form](payment),
                "FirstName": payment.first_name,
                "MiddleName": "",
                "LastName": "",
            }
        ).encode()

    def _snapshot(self) -> Iterator[Record]:
        yield _prompt_confirmation_record(self._prompt_confirmation)
        if self.registration is not None:
            yield _registration_record(self.registration)

    def _read_registration(self, read: Record) -> None:
        self.registration = Registration(**read)

    def _read_deletion(self, _: Record) -> None:
        self.registration = None

    def _read_prompt_confirmation(self, read: Record) -> None:
        self._prompt_confirmation = read["order"]


def _hashed_phone(payment: Booking) -> str:
    return hashlib.sha256(payment.phone.encode()).hexdigest()


_MSISDN: dict[str, Callable[[Booking], str]] = {
    "plain": lambda payment: payment.phone,
    "masked": lambda payment: payment.masked_phone,
    "hashed": _hashed_phone,
}


def _code_of(answer: bytes) -> str | None:
    """Return the ResultCode of an answer to a validation, None if it holds none."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    code = document.get("ResultCode") if isinstance(document, dict) else None
    return str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None


def _registration_record(registration: Registration) -> Record:
    return record("c2b", **asdict(registration))


def _prompt_confirmation_record(prompt_confirmation: PromptConfirmation) -> Record:
    return record("c2b_order", order=prompt_confirmation)

"""C2B: payments made by hand to the shortcode, and where the shop wants to hear of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from daraja.simulator.books import Booking
from daraja.simulator.callback_dispatcher import CallbackDispatcher, QueuedDelivery
from daraja.simulator.kenya_time import SimulatedClock, compact_stamp
from daraja.simulator.mobile_money import MobileMoney, PaymentOrder, Proposal
from daraja.simulator.outcomes import PAID
from daraja.simulator.result_sender import ResultDelivery, ResultSender
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import Record, StateFile, record

PromptConfirmation = Literal["never", "before", "after"]
PROMPT_CONFIRMATIONS: tuple[PromptConfirmation, ...] = get_args(PromptConfirmation)

REJECTED = "C2B00016"
"""What a payer is told of a payment that nobody validated where silence cancels it."""

_VALIDATION_SECONDS = 8.0
_FIRST_NAMES = ("JANE", "JOHN", "MARY", "PETER", "GRACE", "JAMES", "ANN", "PAUL")

Then = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Registration:
    """Where to post. `when_silent` is `Completed` or `Cancelled`: what happens where a validation gets no answer."""

    confirmation_url: str = field(repr=False)
    validation_url: str = field(repr=False)
    when_silent: str


@dataclass(frozen=True, slots=True)
class HandPayment:
    """How a payment by hand ended; `receipt` is None where no money moved."""

    code: str
    receipt: str | None
    balance_shillings: int


class C2b:
    """Takes payments by hand and gives notice of payments. Safe to use from any thread."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: SimulatedClock,
        mobile_money: MobileMoney,
        callback_dispatcher: CallbackDispatcher,
        result_sender: ResultSender,
        state_file: StateFile,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._mobile_money = mobile_money
        self._callback_dispatcher = callback_dispatcher
        self._result_sender = result_sender
        self.registration: Registration | None = None
        self._order: PromptConfirmation = settings.c2b_for_prompts
        readers = {
            "c2b": self._read_registration,
            "c2b_deleted": self._read_deletion,
            "c2b_order": self._read_order,
        }
        state_file.register(readers, self._snapshot)

    @property
    def prompt_confirmation(self) -> PromptConfirmation:
        """Whether payments by prompt are confirmed by C2B as well, and before or after their callback."""
        return self._order if self.registration is not None else "never"

    def confirm_prompts(self, order: PromptConfirmation) -> None:
        """Choose it."""
        with self._mobile_money.changed:
            self._mobile_money.note(_prompt_confirmation_record(order))
            self._order = order

    def register(self, registration: Registration) -> None:
        """Post to these addresses from now on."""
        with self._mobile_money.changed:
            self._mobile_money.note(_registration_record(registration))
            self.registration = registration

    def unregister(self) -> None:
        """Post nowhere, as after the addresses were deleted in the portal."""
        with self._mobile_money.changed:
            self._mobile_money.note(record("c2b_deleted"))
            self.registration = None

    def forget(self) -> None:
        """Begin anew."""
        self.registration = None
        self._order = self._settings.c2b_for_prompts

    def pay(self, order: PaymentOrder) -> HandPayment:
        """Let a payer pay by hand: validated by the shop, if it is asked, then moved, then confirmed.

        Blocks for as long as the shop takes to validate, at most eight seconds. The code is M-Pesa's result code, or
        the C2B code with which the shop refused.
        """
        with self._mobile_money.changed:
            receipt = self._mobile_money.identifiers.receipt(self._clock.now())
        refusal = self._validate(order, receipt)
        with self._mobile_money.changed:
            code = refusal or PAID
            proposal = self._mobile_money.propose_payment(order, code, self._clock.now(), receipt)
            self._mobile_money.commit(proposal)
        self._mobile_money.count(f"by_hand_{proposal.code}")
        if proposal.receipt is not None:
            self.confirm(proposal.receipt)
        return _ended(proposal)

    def confirm(self, receipt: str | None, then: Then | None = None) -> None:
        """Give notice of a payment that was made; `then` runs once the notice is delivered, or will not be soon."""
        with self._mobile_money.changed:
            booking = self._mobile_money.books.find(receipt or "")
        if self.registration is None or booking is None:
            if then is not None:
                then()
            return
        notice = _notice(self._settings.shortcode, booking, f"{booking.balance_cents / 100:.2f}")
        delivery = ResultDelivery(
            "confirmation", booking.reference, self.registration.confirmation_url, notice
        )
        self._result_sender.post(
            delivery, self._result_sender.delivery_fault_of("confirmation", booking.reference), then
        )

    def _validate(self, order: PaymentOrder, receipt: str) -> str | None:
        """Return the code with which the shop refuses, or None."""
        if self.registration is None or not self._settings.c2b_validates:
            return None
        with self._mobile_money.changed:
            proposal = self._mobile_money.propose_payment(order, PAID, self._clock.now(), receipt)
        if not proposal.bookings:
            return None  # M-Pesa itself will refuse, and asks nobody.
        body = _notice(self._settings.shortcode, proposal.bookings[0], "")
        queued = QueuedDelivery(
            self.registration.validation_url, body, self._settings.shortcode, lambda _: None
        )
        delivery_fault, answered = self._callback_dispatcher.ask(queued, _VALIDATION_SECONDS)
        self._mobile_money.count(f"validations_{delivery_fault}")
        code = _code_of(answered) if delivery_fault == "200" else None
        if code is None:
            return REJECTED if self.registration.when_silent == "Cancelled" else None
        return None if code == PAID else code

    def _snapshot(self) -> Iterator[Record]:
        yield _prompt_confirmation_record(self._order)
        if self.registration is not None:
            yield _registration_record(self.registration)

    def _read_registration(self, read: Record) -> None:
        self.registration = Registration(**read)

    def _read_deletion(self, _: Record) -> None:
        self.registration = None

    def _read_order(self, read: Record) -> None:
        self._order = read["order"]


def masked(phone: str) -> str:
    """Return a number as C2B v2 shows it: `2547 ***** 126`."""
    return f"{phone[:4]} ***** {phone[-3:]}"


def first_name(phone: str) -> str:
    """Return the name that this simulation gives the owner of a number."""
    return _FIRST_NAMES[int(phone[-4:]) % len(_FIRST_NAMES)]


def _notice(shortcode: str, payment: Booking, balance: str) -> bytes:
    """Write the object that validation and confirmation post: every value is text."""
    return json.dumps(
        {
            "TransactionType": "Buy Goods" if payment.is_till else "Pay Bill",
            "TransID": payment.receipt,
            "TransTime": compact_stamp(payment.at),
            "TransAmount": f"{payment.shillings}.00",
            "BusinessShortCode": shortcode,
            "BillRefNumber": payment.reference,
            "InvoiceNumber": "",
            "OrgAccountBalance": balance,
            "ThirdPartyTransID": "",
            "MSISDN": masked(payment.phone),
            "FirstName": first_name(payment.phone),
            "MiddleName": "",
            "LastName": "",
        }
    ).encode()


def _code_of(answered: bytes) -> str | None:
    """Return the ResultCode of an answer to a validation, None where it holds none."""
    try:
        document = json.loads(answered)
    except (ValueError, RecursionError):
        return None
    code = document.get("ResultCode") if isinstance(document, dict) else None
    return str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None


def _ended(proposal: Proposal) -> HandPayment:
    return HandPayment(proposal.code, proposal.receipt, proposal.balance_shillings)


def _registration_record(registration: Registration) -> Record:
    return record("c2b", **asdict(registration))


def _prompt_confirmation_record(order: PromptConfirmation) -> Record:
    return record("c2b_order", order=order)

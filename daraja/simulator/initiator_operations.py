"""What the organisation's operator may ask for: to give a payment back, and how a transaction ended."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from daraja.simulator.answers import refusal
from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.initiator_requests import InitiatorRequest, ReversalRequest, StatusRequest
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.outcomes import PAID
from daraja.simulator.result_bodies import (
    Ended,
    failed_result,
    reversal_result,
    status_result,
    timeout_notice,
)
from daraja.simulator.result_sender import ResultDelivery, ResultSender
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import Record, StateFile, record

RECEIPT_UNKNOWN = "2032"
_MAX_OPERATIONS = 50_000


@dataclass(frozen=True, slots=True)
class RequestedReversal:
    """A reversal that was asked for and how it ended; `reversal_receipt` is None where no money moved."""

    conversation: Conversation
    original_receipt: str
    shillings: int
    code: str
    reversal_receipt: str | None
    at: datetime


class InitiatorOperations:
    """Takes requests, decides on them at once, and tells the result later. Safe to use from any thread."""

    def __init__(
        self,
        settings: SimulatorSettings,
        clock: SimulatedClock,
        mobile_money: MobileMoney,
        desk: InitiatorKeys,
        result_sender: ResultSender,
        state_file: StateFile,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._mobile_money = mobile_money
        self._desk = desk
        self._result_sender = result_sender
        self._operations: OrderedDict[str, RequestedReversal] = OrderedDict()
        state_file.register({"operation": self._read_operation}, self._snapshot)

    def forget(self) -> None:
        """Forget what was asked for."""
        self._operations.clear()

    def reverse(self, asked: ReversalRequest) -> Conversation:
        """Give a payment back where that can be done, and return the ids by which the result will be known.

        The money moves now, the result is told later. Raise GatewayRefusal where there is too much to do, and
        StateFileProblem where it could not be kept.
        """
        self._require_room()
        objection = self._desk.objection_to(asked.initiator, asked.credential)
        with self._mobile_money.changed:
            now = self._clock.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            proposal = self._mobile_money.propose_reversal(asked.receipt, asked.shillings, now)
            if objection is not None:
                proposal = replace(proposal, code=objection, bookings=())
            operation = RequestedReversal(
                conversation, asked.receipt, asked.shillings, proposal.code, proposal.receipt, now
            )
            self._mobile_money.commit(proposal, _reversal_record(operation))
            self._keep(operation)
        self._mobile_money.count(f"reversal_{proposal.code}")
        if proposal.code == PAID:
            body = reversal_result(self._settings, conversation, asked.receipt, proposal.bookings[0])
        else:
            body = failed_result(conversation, proposal.code, now)
        self._tell(asked, asked.receipt, conversation, body, now)
        return conversation

    def look_up(self, asked: StatusRequest) -> Conversation:
        """Find how a transaction ended; return as `reverse` does. Raise GatewayRefusal where there is too much to do."""
        self._require_room()
        objection = self._desk.objection_to(asked.initiator, asked.credential)
        with self._mobile_money.changed:
            now = self._clock.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            ended = None if objection else self._find(asked)
        if ended is None:
            body = failed_result(conversation, objection or RECEIPT_UNKNOWN, now)
        else:
            body = status_result(self._settings, conversation, ended, now)
        self._mobile_money.count(f"status_{objection or (RECEIPT_UNKNOWN if ended is None else PAID)}")
        self._tell(asked, asked.receipt or asked.original_conversation_id, conversation, body, now)
        return conversation

    def _require_room(self) -> None:
        if self._result_sender.is_full:
            raise refusal("busy")

    def _find(self, asked: StatusRequest) -> Ended | None:
        operation = self._operations.get(asked.original_conversation_id)
        if operation is not None and operation.reversal_receipt is None:
            return Ended("Declined", operation.shillings, operation.at, None)
        receipt = operation.reversal_receipt if operation is not None else asked.receipt
        booking = self._mobile_money.books.find(receipt or "")
        if booking is None:
            return None
        return Ended(self._status_of(booking), booking.shillings, booking.at, booking)

    def _status_of(self, booking: Booking) -> str:
        """Say of a payment that was given back that it was reversed; what M-Pesa says then is not recorded."""
        was_reversed = booking.kind == BookingKind.PAYMENT and self._mobile_money.books.reversal_of(
            booking.receipt
        )
        return "Reversed" if was_reversed else "Completed"

    def _tell(
        self, asked: InitiatorRequest, name: str, conversation: Conversation, body: bytes, now: datetime
    ) -> None:
        """Send the result on its way; it comes after the acknowledgement unless its fate is to come before."""
        with self._mobile_money.changed:
            payment = self._mobile_money.books.find(name)
        delivery = ResultDelivery(
            "result",
            payment.reference if payment else name,
            asked.result_url,
            body,
            delay_seconds=self._settings.result_seconds,
            timeout_url=asked.timeout_url,
            timeout_body=timeout_notice(conversation, now),
        )
        self._result_sender.post(
            delivery, self._result_sender.delivery_fault_of(delivery.what, delivery.reference)
        )

    def _keep(self, operation: RequestedReversal) -> None:
        for name in (operation.conversation.id, operation.conversation.originator_id):
            self._operations[name] = operation
        while len(self._operations) > _MAX_OPERATIONS:
            self._operations.popitem(last=False)

    def _snapshot(self) -> Iterator[Record]:
        for name, operation in self._operations.items():
            if name == operation.conversation.id:
                yield _reversal_record(operation)

    def _read_operation(self, read: Record) -> None:
        conversation = Conversation(**read.pop("conversation"))
        at = datetime.fromisoformat(read.pop("at"))
        self._keep(RequestedReversal(conversation=conversation, at=at, **read))


def _reversal_record(operation: RequestedReversal) -> Record:
    return record("operation", **(asdict(operation) | {"at": operation.at.isoformat()}))

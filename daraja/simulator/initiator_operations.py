"""What the organisation's initiator asks for: a reversal, and the status of a transaction; what was asked is kept."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from daraja.simulator.answers import refusal
from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.delivery_sender import DeliverySender, ResultDelivery
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.initiator_requests import InitiatorRequest, ReversalRequest, StatusRequest
from daraja.simulator.mobile_money import MobileMoney, Proposal
from daraja.simulator.outcomes import PAID
from daraja.simulator.result_bodies import (
    Ended,
    failed_result,
    reversal_result,
    status_result,
    timeout_notice,
)
from daraja.simulator.state_file import Record, record

RECEIPT_UNKNOWN = "2032"
_MAX_IDS = 50_000
"""Of requests that could move money, two for each; an id that is forgotten could pay out again."""


@dataclass(frozen=True, slots=True)
class RequestedOperation:
    """A requested reversal or payout and how it ended; `receipt` is None if no money moved."""

    conversation: Conversation
    kind: BookingKind
    shillings: int
    code: str
    receipt: str | None
    at: datetime


class InitiatorOperations:
    """Takes requests, decides on them at once, and posts the result later. Safe to use from any thread."""

    def __init__(
        self, mobile_money: MobileMoney, initiator_keys: InitiatorKeys, sender: DeliverySender
    ) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._initiator_keys = initiator_keys
        self._sender = sender
        self._kept: OrderedDict[str, RequestedOperation] = OrderedDict()
        mobile_money.state_file.register({"operation": self._read_operation}, self._snapshot)

    def forget(self) -> None:
        """Forget every requested operation."""
        self._kept.clear()

    def reverse(self, request: ReversalRequest) -> Conversation:
        """Reverse a payment if that can be done, and return the ids that its result will bear.

        The money moves now, the result is posted later. Raise GatewayRefusal if there is too much to do, and
        StateFileProblem if the state file cannot be written.
        """
        objection = self.begin(request)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            proposal = self._mobile_money.propose_reversal(request.receipt, request.shillings, now)
            if objection is not None:
                proposal = replace(proposal, code=objection, bookings=())
            self.commit(
                proposal,
                RequestedOperation(
                    conversation,
                    BookingKind.REVERSAL,
                    request.shillings,
                    proposal.code,
                    proposal.receipt,
                    now,
                ),
            )
        self._mobile_money.count(f"reversal_{proposal.code}")
        if proposal.code == PAID:
            body = reversal_result(self._settings, conversation, request.receipt, proposal.bookings[0])
        else:
            body = failed_result(conversation, proposal.code, now)
        self.post_result(request, request.receipt, conversation, body, now)
        return conversation

    def look_up(self, request: StatusRequest) -> Conversation:
        """Look up how a transaction ended; return the ids of its result. Raise GatewayRefusal if too much is queued."""
        objection = self.begin(request)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            ended = None if objection else self._find_ended(request)
        if ended is None:
            body = failed_result(conversation, objection or RECEIPT_UNKNOWN, now)
        else:
            body = status_result(self._settings, conversation, ended, now)
        self._mobile_money.count(f"status_{objection or (RECEIPT_UNKNOWN if ended is None else PAID)}")
        self.post_result(
            request, request.receipt or request.original_conversation_id, conversation, body, now
        )
        return conversation

    def begin(self, request: InitiatorRequest) -> str | None:
        """Return the result code with which the initiator is refused, or None. Raise GatewayRefusal if it is busy."""
        if self._sender.is_full:
            raise refusal("busy")
        return self._initiator_keys.objection_to(request.initiator, request.credential)

    def find(self, name: str) -> RequestedOperation | None:
        """Return the operation with this id, its conversation's or its originator's. The caller holds the lock."""
        return self._kept.get(name)

    def commit(self, proposal: Proposal, operation: RequestedOperation) -> None:
        """Move the money and keep the operation, together or not at all. The caller holds the lock."""
        self._mobile_money.commit(proposal, _operation_record(operation))
        self._keep(operation)

    def _find_ended(self, request: StatusRequest) -> Ended | None:
        operation = self.find(request.original_conversation_id)
        if operation is not None and operation.receipt is None:
            return Ended(operation.kind, "Declined", operation.shillings, operation.at, None)
        receipt = operation.receipt if operation is not None else request.receipt
        booking = self._mobile_money.books.find(receipt or "")
        if booking is None:
            return None
        return Ended(booking.kind, self._status_of(booking), booking.shillings, booking.at, booking)

    def _status_of(self, booking: Booking) -> str:
        """Say `Reversed` of a payment that was reversed; what M-Pesa says then is not recorded."""
        was_reversed = booking.kind == BookingKind.PAYMENT and self._mobile_money.books.reversal_of(
            booking.receipt
        )
        return "Reversed" if was_reversed else "Completed"

    def post_result(
        self, request: InitiatorRequest, name: str, conversation: Conversation, body: bytes, now: datetime
    ) -> None:
        """Post a result when it is due. Chaos draws from the reference of the payment that `name` names, or from it."""
        with self._mobile_money.changed:
            payment = self._mobile_money.books.find(name)
        delivery = ResultDelivery(
            "result",
            payment.reference if payment else name,
            request.result_url,
            body,
            delay_seconds=self._settings.result_seconds,
            timeout_url=request.timeout_url,
            timeout_body=timeout_notice(conversation, now),
        )
        self._sender.post_result(delivery)

    def _keep(self, operation: RequestedOperation) -> None:
        for name in (operation.conversation.id, operation.conversation.originator_id):
            self._kept[name] = operation
        while len(self._kept) > _MAX_IDS:
            self._kept.popitem(last=False)

    def _snapshot(self) -> Iterator[Record]:
        for name, operation in self._kept.items():
            if name == operation.conversation.id:
                yield _operation_record(operation)

    def _read_operation(self, read: Record) -> None:
        # A file of the time when only reversals were kept names no kind.
        kind = BookingKind(read.get("kind", BookingKind.REVERSAL))
        receipt = read["receipt"] if "kind" in read else read["reversal_receipt"]
        conversation = Conversation(**read["conversation"])
        at = datetime.fromisoformat(read["at"])
        self._keep(RequestedOperation(conversation, kind, read["shillings"], read["code"], receipt, at))


def _operation_record(operation: RequestedOperation) -> Record:
    return record("operation", **(asdict(operation) | {"at": operation.at.isoformat()}))

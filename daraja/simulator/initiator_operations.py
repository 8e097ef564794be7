"""What the organisation's initiator may ask for: a reversal, and the status of a transaction."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from daraja.simulator.answers import refusal
from daraja.simulator.books import Booking, BookingKind
from daraja.simulator.delivery_sender import DeliverySender, ResultDelivery
from daraja.simulator.gateway_requests import InitiatorRequest, ReversalRequest, StatusRequest
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.mobile_money import MobileMoney
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
_MAX_REVERSALS = 50_000


@dataclass(frozen=True, slots=True)
class RequestedReversal:
    """A requested reversal and how it ended; `reversal_receipt` is None if no money moved."""

    conversation: Conversation
    original_receipt: str
    shillings: int
    code: str
    reversal_receipt: str | None
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
        self._reversals: OrderedDict[str, RequestedReversal] = OrderedDict()
        mobile_money.state_file.register({"operation": self._read_reversal}, self._snapshot)

    def forget(self) -> None:
        """Forget every requested reversal."""
        self._reversals.clear()

    def reverse(self, request: ReversalRequest) -> Conversation:
        """Reverse a payment if that can be done, and return the ids that its result will bear.

        The money moves now, the result is posted later. Raise GatewayRefusal if there is too much to do, and
        StateFileProblem if the state file cannot be written.
        """
        self._require_room()
        objection = self._initiator_keys.objection_to(request.initiator, request.credential)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            proposal = self._mobile_money.propose_reversal(request.receipt, request.shillings, now)
            if objection is not None:
                proposal = replace(proposal, code=objection, bookings=())
            reversal = RequestedReversal(
                conversation, request.receipt, request.shillings, proposal.code, proposal.receipt, now
            )
            self._mobile_money.commit(proposal, _reversal_record(reversal))
            self._keep(reversal)
        self._mobile_money.count(f"reversal_{proposal.code}")
        if proposal.code == PAID:
            body = reversal_result(self._settings, conversation, request.receipt, proposal.bookings[0])
        else:
            body = failed_result(conversation, proposal.code, now)
        self._post_result(request, request.receipt, conversation, body, now)
        return conversation

    def look_up(self, request: StatusRequest) -> Conversation:
        """Look up how a transaction ended; return the ids of its result. Raise GatewayRefusal if too much is queued."""
        self._require_room()
        objection = self._initiator_keys.objection_to(request.initiator, request.credential)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            ended = None if objection else self._find(request)
        if ended is None:
            body = failed_result(conversation, objection or RECEIPT_UNKNOWN, now)
        else:
            body = status_result(self._settings, conversation, ended, now)
        self._mobile_money.count(f"status_{objection or (RECEIPT_UNKNOWN if ended is None else PAID)}")
        self._post_result(
            request, request.receipt or request.original_conversation_id, conversation, body, now
        )
        return conversation

    def _require_room(self) -> None:
        if self._sender.is_full:
            raise refusal("busy")

    def _find(self, request: StatusRequest) -> Ended | None:
        reversal = self._reversals.get(request.original_conversation_id)
        if reversal is not None and reversal.reversal_receipt is None:
            return Ended("Declined", reversal.shillings, reversal.at, None)
        receipt = reversal.reversal_receipt if reversal is not None else request.receipt
        booking = self._mobile_money.books.find(receipt or "")
        if booking is None:
            return None
        return Ended(self._status_of(booking), booking.shillings, booking.at, booking)

    def _status_of(self, booking: Booking) -> str:
        """Say `Reversed` of a payment that was reversed; what M-Pesa says then is not recorded."""
        was_reversed = booking.kind == BookingKind.PAYMENT and self._mobile_money.books.reversal_of(
            booking.receipt
        )
        return "Reversed" if was_reversed else "Completed"

    def _post_result(
        self, request: InitiatorRequest, name: str, conversation: Conversation, body: bytes, now: datetime
    ) -> None:
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

    def _keep(self, reversal: RequestedReversal) -> None:
        for name in (reversal.conversation.id, reversal.conversation.originator_id):
            self._reversals[name] = reversal
        while len(self._reversals) > _MAX_REVERSALS:
            self._reversals.popitem(last=False)

    def _snapshot(self) -> Iterator[Record]:
        for name, reversal in self._reversals.items():
            if name == reversal.conversation.id:
                yield _reversal_record(reversal)

    def _read_reversal(self, read: Record) -> None:
        conversation = Conversation(**read.pop("conversation"))
        at = datetime.fromisoformat(read.pop("at"))
        self._keep(RequestedReversal(conversation=conversation, at=at, **read))


def _reversal_record(reversal: RequestedReversal) -> Record:
    return record("operation", **(asdict(reversal) | {"at": reversal.at.isoformat()}))

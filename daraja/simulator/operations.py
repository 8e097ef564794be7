"""What the organisation's operator may ask for: to give a payment back, and how a transaction ended."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from daraja.simulator.answers import refusal
from daraja.simulator.books import Kind, Movement
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_keys import InitiatorKeys
from daraja.simulator.journal import Fact, Journal, fact
from daraja.simulator.kenya_time import Watch
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.operation_messages import OperatorRequest, ReversalRequest, StatusRequest
from daraja.simulator.outcomes import PAID
from daraja.simulator.result_sender import ResultDelivery, ResultSender
from daraja.simulator.results import (
    Ended,
    failed_result,
    reversal_result,
    status_result,
    timeout_notice,
)
from daraja.simulator.settings import SimulatorSettings

RECEIPT_UNKNOWN = "2032"
_MAX_OPERATIONS = 50_000


@dataclass(frozen=True, slots=True)
class Operation:
    """A reversal that was asked for and how it ended; `reversal_receipt` is None where no money moved."""

    conversation: Conversation
    original_receipt: str
    shillings: int
    code: str
    reversal_receipt: str | None
    at: datetime


class Operations:
    """Takes requests, decides on them at once, and tells the result later. Safe to use from any thread."""

    def __init__(
        self,
        settings: SimulatorSettings,
        watch: Watch,
        mobile_money: MobileMoney,
        desk: InitiatorKeys,
        result_sender: ResultSender,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._mobile_money = mobile_money
        self._desk = desk
        self._result_sender = result_sender
        self._operations: OrderedDict[str, Operation] = OrderedDict()
        journal.register({"operation": self._read_operation}, self._snapshot)

    def forget(self) -> None:
        """Forget what was asked for."""
        self._operations.clear()

    def reverse(self, asked: ReversalRequest) -> Conversation:
        """Give a payment back where that can be done, and return the ids by which the result will be known.

        The money moves now, the result is told later. Raise Refusal where there is too much to do, and
        StateFileProblem where it could not be kept.
        """
        self._require_room()
        objection = self._desk.objection_to(asked.initiator, asked.credential)
        with self._mobile_money.changed:
            now = self._watch.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            proposal = self._mobile_money.propose_reversal(asked.receipt, asked.shillings, now)
            if objection is not None:
                proposal = replace(proposal, code=objection, movements=())
            operation = Operation(
                conversation, asked.receipt, asked.shillings, proposal.code, proposal.receipt, now
            )
            self._mobile_money.commit(proposal, _operation_fact(operation))
            self._keep(operation)
        self._mobile_money.count(f"reversal_{proposal.code}")
        if proposal.code == PAID:
            body = reversal_result(self._settings, conversation, asked.receipt, proposal.movements[0])
        else:
            body = failed_result(conversation, proposal.code, now)
        self._tell(asked, asked.receipt, conversation, body, now)
        return conversation

    def look_up(self, asked: StatusRequest) -> Conversation:
        """Find how a transaction ended; return as `reverse` does. Raise Refusal where there is too much to do."""
        self._require_room()
        objection = self._desk.objection_to(asked.initiator, asked.credential)
        with self._mobile_money.changed:
            now = self._watch.now()
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
        movement = self._mobile_money.books.find(receipt or "")
        if movement is None:
            return None
        return Ended(self._status_of(movement), movement.shillings, movement.at, movement)

    def _status_of(self, movement: Movement) -> str:
        """Say of a payment that was given back that it was reversed; what M-Pesa says then is not recorded."""
        was_reversed = movement.kind == Kind.PAYMENT and self._mobile_money.books.reversal_of(
            movement.receipt
        )
        return "Reversed" if was_reversed else "Completed"

    def _tell(
        self, asked: OperatorRequest, name: str, conversation: Conversation, body: bytes, now: datetime
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

    def _keep(self, operation: Operation) -> None:
        for name in (operation.conversation.id, operation.conversation.originator_id):
            self._operations[name] = operation
        while len(self._operations) > _MAX_OPERATIONS:
            self._operations.popitem(last=False)

    def _snapshot(self) -> Iterator[Fact]:
        for name, operation in self._operations.items():
            if name == operation.conversation.id:
                yield _operation_fact(operation)

    def _read_operation(self, read: Fact) -> None:
        conversation = Conversation(**read.pop("conversation"))
        at = datetime.fromisoformat(read.pop("at"))
        self._keep(Operation(conversation=conversation, at=at, **read))


def _operation_fact(operation: Operation) -> Fact:
    return fact("operation", **(asdict(operation) | {"at": operation.at.isoformat()}))

"""The organisation's utility account: payouts from it to phones (B2C), and its balance."""

from dataclasses import replace

from daraja.simulator.answers import refusal
from daraja.simulator.books import BookingKind
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_operations import InitiatorOperations, RequestedOperation
from daraja.simulator.initiator_requests import InitiatorRequest, PayoutRequest
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.outcomes import PAID
from daraja.simulator.result_bodies import balance_result, failed_result, payout_result


class UtilityAccount:
    """Takes requests, decides on them at once, and posts the result later. Safe to use from any thread."""

    def __init__(self, mobile_money: MobileMoney, operations: InitiatorOperations) -> None:
        self._settings = mobile_money.settings
        self._mobile_money = mobile_money
        self._operations = operations

    def pay_out(self, request: PayoutRequest) -> Conversation:
        """Pay to a phone if that can be done, and return the ids that the result will bear.

        The money moves now, the result is posted later. Raise GatewayRefusal if the caller's id was used before or
        there is too much to do, and StateFileProblem if the state file cannot be written.
        """
        objection = self._operations.begin(request)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            if request.originator_id:
                if self._operations.find(request.originator_id) is not None:
                    raise refusal("duplicate-originator-id")
                conversation = replace(conversation, originator_id=request.originator_id)
            proposal = self._mobile_money.propose_payout(request.phone, request.shillings, now)
            if objection is not None:
                proposal = replace(proposal, code=objection, bookings=())
            self._operations.commit(
                proposal,
                RequestedOperation(
                    conversation, BookingKind.PAYOUT, request.shillings, proposal.code, proposal.receipt, now
                ),
            )
        self._mobile_money.count(f"b2c_{proposal.code}")
        if proposal.code == PAID:
            body = payout_result(self._settings, conversation, proposal.bookings[0])
        else:
            body = failed_result(conversation, proposal.code, now)
        self._operations.post_result(request, conversation.originator_id, conversation, body, now)
        return conversation

    def tell_balance(self, request: InitiatorRequest) -> Conversation:
        """Post what the account holds; return the ids of the result. Raise GatewayRefusal if too much is queued."""
        objection = self._operations.begin(request)
        with self._mobile_money.changed:
            now = self._mobile_money.now()
            conversation = self._mobile_money.identifiers.conversation(now)
            balance_cents = self._mobile_money.books.balance_cents
        if objection is None:
            body = balance_result(self._settings, conversation, balance_cents, now)
        else:
            body = failed_result(conversation, objection, now)
        self._mobile_money.count(f"balance_{objection or PAID}")
        self._operations.post_result(request, "-", conversation, body, now)
        return conversation

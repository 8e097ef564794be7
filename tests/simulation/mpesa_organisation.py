"""What M-Pesa does for the organisation: money back, the status of a transaction, the list of payments, C2B notices."""

import json
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from daraja import eat
from daraja.initiator import REVERSAL_PATH
from tests.simulation.mpesa import Mpesa, Prompt, Reply
from tests.simulation.world import World

SHORTCODE = "174379"
DONE, ALREADY_REVERSED, NO_FUNDS, NO_SUCH_RECEIPT = 0, "R000001", 1, 2032


@dataclass
class Reversal:
    """One request to give a payment back that reached M-Pesa; `code` is its result once there is one."""

    conversation_id: str
    payment: Prompt
    code: int | str | None = None
    receipt: str | None = None


class Till:
    """The organisation's account at M-Pesa: who paid what into it, and what went back."""

    def __init__(self, world: World, mpesa: Mpesa) -> None:
        self.reversals: list[Reversal] = []
        self.confirmation_url = ""
        self._world = world
        self._mpesa = mpesa
        mpesa.on_payment = self.confirm

    def returned(self, receipt: str | None) -> Reversal | None:
        """Return the reversal that gave a payment back, if there is one."""
        of_payment = (each for each in self.reversals if each.payment.receipt == receipt)
        return next((reversal for reversal in of_payment if reversal.code == DONE), None)

    def take(self, path: str, asked: dict[str, Any], chance: Random) -> Reply:
        """Take a request of an operator; its result is posted later."""
        conversation_id = f"AG_20261116_{self._mpesa.count():020d}"
        if path.endswith(REVERSAL_PATH):
            self._reverse(asked, conversation_id, chance)
        else:
            self._tell_status(asked, conversation_id, chance)
        return 200, {
            "OriginatorConversationID": f"8423-{conversation_id}",
            "ConversationID": conversation_id,
            "ResponseCode": "0",
            "ResponseDescription": "Accept the service request successfully.",
        }

    def list_payments(self, asked: dict[str, Any]) -> Reply:
        """Return a page of the payments of a period: all that there are on the first page."""
        start, end = (eat.parse_transaction_date(asked[name]) for name in ("StartDate", "EndDate"))
        rows = [
            {
                "transactionId": payment.receipt,
                "trxDate": eat.with_dashes(payment.ended_at),
                "msisdn": int(payment.phone),
                "transactiontype": "c2b-pay-bill-debit",
                "billreference": payment.reference,
                "amount": f"{payment.shillings}.00",
            }
            for payment in self._mpesa.payments
            if payment.ended_at and start <= payment.ended_at <= end + timedelta(seconds=1)
        ]
        rows = rows[int(asked["OffSetValue"]) :]
        return 200, {"ResponseRefID": "1", "ResponseCode": "1000" if rows else "1001", "Response": [rows]}

    def confirm(self, payment: Prompt) -> None:
        """Report a payment by C2B too, once or twice, before or after its callback."""
        self._world.meet("reported by c2b", payment.reference)
        body = json.dumps(
            {
                "TransactionType": "Pay Bill",
                "TransID": payment.receipt,
                "TransTime": eat.timestamp(payment.ended_at or payment.opened_at),
                "TransAmount": f"{payment.shillings}.00",
                "BusinessShortCode": SHORTCODE,
                "BillRefNumber": payment.reference,
                "MSISDN": "2547 ***** 126",
            }
        ).encode()
        for _ in range(1 + (payment.chance.random() < 0.1)):
            self._mpesa.post(self.confirmation_url, body, payment.chance.uniform(0.1, 20.0), _nothing)

    def _reverse(self, asked: dict[str, Any], conversation_id: str, chance: Random) -> None:
        paid = next(p for p in self._mpesa.payments if p.receipt == asked["TransactionID"])
        reversal = Reversal(conversation_id, paid)
        self.reversals.append(reversal)
        self._world.note("reversal asked for", paid.receipt, conversation_id)

        def execute() -> None:
            if self.returned(paid.receipt):
                reversal.code = ALREADY_REVERSED
            elif chance.random() < self._world.odds.reversal_fails:
                reversal.code = NO_FUNDS
            else:
                reversal.code, reversal.receipt = DONE, f"UKR{self._mpesa.count():05d}QX"
            self._world.note("reversal", paid.receipt, reversal.code)
            self._tell_result(asked, reversal, chance)

        self._world.later(chance.uniform(1.0, 100.0), execute)

    def _tell_result(self, asked: dict[str, Any], reversal: Reversal, chance: Random) -> None:
        odds = self._world.odds
        if chance.random() < odds.reversal_result_lost:
            self._world.meet("reversal result lost", reversal.payment.receipt)
            if chance.random() < 0.5:
                self._mpesa.post(asked["QueueTimeOutURL"], b"{}", 1.0, _nothing)
            return
        parameters = {"OriginalTransactionID": reversal.payment.receipt}
        if reversal.code == DONE:
            parameters["Amount"] = f"{reversal.payment.shillings}.00"
        body = _result(reversal.conversation_id, reversal.code, reversal.receipt, parameters)
        for _ in range(1 + (chance.random() < odds.callback_doubled)):
            self._mpesa.post(asked["ResultURL"], body, chance.uniform(0.1, 30.0), _nothing)

    def _tell_status(self, asked: dict[str, Any], conversation_id: str, chance: Random) -> None:
        if chance.random() < self._world.odds.reversal_result_lost:
            return
        code, parameters = self._status_of(asked)
        body = _result(conversation_id, code, None, parameters)
        self._mpesa.post(asked["ResultURL"], body, chance.uniform(0.1, 30.0), _nothing)

    def _status_of(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        by_id = asked.get("OriginalConversationID")
        if by_id:
            sent = next((each for each in self.reversals if each.conversation_id == by_id), None)
            if sent is None or sent.receipt is None:
                return NO_SUCH_RECEIPT, {}
            return DONE, _status(sent.receipt, sent.payment.shillings, "Completed")
        receipt = asked["TransactionID"]
        payment = next((paid for paid in self._mpesa.payments if paid.receipt == receipt), None)
        if payment is None:
            return NO_SUCH_RECEIPT, {}
        return DONE, _status(
            receipt, payment.shillings, "Reversed" if self.returned(receipt) else "Completed"
        )


def _status(receipt: str, shillings: int, word: str) -> dict[str, Any]:
    return {"ReceiptNo": receipt, "Amount": f"{shillings}.00", "TransactionStatus": word}


def _result(
    conversation_id: str, code: int | str | None, receipt: str | None, parameters: dict[str, Any]
) -> bytes:
    return json.dumps(
        {
            "Result": {
                "ResultType": 0,
                "ResultCode": code,
                "ResultDesc": "as simulated",
                "OriginatorConversationID": f"8423-{conversation_id}",
                "ConversationID": conversation_id,
                "TransactionID": receipt or "UKG0000000",
                "ResultParameters": {
                    "ResultParameter": [{"Key": key, "Value": value} for key, value in parameters.items()]
                },
            }
        }
    ).encode()


def _nothing() -> None:
    pass

"""The organisation's side of the M-Pesa double: reversals, transaction status, Pull, C2B notices."""

import json
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from daraja import eat
from daraja.initiator import REVERSAL_PATH
from tests.simulation.memory_mpesa import MemoryMpesa, Prompt, Reply
from tests.simulation.scheduler import Scheduler

SHORTCODE = "174379"
DONE, ALREADY_REVERSED, NO_FUNDS, NO_SUCH_RECEIPT = 0, "R000001", 1, 2032


@dataclass
class Reversal:
    """One reversal request that reached M-Pesa; `code` is its result once there is one."""

    conversation_id: str
    payment: Prompt
    code: int | str | None = None
    receipt: str | None = None


class MpesaOrganisation:
    """The organisation's account at M-Pesa: payments received, and reversals."""

    def __init__(self, scheduler: Scheduler, mpesa: MemoryMpesa) -> None:
        self.reversals: list[Reversal] = []
        self.confirmation_url = ""
        self._scheduler = scheduler
        self._mpesa = mpesa
        mpesa.on_payment = self.send_c2b

    def reversal_of(self, receipt: str | None) -> Reversal | None:
        """Return the completed reversal of a receipt, if there is one."""
        of_payment = (each for each in self.reversals if each.payment.receipt == receipt)
        return next((reversal for reversal in of_payment if reversal.code == DONE), None)

    def accept(self, path: str, asked: dict[str, Any], random: Random) -> Reply:
        """Accept a request of the initiator; its result is posted later."""
        conversation_id = f"AG_20261116_{self._mpesa.count():020d}"
        if path.endswith(REVERSAL_PATH):
            self._reverse(asked, conversation_id, random)
        else:
            self._send_status(asked, conversation_id, random)
        return 200, {
            "OriginatorConversationID": f"8423-{conversation_id}",
            "ConversationID": conversation_id,
            "ResponseCode": "0",
            "ResponseDescription": "Accept the service request successfully.",
        }

    def list_payments(self, asked: dict[str, Any]) -> Reply:
        """Return a page of Pull for a period; the first page has everything."""
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

    def send_c2b(self, payment: Prompt) -> None:
        """Send a C2B confirmation of a payment, once or twice, before or after its callback."""
        self._scheduler.count_fault("c2b notice", payment.reference)
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
        for _ in range(1 + (payment.random.random() < 0.1)):
            self._mpesa.deliver(self.confirmation_url, body, payment.random.uniform(0.1, 20.0), _ignore)

    def _reverse(self, asked: dict[str, Any], conversation_id: str, random: Random) -> None:
        paid = next(p for p in self._mpesa.payments if p.receipt == asked["TransactionID"])
        reversal = Reversal(conversation_id, paid)
        self.reversals.append(reversal)
        self._scheduler.note("reversal requested", paid.receipt, conversation_id)

        def execute() -> None:
            if self.reversal_of(paid.receipt):
                reversal.code = ALREADY_REVERSED
            elif random.random() < self._scheduler.odds.reversal_fails:
                reversal.code = NO_FUNDS
            else:
                reversal.code, reversal.receipt = DONE, f"UKR{self._mpesa.count():05d}QX"
            self._scheduler.note("reversal", paid.receipt, reversal.code)
            self._send_result(asked, reversal, random)

        self._scheduler.call_later(random.uniform(1.0, 100.0), execute)

    def _send_result(self, asked: dict[str, Any], reversal: Reversal, random: Random) -> None:
        odds = self._scheduler.odds
        if random.random() < odds.reversal_result_lost:
            self._scheduler.count_fault("reversal result lost", reversal.payment.receipt)
            if random.random() < 0.5:
                self._mpesa.deliver(asked["QueueTimeOutURL"], b"{}", 1.0, _ignore)
            return
        parameters = {"OriginalTransactionID": reversal.payment.receipt}
        if reversal.code == DONE:
            parameters["Amount"] = f"{reversal.payment.shillings}.00"
        body = _result(reversal.conversation_id, reversal.code, reversal.receipt, parameters)
        for _ in range(1 + (random.random() < odds.callback_duplicated)):
            self._mpesa.deliver(asked["ResultURL"], body, random.uniform(0.1, 30.0), _ignore)

    def _send_status(self, asked: dict[str, Any], conversation_id: str, random: Random) -> None:
        if random.random() < self._scheduler.odds.reversal_result_lost:
            return
        code, parameters = self._status_of(asked)
        body = _result(conversation_id, code, None, parameters)
        self._mpesa.deliver(asked["ResultURL"], body, random.uniform(0.1, 30.0), _ignore)

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
            receipt, payment.shillings, "Reversed" if self.reversal_of(receipt) else "Completed"
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


def _ignore() -> None:
    pass

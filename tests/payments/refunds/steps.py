"""Steps of a refund: decisions of an operator, and M-Pesa's messages."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from freezegun.api import FrozenDateTimeFactory

from ledger import clock as time
from ledger.session.values import Refund
from tests.daraja.client.scripted import Request, Script, json_reply
from tests.scenarios.steps import event_names, messages, report
from tests.support.checkouts import Checkout
from tests.support.instance import Client, Instance

Clock = FrozenDateTimeFactory

REVERSAL = "/mpesa/reversal/v1/request"
STATUS = "/mpesa/transactionstatus/v1/query"
RECEIPT = "UKG7Q2X9LM"
REVERSAL_RECEIPT = "UKG7Q2X9RR"
CONVERSATION = "AG_20261116_0100101002hi3i67m6ml"
ORIGINATOR = "8423-4a3b-87d8-1d918a78741e243712"
OAUTH_REPLY = json_reply(200, {"access_token": "token-1", "expires_in": "3599"})
ACKNOWLEDGEMENT = {
    "OriginatorConversationID": ORIGINATOR,
    "ConversationID": CONVERSATION,
    "ResponseCode": "0",
    "ResponseDescription": "Accept the service request successfully.",
}
TAKEN = json_reply(200, ACKNOWLEDGEMENT)


def result(code: object = 0, receipt: str = REVERSAL_RECEIPT, **parameters: Any) -> dict[str, Any]:
    """Write a result in M-Pesa's envelope, with parameters if there are some."""
    written: dict[str, Any] = {
        "ResultType": 0,
        "ResultCode": code,
        "ResultDesc": "As the code says.",
        "OriginatorConversationID": ORIGINATOR,
        "ConversationID": CONVERSATION,
        "TransactionID": receipt,
    }
    if parameters:
        listed = [{"Key": key, "Value": value} for key, value in parameters.items()]
        written["ResultParameters"] = {"ResultParameter": listed}
    return {"Result": written}


def reversed_in_full(**changed: Any) -> dict[str, Any]:
    """Write the result of a completed reversal."""
    parameters: dict[str, Any] = {
        "DebitAccountBalance": "Utility Account|KES|51661.00|51661.00|0.00|0.00",
        "Amount": 350.00,
        "TransCompletedTime": 20261116103500,
        "OriginalTransactionID": RECEIPT,
        "Charge": 0.0,
        "CreditPartyPublicName": "2547*****678 - JANE",
        "DebitPartyPublicName": "174379 - SHOP",
    }
    return result(0, **(parameters | changed))


def status_of(receipt: str, status: str, **changed: Any) -> dict[str, Any]:
    """Write the result of a status check."""
    parameters: dict[str, Any] = {
        "ReceiptNo": receipt,
        "TransactionStatus": status,
        "Amount": 350.00,
        "FinalisedTime": 20261116103500,
    }
    return result(0, receipt="UKG0000000", **(parameters | changed))


class Till:
    """A running instance beside a scripted M-Pesa, with an operator."""

    def __init__(self, instance: Instance, script: Script, clock: Clock) -> None:
        self.instance = instance
        self.script = script
        self.clock = clock

    @property
    def operator(self) -> Client:
        """An operator with a fresh token."""
        return self.instance.client(9, "operator")

    def due(self, receipt: str | None = RECEIPT) -> Checkout:
        """Take a payment whose goods are sold out, so that a refund is due; let the worker see it."""
        begun_at = time.now() - timedelta(minutes=1)
        checkout = Checkout(self.instance.services.ledger, at=begun_at).prompt().pay(receipt).refuse_order()
        self.instance.work()
        return checkout

    def decide(self, checkout: Checkout, what: str, **fields: str) -> requests.Response:
        """Let the operator decide."""
        path = f"/api/payments/refunds/{checkout.session_id}/1/{what}/"
        return self.operator.post(path, json=fields)

    def approve(self, checkout: Checkout) -> None:
        """Let the operator approve, and the worker send it."""
        answer = self.decide(checkout, "approve")
        assert answer.status_code == 200, answer.text
        self.instance.work()

    def sent(self, path: str = REVERSAL) -> list[Request]:
        """Return the requests that M-Pesa received."""
        return self.script.seen(path)

    def tell(self, body: object, asked: Request | None = None, to: str = "ResultURL") -> None:
        """Post a message of M-Pesa's to a callback URL of its last request, or of another."""
        url = (asked or self.sent()[-1]).json[to]
        answer = report(self.instance, urlsplit(url).path, body)
        assert (answer.status_code, answer.json()) == (200, {"ResultCode": 0, "ResultDesc": "Accepted"})
        self.instance.work()

    def wait(self, **span: float) -> None:
        """Advance the clock and run the worker."""
        seconds = span.get("seconds", 0) + 60 * span.get("minutes", 0) + 3600 * span.get("hours", 0)
        self.clock.tick(seconds)
        self.instance.work()

    def refund(self, checkout: Checkout, number: int = 1) -> Refund:
        """Return a refund as the log has it."""
        return checkout.session.refunds[number]

    def shown(self, checkout: Checkout, number: int = 1) -> dict[str, Any]:
        """Return a refund as operators see it."""
        shown: dict[str, Any] = self.operator.get(
            f"/api/payments/refunds/{checkout.session_id}/{number}/"
        ).json()
        return shown

    def facts(self, checkout: Checkout) -> list[str]:
        """Return the names of the events since the refund was due."""
        names = event_names(self.instance, str(checkout.session_id))
        return names[names.index("RefundDue") :]

    def messages(self) -> list[tuple[str, str | None]]:
        """Return the state and the reason of every message."""
        return messages(self.instance)

"""Daraja's endpoints for the organisation: reversal, transaction status, B2C, account balance, C2B and Pull."""

from collections.abc import Callable
from functools import partial

from flask import Blueprint, Response

from daraja.simulator.answers import GatewayAnswer, invalid_field, json_answer, refusal
from daraja.simulator.books import PaymentChannel
from daraja.simulator.c2b_payments import Registration
from daraja.simulator.faults import Endpoint, Fault
from daraja.simulator.gateway_requests import (
    BUY_GOODS,
    PAYBILL,
    Document,
    is_callback_url,
    read_amount,
    read_phone,
    read_shortcode,
    read_text,
)
from daraja.simulator.identifiers import Conversation
from daraja.simulator.initiator_requests import read_balance, read_payout, read_reversal, read_status
from daraja.simulator.mobile_money import MAX_REFERENCE, PaymentOrder
from daraja.simulator.pipeline import RequestPipeline
from daraja.simulator.pull_transactions import read_pull, read_pull_registration
from daraja.simulator.simulator import Simulator

_ACCEPTED = "Accept the service request successfully."
_FORBIDDEN_WORDS = ("m-pesa", "mpesa", "safaricom", "exe", "cmd", "sql", "query")
_OWN_NAMES = ("OriginatorConversationID", "BillRefNumber", "OffSetValue")
"""The fields by which a shop names a request."""
_WHEN_SILENT = ("Completed", "Cancelled")

Answering = Callable[[Document], GatewayAnswer]


class InitiatorApi:
    """Answers requests to these endpoints."""

    def __init__(self, simulator: Simulator, pipeline: RequestPipeline) -> None:
        self._settings = simulator.settings
        self._mobile_money = simulator.mobile_money
        self._operations = simulator.operations
        self._account = simulator.utility_account
        self._c2b = simulator.c2b
        self._pull = simulator.pull
        self._pipeline = pipeline

    def blueprint(self) -> Blueprint:
        """Return the endpoints for a Flask application."""
        blueprint = Blueprint("initiator", __name__)
        posts: list[tuple[str, Endpoint, Answering]] = [
            ("/mpesa/reversal/v1/request", "reversal", self._reverse),
            ("/mpesa/transactionstatus/v1/query", "status", self._look_up),
            ("/mpesa/b2c/v1/paymentrequest", "b2c", partial(self._pay_out, 1)),
            ("/mpesa/b2c/v3/paymentrequest", "b2c", partial(self._pay_out, 3)),
            ("/mpesa/accountbalance/v1/query", "balance", self._tell_balance),
            ("/mpesa/c2b/v1/registerurl", "c2b_register", partial(self._register, 1)),
            ("/mpesa/c2b/v2/registerurl", "c2b_register", partial(self._register, 2)),
            ("/mpesa/c2b/v1/simulate", "c2b_simulate", self._simulate),
            ("/mpesa/c2b/v2/simulate", "c2b_simulate", self._simulate),
            ("/pulltransactions/v1/register", "pull_register", self._register_pull),
            ("/pulltransactions/v1/query", "pull", self._list),
        ]
        for path, endpoint, answer in posts:
            # Pull's documentation says GET, and every client sends POST with a body.
            methods = ["POST", "GET"] if endpoint == "pull" else ["POST"]
            blueprint.add_url_rule(
                path, path.replace("/", "_"), self._served(endpoint, answer), methods=methods
            )
        return blueprint

    def _served(self, endpoint: Endpoint, answer: Answering) -> Callable[[], Response]:
        def serve() -> Response:
            def answering(_: Fault) -> GatewayAnswer:
                return answer(self._pipeline.read_body(endpoint))

            return self._pipeline.serve(endpoint, answering, self._reference_of)

        return serve

    def _reference_of(self, document: Document) -> str:
        """Return the reference from which chaos draws: that of the payment in question, if there is one."""
        receipt = document.get("TransactionID")
        with self._mobile_money.changed:
            payment = self._mobile_money.books.find(receipt) if isinstance(receipt, str) else None
        own_names = (document.get(name) for name in _OWN_NAMES)
        return payment.reference if payment else next((str(name) for name in own_names if name), "-")

    def _reverse(self, document: Document) -> GatewayAnswer:
        return _acknowledged(self._operations.reverse(read_reversal(document, self._settings)))

    def _look_up(self, document: Document) -> GatewayAnswer:
        return _acknowledged(self._operations.look_up(read_status(document, self._settings)))

    def _pay_out(self, version: int, document: Document) -> GatewayAnswer:
        return _acknowledged(self._account.pay_out(read_payout(document, self._settings, version)))

    def _tell_balance(self, document: Document) -> GatewayAnswer:
        return _acknowledged(self._account.tell_balance(read_balance(document, self._settings)))

    def _register(self, version: int, document: Document) -> GatewayAnswer:
        read_shortcode(document, "ShortCode", self._settings.shortcode)
        when_silent = read_text(document, "ResponseType")
        if when_silent not in _WHEN_SILENT:
            raise invalid_field("ResponseType")
        confirmation_url = self._c2b_url(document, "ConfirmationURL")
        validation_url = self._c2b_url(document, "ValidationURL")
        if self._c2b.registration is not None and self._settings.c2b_registers_once:
            raise refusal("already-registered")
        self._c2b.register(Registration(confirmation_url, validation_url, when_silent, version))
        return self._c2b_answer("Success")

    def _simulate(self, document: Document) -> GatewayAnswer:
        read_shortcode(document, "ShortCode", self._settings.shortcode)
        command = read_text(document, "CommandID")
        if command not in (PAYBILL, BUY_GOODS):
            raise invalid_field("CommandID")
        reference = read_text(document, "BillRefNumber") if command == PAYBILL else ""
        if self._settings.strict and len(reference) > MAX_REFERENCE:
            raise invalid_field("BillRefNumber")
        order = PaymentOrder(
            read_phone(document, "Msisdn"),
            read_amount(document),
            reference,
            command == BUY_GOODS,
            PaymentChannel.BY_HAND,
        )

        self._mobile_money.begin()

        def pay() -> None:
            try:
                self._c2b.pay(order)
            finally:
                self._mobile_money.finish()

        return self._c2b_answer(_ACCEPTED, after=pay)

    def _register_pull(self, document: Document) -> GatewayAnswer:
        read_pull_registration(document, self._settings.shortcode)
        return json_answer(self._pull.register())

    def _list(self, document: Document) -> GatewayAnswer:
        return json_answer(self._pull.list(read_pull(document, self._settings.shortcode)))

    def _c2b_url(self, document: Document, name: str) -> str:
        """Return an address; in strict mode it may hold none of the words that the portal forbids."""
        url = read_text(document, name)
        forbidden = self._settings.strict and any(word in url.lower() for word in _FORBIDDEN_WORDS)
        if forbidden or not is_callback_url(url):
            raise invalid_field(name)
        return url

    def _c2b_answer(self, description: str, after: Callable[[], None] | None = None) -> GatewayAnswer:
        """Return M-Pesa's acknowledgement, in which one key lacks an "n"."""
        with self._mobile_money.changed:
            originator_id = self._mobile_money.identifiers.merchant_request_id()
        document = {
            "OriginatorCoversationID": originator_id,
            "ResponseCode": "0",
            "ResponseDescription": description,
        }
        return json_answer(document, after=after)


def _acknowledged(conversation: Conversation) -> GatewayAnswer:
    document = {
        "OriginatorConversationID": conversation.originator_id,
        "ConversationID": conversation.id,
        "ResponseCode": "0",
        "ResponseDescription": _ACCEPTED,
    }
    return json_answer(document)

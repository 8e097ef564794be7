"""Daraja's own doors: the token, the push and the query, as Safaricom's gateway answers them."""

from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, Response, request

from daraja.simulator.answers import (
    JSON_TYPE,
    Answer,
    Refusal,
    error_answer,
    invalid_field,
    json_answer,
    refusal,
)
from daraja.simulator.faults import LOSE_ANSWER, NO_CHECKOUT_ID, TRUTH, Door, Fault, Faults, read_fault
from daraja.simulator.kenya_time import Clock
from daraja.simulator.messages import Document, check_merchant, read_document, read_push, read_query
from daraja.simulator.network import Network
from daraja.simulator.outcomes import STILL_PROCESSING, query_text, script_for
from daraja.simulator.prompts import Prompt, UnknownPrompt
from daraja.simulator.server import CUT
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.tokens import TokenDesk, WrongCredentials

_OAUTH_PATH = "/oauth/v1/generate"
_PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
_QUERY_PATH = "/mpesa/stkpushquery/v1/query"
_ACCEPTED = "Success. Request accepted for processing"
_QUERY_ACCEPTED = "The service request has been accepted successfully"

Stall = Callable[[float], object]


class Gateway:
    """Answers for the three doors: faults first, then the token, then the request itself."""

    def __init__(
        self,
        settings: SimulatorSettings,
        network: Network,
        tokens: TokenDesk,
        faults: Faults,
        clock: Clock,
        stall: Stall,
    ) -> None:
        self._settings = settings
        self._network = network
        self._tokens = tokens
        self._faults = faults
        self._clock = clock
        self._stall = stall

    def blueprint(self) -> Blueprint:
        """Return the doors for a Flask application."""
        doors = Blueprint("gateway", __name__)
        doors.add_url_rule(_OAUTH_PATH, view_func=self.token, methods=["GET"])
        doors.add_url_rule(_PUSH_PATH, view_func=self.push, methods=["POST"])
        doors.add_url_rule(_QUERY_PATH, view_func=self.query, methods=["POST"])
        doors.app_errorhandler(404)(lambda _: self._refuse("not-found"))
        doors.app_errorhandler(405)(lambda _: self._refuse("method"))
        return doors

    def token(self) -> Response:
        """Serve the OAuth token: Basic authentication, `grant_type=client_credentials`."""
        return self._serve("token", lambda _: self._token())

    def push(self) -> Response:
        """Serve an STK push."""
        return self._serve("push", self._push)

    def query(self) -> Response:
        """Serve an STK query."""
        return self._serve("query", self._query)

    def _serve(self, door: Door, answer: Callable[[Fault], Answer]) -> Response:
        self._network.count(f"{door}_requests")
        fault = self._faults.take(door, self._clock())
        if (canned := fault.answer(lambda: self._request_id(door))) is not None:
            return _respond(canned)
        try:
            return self._deliver(answer(fault), fault)
        except Refusal as error:
            self._network.count(f"{door}_refused_{error.code}")
            return self._deliver(error_answer(error, self._request_id(door)), fault)

    def _deliver(self, answer: Answer, fault: Fault) -> Response:
        if fault.stall_seconds:
            # The prompt does not wait for the answer: what is held back is only our word about it.
            if answer.after is not None:
                answer.after()
                answer = replace(answer, after=None)
            self._stall(fault.stall_seconds)
        return _respond(answer, lose=fault.twist == LOSE_ANSWER)

    def _token(self) -> Answer:
        try:
            token = self._tokens.issue_for(
                request.headers.get("Authorization", ""), request.args.get("grant_type")
            )
        except WrongCredentials:
            return Answer(400, b"")
        return json_answer({"access_token": token, "expires_in": "3599"})

    def _push(self, fault: Fault) -> Answer:
        push = read_push(self._read_body(), self._settings.strict)
        check_merchant(push, self._settings.shortcode, self._settings.passkey)
        scripted = read_fault(script_for(push.phone).answer or TRUTH, "push")
        if (canned := scripted.answer(self._network.new_request_id)) is not None:
            return canned
        prompt = self._network.submit(push)
        accepted = {
            "MerchantRequestID": prompt.merchant_request_id,
            "CheckoutRequestID": prompt.checkout_request_id,
            "ResponseCode": "0",
            "ResponseDescription": _ACCEPTED,
            "CustomerMessage": _ACCEPTED,
        }
        if fault.twist == NO_CHECKOUT_ID:
            del accepted["CheckoutRequestID"]
        answer = json_answer(accepted, after=lambda: self._network.begin(prompt))
        return replace(answer, cut="close") if scripted.twist == LOSE_ANSWER else answer

    def _query(self, fault: Fault) -> Answer:
        asked = read_query(self._read_body())
        check_merchant(asked, self._settings.shortcode, self._settings.passkey)
        try:
            prompt = self._network.get(asked.checkout_request_id)
        except UnknownPrompt:
            return error_answer(refusal("unknown-transaction"), asked.checkout_request_id)
        if fault.result_code is not None:
            return _verdict(prompt, fault.result_code)
        if prompt.outcome is not None:
            return _verdict(prompt, prompt.script.query_code or prompt.outcome.code)
        shape = self._faults.pending_shape
        if shape == STILL_PROCESSING:
            return _verdict(prompt, STILL_PROCESSING)
        return error_answer(refusal(shape), prompt.checkout_request_id)

    def _read_body(self) -> Document:
        self._tokens.check(request.headers.get("Authorization", ""))
        if request.mimetype != JSON_TYPE:
            # Misleading, and what the gateway is documented to say where the content type is missing.
            raise invalid_field("BusinessShortCode")
        return read_document(request.get_data())

    def _request_id(self, door: Door) -> str:
        """An error about a query repeats the CheckoutRequestID asked about; every other makes an id up."""
        if door == "query":
            try:
                asked = read_document(request.get_data()).get("CheckoutRequestID")
            except Refusal:
                asked = None
            if isinstance(asked, str):
                return asked
        return self._network.new_request_id()

    def _refuse(self, name: str) -> Response:
        return _respond(error_answer(refusal(name), self._network.new_request_id()))


def _verdict(prompt: Prompt, code: str) -> Answer:
    return json_answer(
        {
            "ResponseCode": "0",
            "ResponseDescription": _QUERY_ACCEPTED,
            "MerchantRequestID": prompt.merchant_request_id,
            "CheckoutRequestID": prompt.checkout_request_id,
            "ResultCode": code,
            "ResultDesc": query_text(code),
        }
    )


def _respond(answer: Answer, lose: bool = False) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if cut := "close" if lose else answer.cut:
        request.environ[CUT] = cut
    if answer.after is not None:
        response.call_on_close(answer.after)
    return response

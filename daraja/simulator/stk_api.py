"""Daraja's endpoints for payments by prompt: the token, the push and the query, as Safaricom's gateway answers."""

from dataclasses import replace

from flask import Blueprint, Response, request

from daraja.simulator.answers import GatewayAnswer, error_answer, json_answer, refusal
from daraja.simulator.faults import LOSE_ANSWER, NO_CHECKOUT_ID, TRUTH, Fault, read_fault
from daraja.simulator.gateway_requests import Document, check_merchant, read_push, read_query
from daraja.simulator.outcomes import ANSWERED_BY_HAND, STILL_PROCESSING, query_text, script_for
from daraja.simulator.pipeline import RequestPipeline
from daraja.simulator.prompts import StkPrompt, UnknownPrompt
from daraja.simulator.simulator import Simulator
from daraja.simulator.token_issuer import WrongCredentials

_OAUTH_PATH = "/oauth/v1/generate"
_PUSH_PATH = "/mpesa/stkpush/v1/processrequest"
_QUERY_PATH = "/mpesa/stkpushquery/v1/query"
_ACCEPTED = "Success. Request accepted for processing"
_QUERY_ACCEPTED = "The service request has been accepted successfully"


class StkApi:
    """Answers requests to the three endpoints."""

    def __init__(self, simulator: Simulator, pipeline: RequestPipeline) -> None:
        self._settings = simulator.settings
        self._prompts = simulator.prompt_lifecycle
        self._tokens = simulator.tokens
        self._faults = simulator.faults
        self._pipeline = pipeline

    def blueprint(self) -> Blueprint:
        """Return the endpoints for a Flask application."""
        blueprint = Blueprint("gateway", __name__)
        blueprint.add_url_rule(_OAUTH_PATH, view_func=self.token, methods=["GET"])
        blueprint.add_url_rule(_PUSH_PATH, view_func=self.push, methods=["POST"])
        blueprint.add_url_rule(_QUERY_PATH, view_func=self.query, methods=["POST"])
        blueprint.app_errorhandler(404)(lambda _: self._pipeline.refuse("not-found"))
        blueprint.app_errorhandler(405)(lambda _: self._pipeline.refuse("method"))
        return blueprint

    def token(self) -> Response:
        """Serve the OAuth token: Basic authentication, `grant_type=client_credentials`."""
        return self._pipeline.serve("token", lambda _: self._token())

    def push(self) -> Response:
        """Serve an STK push."""
        return self._pipeline.serve("push", self._push, _reference_of_push)

    def query(self) -> Response:
        """Serve an STK query."""
        return self._pipeline.serve("query", self._query, self._reference_of_query)

    def _token(self) -> GatewayAnswer:
        try:
            token = self._tokens.issue_for(
                request.headers.get("Authorization", ""), request.args.get("grant_type")
            )
        except WrongCredentials:
            return GatewayAnswer(400, b"")
        return json_answer({"access_token": token, "expires_in": "3599"})

    def _push(self, fault: Fault) -> GatewayAnswer:
        push = read_push(self._pipeline.read_body("push"), self._settings.strict)
        check_merchant(push, self._settings.shortcode, self._settings.passkey)
        scripted = read_fault(script_for(push.phone).answer or TRUTH, "push")
        if (canned := scripted.answer(self._pipeline.new_request_id)) is not None:
            return canned
        prompt = self._prompts.submit(push)
        accepted = {
            "MerchantRequestID": prompt.merchant_request_id,
            "CheckoutRequestID": prompt.checkout_request_id,
            "ResponseCode": "0",
            "ResponseDescription": _ACCEPTED,
            "CustomerMessage": _ACCEPTED,
        }
        if fault.twist == NO_CHECKOUT_ID:
            del accepted["CheckoutRequestID"]
        answer = json_answer(accepted, after=lambda: self._prompts.begin(prompt))
        return replace(answer, cut="close") if scripted.twist == LOSE_ANSWER else answer

    def _query(self, fault: Fault) -> GatewayAnswer:
        query = read_query(self._pipeline.read_body("query"))
        check_merchant(query, self._settings.shortcode, self._settings.passkey)
        try:
            prompt = self._prompts.get(query.checkout_request_id)
        except UnknownPrompt:
            return error_answer(refusal("unknown-transaction"), query.checkout_request_id)
        if fault.result_code is not None:
            return _verdict(prompt, fault.result_code)
        if (recorded := _recorded(prompt, self._prompts.age_seconds(prompt))) is not None:
            return recorded
        if prompt.outcome is not None:
            return _verdict(prompt, self._prompts.code_for_queries(prompt, prompt.outcome))
        shape = self._faults.pending_shape
        if shape == STILL_PROCESSING:
            return _verdict(prompt, STILL_PROCESSING)
        return error_answer(refusal(shape), prompt.checkout_request_id)

    def _reference_of_query(self, document: Document) -> str:
        try:
            prompt = self._prompts.get(str(document.get("CheckoutRequestID")))
        except UnknownPrompt:
            return "-"
        return prompt.account_reference if script_for(prompt.phone) is ANSWERED_BY_HAND else ""


def _reference_of_push(document: Document) -> str:
    """Return "" for numbers whose outcome is fixed: chaos passes over them, so that a script can rely on them."""
    is_fixed = script_for(str(document.get("PhoneNumber"))) is not ANSWERED_BY_HAND
    return "" if is_fixed else str(document.get("AccountReference"))


def _recorded(prompt: StkPrompt, age_seconds: float) -> GatewayAnswer | None:
    """Return what was recorded for a push of this age, if the prompt's script replays a recording."""
    names = [name for age, name in prompt.script.queries if age <= age_seconds]
    if not names:
        return None
    fault = read_fault(names[-1], "query")
    if fault.result_code is not None:
        return _verdict(prompt, fault.result_code)
    return fault.answer(lambda: prompt.checkout_request_id)


def _verdict(prompt: StkPrompt, code: str) -> GatewayAnswer:
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

"""What all of Daraja's endpoints have in common: faults first, then the token, then the request itself."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from flask import Response, request

from daraja.simulator.answers import (
    JSON_TYPE,
    GatewayAnswer,
    GatewayRefusal,
    error_answer,
    invalid_field,
    refusal,
)
from daraja.simulator.faults import (
    LOSE_ANSWER,
    NO_FAULT,
    TRUTH,
    VOID_TOKEN,
    Endpoint,
    Fault,
    read_fault,
)
from daraja.simulator.gateway_requests import Document, read_document
from daraja.simulator.server import CUT
from daraja.simulator.simulator import Simulator
from daraja.simulator.state_file import StateFileProblem

_TOKEN_REFUSALS: Mapping[Endpoint, str] = {
    "status": "invalid-token-c2b",
    "c2b_register": "invalid-token-c2b",
    "c2b_simulate": "invalid-token-c2b",
    "b2c": "invalid-token-b2c",
    "balance": "invalid-token-b2c",
    "pull_register": "invalid-token-pull",
    "pull": "invalid-token-pull",
}
"""How the products that differ from STK say that a token is not valid."""

_log = logging.getLogger(__name__)

ReferenceOf = Callable[[Document], str]
"""Returns, for a request's body, the reference from which chaos draws: one that the shop chose, or "" for no chaos."""


class RequestPipeline:
    """Serves a request, or the fault that was set by hand or drawn by chaos in its place."""

    def __init__(self, simulator: Simulator) -> None:
        self._mobile_money = simulator.mobile_money
        self._tokens = simulator.tokens
        self._faults = simulator.faults
        self._chaos = simulator.chaos
        self._stall = simulator.stopping.wait

    def serve(
        self,
        endpoint: Endpoint,
        answer: Callable[[Fault], GatewayAnswer],
        reference_of: ReferenceOf = lambda _: "-",
    ) -> Response:
        """Answer one request."""
        self._mobile_money.count(f"{endpoint}_requests")
        fault = self._fault(endpoint, reference_of)
        if fault.twist == VOID_TOKEN:
            self._tokens.void()
        if (canned := fault.answer(lambda: self._request_id(endpoint))) is not None:
            return _respond(canned)
        try:
            return self._deliver(answer(fault), fault)
        except StateFileProblem as problem:
            _log.error("%s Nothing has happened, and the request is refused.", problem)
            return self.refuse("server-error")
        except GatewayRefusal as error:
            self._mobile_money.count(f"{endpoint}_refused_{error.code}")
            return self._deliver(error_answer(error, self._request_id(endpoint)), fault)

    def read_body(self, endpoint: Endpoint) -> Document:
        """Return the body of a request with a valid token; raise GatewayRefusal, worded as the product does."""
        self._tokens.check(
            request.headers.get("Authorization", ""), _TOKEN_REFUSALS.get(endpoint, "invalid-token")
        )
        if request.mimetype != JSON_TYPE:
            # Misleading, but documented as the gateway's answer to a missing content type.
            raise invalid_field("BusinessShortCode")
        return read_document(request.get_data())

    def refuse(self, name: str) -> Response:
        """Answer with an error of that name."""
        return _respond(error_answer(refusal(name), self.new_request_id()))

    def new_request_id(self) -> str:
        """Return a fresh id in the form of a MerchantRequestID."""
        with self._mobile_money.changed:
            return self._mobile_money.identifiers.merchant_request_id()

    def _fault(self, endpoint: Endpoint, reference_of: ReferenceOf) -> Fault:
        """Return the fault that was set by hand, else what chaos draws."""
        fault = self._faults.take(endpoint)
        reference = reference_of(_document()) if self._chaos.is_on and fault is None else ""
        if fault is not None or not reference:
            return fault or NO_FAULT
        if endpoint == "push" and (outage := self._chaos.outage_after(reference)):
            self._faults.start_outage(*outage)
            self._mobile_money.count("chaos_outages")
        drawn = self._chaos.fault_for(endpoint, reference)
        if drawn != TRUTH:
            self._mobile_money.count(f"chaos_{endpoint}_{drawn.partition(':')[0]}")
        return read_fault(drawn, endpoint)

    def _deliver(self, answer: GatewayAnswer, fault: Fault) -> Response:
        if fault.stall_seconds:
            # Only the answer is held back: the prompt does not wait for it.
            if answer.after is not None:
                answer.after()
                answer = replace(answer, after=None)
            self._stall(fault.stall_seconds)
        return _respond(answer, lose=fault.twist == LOSE_ANSWER)

    def _request_id(self, endpoint: Endpoint) -> str:
        """Return the queried CheckoutRequestID for an error about a query, else a fresh id."""
        queried = _document().get("CheckoutRequestID") if endpoint == "query" else None
        return queried if isinstance(queried, str) else self.new_request_id()


def _document() -> Document:
    """Return the body before any check, {} if it is no object."""
    try:
        return read_document(request.get_data())
    except GatewayRefusal:
        return {}


def _respond(answer: GatewayAnswer, lose: bool = False) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if cut := "close" if lose else answer.cut:
        request.environ[CUT] = cut
    if answer.after is not None:
        response.call_on_close(answer.after)
    return response

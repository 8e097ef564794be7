"""What all of Daraja's doors have in common: faults first, then the token, then the request itself."""

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
from daraja.simulator.chaos import Chaos
from daraja.simulator.faults import (
    LOSE_ANSWER,
    NO_FAULT,
    TRUTH,
    VOID_TOKEN,
    Endpoint,
    Fault,
    Faults,
    read_fault,
)
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.mobile_money import MobileMoney
from daraja.simulator.server import CUT
from daraja.simulator.state_file import StateFileProblem
from daraja.simulator.stk_requests import Document, read_document
from daraja.simulator.token_issuer import TokenIssuer

_TOKEN_REFUSALS: Mapping[Endpoint, str] = {
    "status": "invalid-token-c2b",
    "c2b_register": "invalid-token-c2b",
    "c2b_simulate": "invalid-token-c2b",
    "pull_register": "invalid-token-pull",
    "pull": "invalid-token-pull",
}
"""How products word it that a token is not valid, where not as STK does."""

_log = logging.getLogger(__name__)

Stall = Callable[[float], object]
Name = Callable[[Document], str]
"""Tells from a request's body what chaos makes its dice of: a reference that the shop chose, or "" for no chaos."""


class RequestPipeline:
    """Lets a request in, or has it meet a fault that was set by hand or rolled by chaos."""

    def __init__(
        self,
        mobile_money: MobileMoney,
        tokens: TokenIssuer,
        faults: Faults,
        chaos: Chaos,
        clock: SimulatedClock,
        stall: Stall,
    ) -> None:
        self._mobile_money = mobile_money
        self._tokens = tokens
        self._faults = faults
        self._chaos = chaos
        self._clock = clock
        self._stall = stall

    def serve(
        self, endpoint: Endpoint, answer: Callable[[Fault], GatewayAnswer], name: Name = lambda _: "-"
    ) -> Response:
        """Answer one request at a door."""
        self._mobile_money.count(f"{endpoint}_requests")
        fault = self._fault(endpoint, name)
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
        """Return the body of a request with a valid token; raise GatewayRefusal, for the token as the door's product does."""
        self._tokens.check(
            request.headers.get("Authorization", ""), _TOKEN_REFUSALS.get(endpoint, "invalid-token")
        )
        if request.mimetype != JSON_TYPE:
            # Misleading, and what the gateway is documented to say where the content type is missing.
            raise invalid_field("BusinessShortCode")
        return read_document(request.get_data())

    def refuse(self, name: str) -> Response:
        """Answer with an error of that name."""
        return _respond(error_answer(refusal(name), self.new_request_id()))

    def new_request_id(self) -> str:
        """Return a fresh id in the form of a MerchantRequestID."""
        with self._mobile_money.changed:
            return self._mobile_money.identifiers.merchant_request_id()

    def _fault(self, endpoint: Endpoint, name: Name) -> Fault:
        """Return the fault that was set by hand, else what chaos rolls."""
        fault = self._faults.take(endpoint, self._clock.now())
        reference = name(_document()) if self._chaos.is_on and fault is None else ""
        if fault is not None or not reference:
            return fault or NO_FAULT
        if endpoint == "push" and (outage := self._chaos.outage_after(reference)):
            self._faults.start_outage(self._clock.now(), *outage)
            self._mobile_money.count("chaos_outages")
        rolled = self._chaos.fault_for(endpoint, reference)
        if rolled != TRUTH:
            self._mobile_money.count(f"chaos_{endpoint}_{rolled.partition(':')[0]}")
        return read_fault(rolled, endpoint)

    def _deliver(self, answer: GatewayAnswer, fault: Fault) -> Response:
        if fault.stall_seconds:
            # The prompt does not wait for the answer: what is held back is only our word about it.
            if answer.after is not None:
                answer.after()
                answer = replace(answer, after=None)
            self._stall(fault.stall_seconds)
        return _respond(answer, lose=fault.twist == LOSE_ANSWER)

    def _request_id(self, endpoint: Endpoint) -> str:
        """An error about a query repeats the CheckoutRequestID asked about; every other makes an id up."""
        asked = _document().get("CheckoutRequestID") if endpoint == "query" else None
        return asked if isinstance(asked, str) else self.new_request_id()


def _document() -> Document:
    """Return the body as it is before anybody has judged it, {} where it is no object."""
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

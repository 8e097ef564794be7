"""What all of Daraja's doors have in common: faults first, then the token, then the request itself."""

from collections.abc import Callable
from dataclasses import replace

from flask import Response, request

from daraja.simulator.answers import (
    JSON_TYPE,
    Answer,
    Refusal,
    error_answer,
    invalid_field,
    refusal,
)
from daraja.simulator.chaos import Chaos
from daraja.simulator.faults import LOSE_ANSWER, NO_FAULT, TRUTH, VOID_TOKEN, Door, Fault, Faults, read_fault
from daraja.simulator.kenya_time import Clock
from daraja.simulator.messages import Document, read_document
from daraja.simulator.network import Network
from daraja.simulator.server import CUT
from daraja.simulator.tokens import TokenDesk

Stall = Callable[[float], object]
Name = Callable[[Document], str]
"""Tells from a request's body what chaos makes its dice of: a reference that the shop chose, or "" for no chaos."""


class Doorway:
    """Lets a request in, or has it meet a fault that was set by hand or rolled by chaos."""

    def __init__(
        self,
        network: Network,
        tokens: TokenDesk,
        faults: Faults,
        chaos: Chaos,
        clock: Clock,
        stall: Stall,
    ) -> None:
        self._network = network
        self._tokens = tokens
        self._faults = faults
        self._chaos = chaos
        self._clock = clock
        self._stall = stall

    def serve(self, door: Door, answer: Callable[[Fault], Answer], name: Name = lambda _: "-") -> Response:
        """Answer one request at a door."""
        self._network.count(f"{door}_requests")
        fault = self._fault(door, name)
        if fault.twist == VOID_TOKEN:
            self._tokens.void()
        if (canned := fault.answer(lambda: self._request_id(door))) is not None:
            return _respond(canned)
        try:
            return self._deliver(answer(fault), fault)
        except Refusal as error:
            self._network.count(f"{door}_refused_{error.code}")
            return self._deliver(error_answer(error, self._request_id(door)), fault)

    def read_body(self) -> Document:
        """Return the body of a request with a valid token; raise Refusal."""
        self._tokens.check(request.headers.get("Authorization", ""))
        if request.mimetype != JSON_TYPE:
            # Misleading, and what the gateway is documented to say where the content type is missing.
            raise invalid_field("BusinessShortCode")
        return read_document(request.get_data())

    def refuse(self, name: str) -> Response:
        """Answer with an error of that name."""
        return _respond(error_answer(refusal(name), self._network.new_request_id()))

    def _fault(self, door: Door, name: Name) -> Fault:
        """Return the fault that was set by hand, else what chaos rolls."""
        fault = self._faults.take(door, self._clock())
        reference = name(_document()) if self._chaos.is_on and fault is None else ""
        if fault is not None or not reference:
            return fault or NO_FAULT
        if door == "push" and (outage := self._chaos.outage_after(reference)):
            self._faults.start_outage(self._clock(), *outage)
            self._network.count("chaos_outages")
        rolled = self._chaos.fault_for(door, reference)
        if rolled != TRUTH:
            self._network.count(f"chaos_{door}_{rolled.partition(':')[0]}")
        return read_fault(rolled, door)

    def _deliver(self, answer: Answer, fault: Fault) -> Response:
        if fault.stall_seconds:
            # The prompt does not wait for the answer: what is held back is only our word about it.
            if answer.after is not None:
                answer.after()
                answer = replace(answer, after=None)
            self._stall(fault.stall_seconds)
        return _respond(answer, lose=fault.twist == LOSE_ANSWER)

    def _request_id(self, door: Door) -> str:
        """An error about a query repeats the CheckoutRequestID asked about; every other makes an id up."""
        asked = _document().get("CheckoutRequestID") if door == "query" else None
        return asked if isinstance(asked, str) else self._network.new_request_id()


def _document() -> Document:
    """Return the body as it is before anybody has judged it, {} where it is no object."""
    try:
        return read_document(request.get_data())
    except Refusal:
        return {}


def _respond(answer: Answer, lose: bool = False) -> Response:
    response = Response(answer.body, answer.status, content_type=answer.content_type)
    if cut := "close" if lose else answer.cut:
        request.environ[CUT] = cut
    if answer.after is not None:
        response.call_on_close(answer.after)
    return response

"""The HTTP transport to the M-Pesa double: a session of `requests` in memory, with network faults."""

import json
from typing import Any, Self

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from daraja.client import PUSH_PATH, QUERY_PATH
from daraja.pull_api import PULL_PATH
from daraja.wire import AnswerLost, NotSent
from tests.simulation.memory_mpesa import MemoryMpesa, Reply
from tests.simulation.mpesa_organisation import MpesaOrganisation
from tests.simulation.scheduler import Scheduler

_JSON = CaseInsensitiveDict({"Content-Type": "application/json"})
_HTML = CaseInsensitiveDict({"Content-Type": "text/html"})
_NONSENSE: tuple[tuple[int, bytes], ...] = (
    (200, b"{}"),
    (200, b"<html>Request blocked</html>"),
    (503, b""),
    (500, b'{"requestId":"1","errorCode":"500.001.1001","errorMessage":""}'),
    (200, b'{"ResponseCode":"0","ResultCode":"0","CheckoutRequestID":"ws_CO_of_another"}'),
    (
        429,
        b'{"fault":{"faultstring":"Spike","detail":{"errorcode":"policies.ratelimit.SpikeArrestViolation"}}}',
    ),
)
_BUSY = (500, b'{"requestId":"1","errorCode":"500.003.02","errorMessage":"System is busy."}')


class _Body:
    length = None

    def __init__(self, body: bytes) -> None:
        self.headers = _HTML if body[:1] == b"<" else _JSON
        self._body = body

    def read(self, most: int, **_: Any) -> bytes:
        part, self._body = self._body[:most], self._body[most:]
        return part


class _Response:
    """As much of a `requests.Response` as `daraja.wire` reads."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status_code = status
        self.raw = _Body(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _answer(reply: Reply) -> _Response:
    status, members = reply
    return _Response(status, json.dumps(members).encode())


class MpesaTransport(requests.Session, BaseAdapter):
    """The HTTP session of one process, and its only adapter."""

    verify = True

    def __init__(self, scheduler: Scheduler, mpesa: MemoryMpesa, organisation: MpesaOrganisation) -> None:
        self._scheduler = scheduler
        self._mpesa = mpesa
        self._organisation = organisation

    def close(self) -> None:
        """Do nothing: no socket is open."""

    def get_adapter(self, url: str | bytes) -> BaseAdapter:  # noqa: ARG002 - of every address
        """Return itself."""
        return self

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> Any:
        """Carry a request there and its answer back, or raise NotSent or AnswerLost."""
        scheduler = self._scheduler
        scheduler.check_alive()
        if self._mpesa.is_out():
            return self._outage()
        if request.method == "GET":
            return _answer(self._mpesa.token())
        assert scheduler.actor is not None
        random, odds = scheduler.actor.random, scheduler.odds
        if random.random() < odds.token_voided:
            self._mpesa.void_token()
        if not self._mpesa.accepts(request.headers["Authorization"]):
            return _Response(
                404, b'{"requestId":"1","errorCode":"404.001.03","errorMessage":"Invalid Access Token"}'
            )
        url, asked = str(request.url), json.loads(request.body or b"")
        if url.endswith(QUERY_PATH):
            return self._query(asked)
        if url.endswith(PULL_PATH):
            return _answer(self._organisation.list_payments(asked))
        if url.endswith(PUSH_PATH):
            return self._push(asked)
        return self._initiator_request(url, asked)

    def _push(self, asked: dict[str, Any]) -> Any:
        scheduler = self._scheduler
        actor = scheduler.actor
        assert actor is not None
        random, odds = actor.random, scheduler.odds
        if random.random() < odds.push_not_sent:
            scheduler.count_fault("push not sent", actor.process.name)
            raise NotSent("TimeoutError")
        if random.random() < odds.push_refused:
            scheduler.count_fault("push refused", actor.process.name)
            return _Response(*_BUSY)
        reply = self._mpesa.push(asked, random)
        if random.random() < odds.slow_answer:
            scheduler.wait(random.uniform(0.1, 14.0))
        if random.random() < odds.push_answer_lost:
            self._lose_answer("push answer lost")
        return _answer(reply)

    def _initiator_request(self, url: str, asked: dict[str, Any]) -> Any:
        scheduler = self._scheduler
        actor = scheduler.actor
        assert actor is not None
        random, odds = actor.random, scheduler.odds
        if random.random() < odds.reversal_refused:
            scheduler.count_fault("initiator request refused", actor.process.name)
            if random.random() < 0.5:
                raise NotSent("TimeoutError")
            return _Response(*_BUSY)
        reply = self._organisation.accept(url, asked, random)
        if random.random() < odds.reversal_answer_lost:
            self._lose_answer("initiator answer lost")
        return _answer(reply)

    def _lose_answer(self, fault: str) -> None:
        scheduler = self._scheduler
        actor = scheduler.actor
        assert actor is not None
        scheduler.count_fault(fault, actor.process.name)
        if actor.random.random() < 0.2:
            scheduler.kill(actor.process)
            scheduler.check_alive()
        raise AnswerLost("TimeoutError")

    def _query(self, asked: dict[str, Any]) -> Any:
        assert self._scheduler.actor is not None
        random = self._scheduler.actor.random
        if random.random() < self._scheduler.odds.query_nonsense:
            return _Response(*random.choice(_NONSENSE))
        return _answer(self._mpesa.query(asked))

    def _outage(self) -> Any:
        assert self._scheduler.actor is not None
        if self._scheduler.actor.random.random() < 0.5:
            raise NotSent("TimeoutError")
        return _Response(503, b"<html><h1>Service Unavailable</h1></html>")

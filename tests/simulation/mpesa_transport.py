"""The transport to M-Pesa: what `requests` does over a socket, in memory, with the faults of a real network."""

import json
from typing import Any, Self

import requests
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import ConnectTimeoutError

from daraja.client import PUSH_PATH, QUERY_PATH
from daraja.pull_api import PULL_PATH
from tests.simulation.mpesa import Mpesa, Reply
from tests.simulation.mpesa_organisation import Till
from tests.simulation.world import World

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
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, most: int, **_: Any) -> bytes:
        part, self._body = self._body[:most], self._body[most:]
        return part


class _Response:
    """As much of a `requests.Response` as `daraja.wire` reads."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status_code = status
        self.headers = _HTML if body[:1] == b"<" else _JSON
        self.raw = _Body(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _answer(reply: Reply) -> _Response:
    status, members = reply
    return _Response(status, json.dumps(members).encode())


class Line(requests.Session):
    """The session of one process's client."""

    def __init__(self, world: World, mpesa: Mpesa, till: Till) -> None:
        self._world = world
        self._mpesa = mpesa
        self._till = till

    def close(self) -> None:
        """Nothing is open."""

    def request(self, method: Any, url: Any, data: Any = None, headers: Any = None, **_: Any) -> Any:  # type: ignore[override]
        """Carry one request there and its answer back, or lose either as `requests` would say it."""
        world = self._world
        world.check_alive()
        if self._mpesa.is_out():
            return self._out_of_reach()
        if method == "GET":
            return _answer(self._mpesa.token())
        assert world.actor is not None
        chance, odds = world.actor.chance, world.odds
        if chance.random() < odds.token_voided:
            self._mpesa.void_token()
        if not self._mpesa.accepts(headers["Authorization"]):
            return _Response(
                404, b'{"requestId":"1","errorCode":"404.001.03","errorMessage":"Invalid Access Token"}'
            )
        asked = json.loads(data)
        if url.endswith(QUERY_PATH):
            return self._query(asked)
        if url.endswith(PULL_PATH):
            return _answer(self._till.list_payments(asked))
        if url.endswith(PUSH_PATH):
            return self._push(asked)
        return self._operate(url, asked)

    def _push(self, asked: dict[str, Any]) -> Any:
        world = self._world
        actor = world.actor
        assert actor is not None
        chance, odds = actor.chance, world.odds
        if chance.random() < odds.push_not_sent:
            world.meet("push not sent", actor.process.name)
            raise requests.ConnectTimeout(ConnectTimeoutError())
        if chance.random() < odds.push_refused:
            world.meet("push refused", actor.process.name)
            return _Response(*_BUSY)
        reply = self._mpesa.push(asked, chance)
        if chance.random() < odds.slow_answer:
            world.wait(chance.uniform(0.1, 14.0))
        if chance.random() < odds.push_answer_lost:
            self._lose_answer("push answer lost")
        return _answer(reply)

    def _operate(self, url: str, asked: dict[str, Any]) -> Any:
        world = self._world
        actor = world.actor
        assert actor is not None
        chance, odds = actor.chance, world.odds
        if chance.random() < odds.reversal_refused:
            world.meet("operator's request refused", actor.process.name)
            if chance.random() < 0.5:
                raise requests.ConnectTimeout(ConnectTimeoutError())
            return _Response(*_BUSY)
        reply = self._till.take(url, asked, chance)
        if chance.random() < odds.reversal_answer_lost:
            self._lose_answer("operator's answer lost")
        return _answer(reply)

    def _lose_answer(self, fault: str) -> None:
        world = self._world
        actor = world.actor
        assert actor is not None
        world.meet(fault, actor.process.name)
        if actor.chance.random() < 0.2:
            world.kill(actor.process)
            world.check_alive()
        raise requests.ReadTimeout

    def _query(self, asked: dict[str, Any]) -> Any:
        assert self._world.actor is not None
        chance = self._world.actor.chance
        if chance.random() < self._world.odds.query_nonsense:
            return _Response(*chance.choice(_NONSENSE))
        return _answer(self._mpesa.query(asked))

    def _out_of_reach(self) -> Any:
        assert self._world.actor is not None
        if self._world.actor.chance.random() < 0.5:
            raise requests.ConnectTimeout(ConnectTimeoutError())
        return _Response(503, b"<html><h1>Service Unavailable</h1></html>")

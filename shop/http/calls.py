"""Calls of a shop behind HTTP: signed, bounded, repeated once, and none for a while after many without an answer.

All that is asked may be asked again, so that a lost answer costs nothing but time.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import msgspec
import structlog

from ledger import clock
from ledger.errors import Unavailable
from shop.http import messages
from shop.http.messages import AnswerNotUnderstood

PAUSE_SECONDS = 0.3
"""Before a call that failed at once is repeated: a shop that is being restarted is often back by then."""

REPEAT_WITHIN_SECONDS = 2.0
"""A buyer may be waiting: what took longer to fail is not repeated by this call."""

RETRY_AFTER_SECONDS = 5

Answer = TypeVar("Answer")
Value = TypeVar("Value")
_log = structlog.get_logger(__name__)


class NoAnswer(Exception):
    """The shop could not be reached, or its answer was lost, late or too large; the argument says how, in a word."""


Post = Callable[[str, datetime, bytes], tuple[int, bytes]]
"""Signs a message by its id, moment and body, and posts it to the shop; returns status and body. Raises NoAnswer."""


Send = Callable[[Mapping[str, str], bytes], tuple[int, bytes]]
"""Posts a body with these headers; returns status and body. Raises NoAnswer."""


class Breaker(Protocol):
    """Says when not to call."""

    def seconds_to_wait(self, now: datetime) -> int | None:
        """Return for how many seconds not to call; None if this caller may call now."""

    def record_success(self) -> None:
        """The shop gave an answer that could be understood."""

    def record_failure(self, now: datetime) -> None:
        """The shop gave none."""


class ShopCalls:
    """Calls one shop. Safe to share between threads."""

    def __init__(self, post: Post, breaker: Breaker, sleep: Callable[[float], None] = time.sleep) -> None:
        self._post = post
        self._breaker = breaker
        self._sleep = sleep

    def ask(
        self,
        kind: str,
        data: Mapping[str, Any],
        shape: type[Answer],
        read: Callable[[Answer], Value],
    ) -> Value:
        """Ask the shop, and return what is `read` of its answer. Raises Unavailable SHOP_UNAVAILABLE without one."""
        wait = self._breaker.seconds_to_wait(clock.now())
        if wait is not None:
            raise _unavailable(wait)
        message_id, began = f"msg_{uuid4().hex}", time.monotonic()
        try:
            try:
                value = read(self._answer(message_id, kind, data, shape))
            except NoAnswer:
                if time.monotonic() - began >= REPEAT_WITHIN_SECONDS:
                    raise
                self._sleep(PAUSE_SECONDS)
                value = read(self._answer(message_id, kind, data, shape))
        except (NoAnswer, AnswerNotUnderstood) as fault:
            _log.error("shop_did_not_answer", asked=kind, fault=str(fault))
            self._breaker.record_failure(clock.now())
            raise _unavailable(RETRY_AFTER_SECONDS) from None
        self._breaker.record_success()
        return value

    def _answer(self, message_id: str, kind: str, data: Mapping[str, Any], shape: type[Answer]) -> Answer:
        """Send a request once. Raises NoAnswer, of which a repeat may make an answer, and AnswerNotUnderstood."""
        now = clock.now()
        status, body = self._post(message_id, now, messages.request_of(kind, now, data))
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswer(f"status {status}")
        if (
            status != HTTPStatus.OK
        ):  # A proxy's 404 must not be taken for a refusal, which would cost the buyer the order.
            raise AnswerNotUnderstood(f"status {status}")
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.MsgspecError as error:  # It names the place and what is due there, never a value.
            raise AnswerNotUnderstood(str(error)) from None
        except RecursionError:  # Of what we do not know, too.
            raise AnswerNotUnderstood("it is nested too deeply") from None


def _unavailable(seconds: int) -> Unavailable:
    return Unavailable(
        "The shop does not answer. Please try again shortly.",
        code="SHOP_UNAVAILABLE",
        retry_after_seconds=seconds,
    )

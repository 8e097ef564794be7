"""Calls are signed, repeated once where that is safe and quick, and not made while the shop does not answer."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from freezegun import freeze_time
from standardwebhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from ledger import clock
from ledger.errors import Unavailable
from ledger.identifiers import UNNAMED_USERS
from payments.checkout.circuit_breaker import MAX_FAILURES, MAX_OPEN, CircuitBreaker
from payments.webhooks.signing import new_secret, signed_headers
from shop.http import HttpShop
from shop.http.calls import PAUSE_SECONDS, NoAnswer, ShopCalls
from shop.http.messages import ReturnAnswer
from shop.port import OrderRequest

GOOD = (200, b'{"returned": true}')


class ShopDouble:
    """Answers in turn with what is in `answers`, the last again and again."""

    def __init__(self, *answers: tuple[int, bytes] | Exception) -> None:
        self.answers = list(answers)
        self.ids: list[str] = []
        self.pauses: list[float] = []
        self.calls = ShopCalls(self._post, CircuitBreaker(), self.pauses.append)

    def _post(self, message_id: str, _: datetime, __: bytes) -> tuple[int, bytes]:
        self.ids.append(message_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self) -> bool:
        return self.calls.ask("return_goods", {}, ReturnAnswer, lambda answer: answer.returned)


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_id() -> None:
    shop = ShopDouble(NoAnswer("lost"), GOOD)
    assert shop.ask() is True
    assert (len(shop.ids), len(set(shop.ids)), shop.pauses) == (2, 1, [PAUSE_SECONDS])
    shop.ask()
    assert len(set(shop.ids)) == 2


@pytest.mark.parametrize("answer", [NoAnswer("late"), (500, b""), (503, b""), (429, b"")])
def test_a_call_is_repeated_once_and_no_more(answer: tuple[int, bytes] | Exception) -> None:
    shop = ShopDouble(answer)
    with pytest.raises(Unavailable) as caught:
        shop.ask()
    assert caught.value.code == "SHOP_UNAVAILABLE"
    assert len(shop.ids) == 2


def test_what_took_long_to_fail_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = ShopDouble(NoAnswer("late"))
    moments = iter([0.0, 2.0])
    monkeypatch.setattr("shop.http.calls.time.monotonic", lambda: next(moments))
    with pytest.raises(Unavailable):
        shop.ask()
    assert len(shop.ids) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (404, b""),
        (302, b""),
        (201, GOOD[1]),
        (200, b""),
        (200, b'{"returned": "John Doe"}'),
        (200, b'{"returned": true, "more": ' + 100_000 * b"[" + 100_000 * b"]" + b"}"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_not_asked_for_again_and_not_logged(
    answer: tuple[int, bytes],
) -> None:
    shop = ShopDouble(answer)
    with capture_logs() as logs, pytest.raises(Unavailable):
        shop.ask()
    assert len(shop.ids) == 1
    [told] = logs
    assert (told["event"], told["asked"]) == ("shop_did_not_answer", "return_goods")
    assert told["fault"]
    assert "John" not in str(told)


def test_a_shop_that_never_answers_is_left_alone_until_it_is_tried_again() -> None:
    shop = ShopDouble((404, b""))
    with freeze_time("2026-11-16T07:30:00Z") as frozen:
        for _ in range(MAX_FAILURES + 5):
            with pytest.raises(Unavailable):
                shop.ask()
        assert len(shop.ids) == MAX_FAILURES
        with pytest.raises(Unavailable) as caught:
            shop.ask()
        assert 0 < caught.value.retry_after_seconds <= MAX_OPEN.total_seconds()
        shop.answers = [GOOD]
        frozen.tick(MAX_OPEN)
        assert shop.ask() is shop.ask() is True


def test_the_library_of_webhooks_verifies_a_request_by_each_secret_that_is_good_now() -> None:
    old, new, body = new_secret(), new_secret(), b'{"type": "quote"}'
    headers = signed_headers("msg_1", clock.now(), body, [old, new])
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers) == {"type": "quote"}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    late = signed_headers("msg_1", clock.now() - timedelta(minutes=6), body, [new])
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, late)


@pytest.mark.parametrize(("user_id", "user"), [(7, "user 7"), (UNNAMED_USERS.start, None)])
def test_a_buyer_whom_nobody_named_is_called_by_no_name(user_id: int, user: str | None) -> None:
    bodies: list[bytes] = []

    def post(_: str, __: datetime, body: bytes) -> tuple[int, bytes]:
        bodies.append(body)
        return 200, b'{"order": {"order_number": "A-1"}}'

    shop = HttpShop(ShopCalls(post, CircuitBreaker()), lambda *_: None, lambda user_id: f"user {user_id}")
    shop.create_order(OrderRequest(uuid4(), user_id, (), 350_00, 0, {}, clock.now()))
    assert json.loads(bodies[0])["data"]["user"] == user

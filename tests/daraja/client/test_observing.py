"""Each call is observed once, by its operation and by a code of a closed set."""

from collections.abc import Callable

import pytest

from daraja import DarajaClient
from daraja.daraja_errors import SubmissionError
from tests.daraja.client import scripted
from tests.daraja.client.conftest import ACCEPTANCE, CHECKOUT_ID, NOW, make_config, make_store
from tests.daraja.client.scripted import Deed, Script, error_reply, html_reply, json_reply

PUSH = {
    "phone": "254712345678",
    "amount_shillings": 10,
    "callback_url": "https://shop.example/back/",
    "account_reference": "D1",
    "description": "Payment",
}


def observed(script: Script, call: Callable[[DarajaClient], object]) -> list[tuple[str, str]]:
    """Return what was observed of a call of a client without a token."""
    seen: list[tuple[str, str]] = []

    def observe(seconds: float, operation: str, code: str) -> None:
        assert seconds >= 0
        seen.append((operation, code))

    config = make_config(base_url=script.base_url)
    client = DarajaClient(config, make_store(), clock=lambda: NOW, observe=observe)
    try:
        call(client)
    except SubmissionError:
        pass
    finally:
        client.close()
    return seen


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (json_reply(200, ACCEPTANCE), "0"),
        (error_reply(500, "500.001.1001", "Wrong credentials"), "500.001.1001"),
        (error_reply(400, "254712345678", "Made up"), "http_4xx"),
        (json_reply(200, {"surprise": True}), "http_2xx"),
        (html_reply(503), "http_5xx"),
        (scripted.hang_up, "answer_lost"),
    ],
)
def test_a_push_is_observed_by_its_code_and_so_is_its_token(script: Script, deed: Deed, code: str) -> None:
    script.at(scripted.PUSH, deed)
    assert observed(script, lambda client: client.push(**PUSH)) == [("token", "0"), ("push", code)]  # type: ignore[arg-type]  # of several types


@pytest.mark.parametrize(("result", "code"), [("0", "0"), ("1032", "1032"), ("31415926", "unknown_result")])
def test_a_query_is_observed_by_the_result_code_if_we_know_it(script: Script, result: str, code: str) -> None:
    answer = {"ResponseCode": "0", "ResultCode": result, "CheckoutRequestID": CHECKOUT_ID}
    script.at(scripted.QUERY, json_reply(200, answer))
    assert observed(script, lambda client: client.query(CHECKOUT_ID)) == [("token", "0"), ("query", code)]


def test_a_call_that_reaches_nobody_is_not_sent(script: Script, free_port: int) -> None:
    script.base_url = f"http://127.0.0.1:{free_port}"
    assert observed(script, lambda client: client.push(**PUSH)) == [("token", "not_sent")]  # type: ignore[arg-type]  # as above

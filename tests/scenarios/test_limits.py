"""What one user may have open, and whom they may prompt, through the API."""

from tests.scenarios.steps import CANCELS, PHONE, TOMATOES, Clock, approve, prompt_of, put_in_cart
from tests.support.instance import Client, Instance


def test_a_user_cannot_prompt_many_strangers(instance: Instance, buyer: Client) -> None:
    answers = []
    for number in range(12):
        session_id = buyer.create().json()["session_id"]
        answers.append(buyer.initiate(session_id, phone_number=f"07110000{number:02}"))
    assert [answer.status_code for answer in answers] == [*[200] * 10, 429, 429]
    assert answers[-1].json()["error_code"] == "PROMPTS_LIMITED"
    assert int(answers[-1].headers["Retry-After"]) > 80_000
    assert len(instance.simulator.prompts()) == 10


def test_a_number_that_declines_twice_is_not_prompted_again_at_once(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    for _ in range(2):
        instance.pay(buyer, phone_number=f"0{CANCELS[3:]}")
        assert instance.simulator.wait_until_idle(20)
    again = buyer.initiate(buyer.create().json()["session_id"], phone_number=f"0{CANCELS[3:]}")
    assert (again.status_code, again.json()["error_code"]) == (429, "PROMPTS_LIMITED")
    clock.tick(int(again.headers["Retry-After"]))
    assert instance.pay(buyer, phone_number=f"0{CANCELS[3:]}")


def test_the_own_user_of_a_number_pays_as_soon_as_they_decline_a_strangers_prompt(
    instance: Instance, buyer: Client
) -> None:
    instance.pay(buyer)
    approve(instance)
    stranger = instance.client(2)
    put_in_cart(stranger, TOMATOES, "1")
    refused = set()
    for _ in range(3):
        answer = stranger.initiate(stranger.create().json()["session_id"])
        if answer.status_code == 200:
            instance.simulator.cancel(prompt_of(instance, PHONE).checkout_request_id)
            assert instance.simulator.wait_until_idle(20)
        else:
            refused.add(answer.json()["error_code"])
    assert refused == {"PROMPTS_LIMITED"}
    put_in_cart(buyer, TOMATOES, "1")
    assert instance.pay(buyer)


def test_a_user_has_so_many_sessions_open(clock: Clock, buyer: Client) -> None:
    made = [buyer.create() for _ in range(101)]
    assert {answer.status_code for answer in made[:100]} == {201}
    assert (made[100].status_code, made[100].json()["error_code"]) == (429, "TOO_MANY_SESSIONS")
    clock.tick(int(made[100].headers["Retry-After"]))
    assert buyer.create().status_code == 201

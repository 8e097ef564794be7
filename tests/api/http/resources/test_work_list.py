"""Operators read the work list and act on its cases."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.session.outcome_commands import NOT_PAID
from ledger.session.values import ATTEMPT_MAY_TAKE, Evidence
from payments.exceptions.next_steps import WHAT_CAN_BE_DONE, Kind, Means
from payments.reconciliation.movements import Movement, MovementKind
from tests.scenarios.steps import (
    ANSWER_AND_CALLBACK_LOST,
    CANCELS,
    TOMATOES,
    at_once,
    callback,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    report,
)
from tests.support.instance import Instance, running_instance

WORK_LIST = "/api/work-list/"
NOTE = {"note": "Looked at it."}
SYSTEM_USER_ID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def contradicted(instance: Instance) -> str:
    """Let M-Pesa say cancelled, and then paid; return the session."""
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = instance.pay(buyer, phone_number=CANCELS)
    instance.work()
    prompt = prompt_of(instance, CANCELS)
    report(instance, own_path(prompt), callback(prompt, MpesaReceiptNumber="UKG7Q2X9LM"))
    instance.work()
    return session_id


def dead_lettered(instance: Instance, times: int = 1) -> None:
    """Let M-Pesa post an unreadable callback about a prompt."""
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    instance.pay(buyer)
    for _ in range(times):
        report(instance, own_path(prompt_of(instance)), b"not JSON")
    instance.work()


def test_an_operator_pages_through_the_open_cases(instance: Instance) -> None:
    dead_lettered(instance, 3)
    operator = instance.client(9, "operator")
    first = operator.get(WORK_LIST, params={"page_size": "2", "kind": "letter_set_aside"}).json()
    assert (first["count"], len(first["results"]), first["previous"]) == (3, 2, None)
    assert "kind=letter_set_aside" in first["next"]
    second = operator.get(first["next"].removeprefix(instance.base_url)).json()
    assert (len(second["results"]), second["next"]) == (1, None)
    cases = first["results"] + second["results"]
    assert len({case["case_id"] for case in cases}) == 3
    assert all(case["what_can_be_done"] and case["age_seconds"] >= 0 for case in cases)
    assert operator.get(WORK_LIST, params={"kind": "anything"}).status_code == 400


def test_a_case_names_the_endpoints_that_resolve_it_and_they_do(instance: Instance) -> None:
    session_id = contradicted(instance)
    operator = instance.client(9, "operator")
    shown = operator.get(WORK_LIST).json()
    [case] = shown["results"]
    assert (case["kind"], case["session_id"], case["amount"]) == ("contradiction", session_id, 350.0)
    [action] = case["actions"]
    assert (action["name"], action["field"]) == ("close", "note")
    tallies = {tally["kind"]: (tally["count"], tally["amount"]) for tally in shown["by_kind"]}
    assert tallies["contradiction"] == (1, 350.0)
    assert set(tallies) == {str(kind) for kind in Kind}

    answer = operator.post(action["path"], json=NOTE)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    instance.work()
    assert operator.get(WORK_LIST).json()["count"] == 0
    [[closed_by, note]] = observe(
        instance,
        "SELECT state->>'closed_by', state->>'note' FROM payment_events WHERE topic = %s",
        "payment_session.contradiction_closed.v1",
    )
    assert (closed_by, note) == ("operator 9", "Looked at it.")
    again = operator.post(action["path"], json=NOTE)
    assert (again.status_code, again.json()["error_code"]) == (409, "CASE_NOT_OPEN")


def test_an_attempt_in_doubt_that_an_operator_closes_ends_unpaid(instance: Instance) -> None:
    with freeze_time(clock.now() - ATTEMPT_MAY_TAKE):
        buyer = instance.client(1)
        put_in_cart(buyer, TOMATOES, "2")
        session_id = buyer.create().json()["session_id"]
        assert buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    instance.work()
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    assert (case["kind"], [action["name"] for action in case["actions"]]) == ("attempt_in_doubt", ["close"])
    assert operator.post(case["actions"][0]["path"], json=NOTE).status_code == 200
    shown = instance.client(1).status(session_id)
    assert (shown["session_status"], shown["reason"]["code"], shown["can_retry"]) == (
        "failed",
        NOT_PAID,
        True,
    )
    assert operator.post(case["actions"][0]["path"], json=NOTE).json()["error_code"] == "CASE_NOT_OPEN"
    instance.work()
    assert operator.get(WORK_LIST).json()["count"] == 0


def test_an_operator_allocates_an_unmatched_payment(instance: Instance) -> None:
    movement = Movement(
        MovementKind.PAYMENT, "UKG7Q2X9LM", 350_00, clock.now(), Evidence.C2B, reference="my tomatoes"
    )
    instance.services.worker.matcher.ingest([movement])
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = buyer.create().json()["session_id"]
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    assert [(action["name"], action["field"]) for action in case["actions"]] == [
        ("assign", "session"),
        ("close", "note"),
    ]
    path = case["actions"][0]["path"]
    for said, code in (
        ("nonsense", "INVALID_INPUT"),
        (SYSTEM_USER_ID, "SESSION_NOT_FOUND"),
        (session_id, "CASE_NEEDS_MORE"),
    ):
        assert operator.post(path, json={"session": said}).json()["error_code"] == code
    buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST)
    answers = at_once(
        [
            partial(instance.client(user, "operator").post, path, json={"session": session_id})
            for user in (7, 8)
        ]
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert operator.get(WORK_LIST).json()["count"] == 0
    [[by, note]] = observe(instance, "SELECT closed_by, note FROM mpesa_movements")
    assert by in ("operator 7", "operator 8")
    assert session_id in note


def test_of_two_operators_who_close_a_case_one_succeeds(instance: Instance) -> None:
    dead_lettered(instance)
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    path = case["actions"][0]["path"]
    answers = at_once(
        [partial(instance.client(user, "operator").post, path, json=NOTE) for user in (7, 8, 9)]
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    [[state, closed_by]] = observe(instance, "SELECT state, closed_by FROM daraja_inbox")
    winner = [answer.status_code for answer in answers].index(200) + 7
    assert (state, closed_by) == ("closed", f"operator {winner}")


def test_a_message_is_retried_and_listed_again_if_it_fails_again(instance: Instance) -> None:
    dead_lettered(instance)
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    retry = next(action for action in case["actions"] if action["name"] == "retry")
    assert operator.post(retry["path"]).status_code == 200
    assert operator.get(WORK_LIST).json()["count"] == 0
    assert operator.post(retry["path"]).json()["error_code"] == "CASE_NOT_OPEN"
    instance.work()
    [back] = operator.get(WORK_LIST).json()["results"]
    assert back["case_id"] == case["case_id"]


def test_a_dead_lettered_event_is_retried_or_closed(instance: Instance) -> None:
    session_id = contradicted(instance)
    operator = instance.client(9, "operator")
    observe_failures = "SELECT version, state FROM follower_failures ORDER BY version"
    with instance.services.database.connection() as connection:
        for version in (1, 2):
            connection.execute(
                "INSERT INTO follower_failures (name, session_id, version, topic, error, tries, first_failed_at, state)"
                " VALUES ('orders', %s, %s, 'payment_session.paid.v1', 'KeyError', 12, now(), 'set_aside')",
                (session_id, version),
            )
    folder = f"{WORK_LIST}reaction_set_aside/orders.{session_id}."
    assert operator.post(f"{folder}1/retry/").status_code == 200
    assert operator.post(f"{folder}2/close/", json=NOTE).status_code == 200
    assert observe(instance, observe_failures) == [(1, "retrying"), (2, "closed")]
    for path in (f"{folder}1/retry/", f"{folder}2/retry/", f"{folder}3/retry/"):
        assert operator.post(path).status_code == 409
    assert operator.post(f"{folder}2/close/", json=NOTE).status_code == 409


def test_a_case_that_does_not_exist_cannot_be_closed(instance: Instance) -> None:
    operator = instance.client(9, "operator")
    names = (
        "x",
        SYSTEM_USER_ID,
        f"{SYSTEM_USER_ID}.refund.1",
        "orders.x.1",
        f"orders.{SYSTEM_USER_ID}.99999999999",
        "payment.X",
        "a.b",
    )
    for kind in (kind for kind in Kind if Means.CLOSE in WHAT_CAN_BE_DONE[kind].means):
        for case_id in names:
            answer = operator.post(f"{WORK_LIST}{kind}/{case_id}/close/", json=NOTE)
            assert (answer.status_code, answer.json()["error_code"]) == (409, "CASE_NOT_OPEN")
    answer = operator.post(f"{WORK_LIST}contradiction/{SYSTEM_USER_ID}.contradiction.1/close/", json=NOTE)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "SESSION_NOT_FOUND")


def test_a_case_that_closing_does_not_resolve_says_what_does(instance: Instance) -> None:
    operator = instance.client(9, "operator")
    bodies = {Means.CLOSE: NOTE, Means.RETRY: {}, Means.ASSIGN: {"session": SYSTEM_USER_ID}}
    for kind in Kind:
        for means, body in bodies.items():
            if means not in WHAT_CAN_BE_DONE[kind].means:
                answer = operator.post(f"{WORK_LIST}{kind}/{SYSTEM_USER_ID}/{means}/", json=body)
                assert (answer.status_code, answer.json()["error_code"]) == (409, "CASE_NEEDS_MORE")
    assert operator.post(f"{WORK_LIST}nonsense/1/close/", json=NOTE).json()["error_code"] == "CASE_NOT_FOUND"


def test_a_note_with_personal_data_closes_nothing(instance: Instance) -> None:
    dead_lettered(instance)
    operator = instance.client(9, "operator")
    [case] = operator.get(WORK_LIST).json()["results"]
    for note in ("", "Call 0712345678", "x" * 201, None, 7):
        answer = operator.post(case["actions"][0]["path"], json={"note": note})
        assert answer.status_code == 400
        assert "note" in answer.json()["errors"]
    assert operator.get(WORK_LIST).json()["count"] == 1


@pytest.mark.parametrize(
    ("role", "status"), [("operator", 200), ("auditor", 200), ("analyst", 403), ("customer", 403)]
)
def test_auditors_read_the_work_list(instance: Instance, role: str, status: int) -> None:
    assert instance.client(9, role).get(WORK_LIST).status_code == status


@pytest.mark.parametrize("role", ["customer", "analyst", "auditor"])
def test_only_operators_act_on_cases(instance: Instance, role: str) -> None:
    for what in ("close", "retry", "assign"):
        answer = instance.client(9, role).post(
            f"{WORK_LIST}letter_set_aside/{SYSTEM_USER_ID}/{what}/", json=NOTE
        )
        assert answer.status_code == 403

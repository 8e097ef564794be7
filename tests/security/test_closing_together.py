"""Operators close many cases of one kind with one note: each on its own account, and none that decides about money."""

import base64
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from payments.exceptions.next_steps import Kind
from payments.exceptions.resolutions import MAX_CLOSED_TOGETHER
from tests.api.cli.support import daftari
from tests.scenarios.steps import observe
from tests.security.acts import refused
from tests.security.test_operators import proof_of, refund_due, unmatched
from tests.support.checkouts import Checkout
from tests.support.instance import Instance

NOTE = "Looked at them in the statement."


def contradicted(instance: Instance, *users: int) -> list[str]:
    """Return the cases of payments of users about which sources disagree."""
    ledger = instance.services.ledger
    made = [
        Checkout(ledger, user_id=user).prompt().cancel().pay(f"UKG7Q2X9L{user}").order(user) for user in users
    ]
    instance.work()
    return [f"{checkout.session_id}.contradiction.1" for checkout in made]


def close(instance: Instance, kind: str, cases: list[str], user: int = 9, note: str = NOTE) -> Any:
    body = {"note": note, "cases": cases}
    return instance.client(user, "operator").post(f"/api/work-list/{kind}/close/", json=body)


def test_each_is_closed_by_its_own_entry_and_the_operators_own_is_named(instance: Instance) -> None:
    mine, *others = contradicted(instance, 9, 1, 2)
    answer = close(instance, "contradiction", [*others, mine, others[0], "x"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["closed"] == others
    assert [(each["case_id"], each["error_code"]) for each in answer.json()["not_closed"]] == [
        (mine, "OWN_PAYMENT"),
        ("x", "CASE_NOT_OPEN"),
    ]
    entries = observe(
        instance, "SELECT subject, actor, reason FROM audit_log WHERE kind = 'decision' ORDER BY 1"
    )
    assert entries == sorted((f"contradiction {case}", "user:9", NOTE) for case in others)
    again = close(instance, "contradiction", others).json()
    assert [each["error_code"] for each in again["not_closed"]] == ["CASE_NOT_OPEN"] * 2


def test_cases_that_decide_about_money_are_closed_one_by_one(instance: Instance) -> None:
    path, refund = unmatched(instance), refund_due(instance)
    for kind, case in (
        ("money_unknown", path.split("/")[-2]),
        ("refund_due", f"{refund.split('/')[-3]}.refund.1"),
        ("attempt_in_doubt", "x"),
        ("decision_proposed", "x"),
    ):
        assert refused(close(instance, kind, [case])) == (409, "CASE_NEEDS_MORE")
    assert observe(instance, "SELECT closed_by FROM mpesa_movements") == [(None,)]
    event = f"orders.{refund.split('/')[-3]}.4"
    [left] = close(instance, "reaction_set_aside", [event]).json()["not_closed"]
    assert left["error_code"] == "CASE_NEEDS_MORE"


@pytest.mark.parametrize("cases", [[], [str(number) for number in range(MAX_CLOSED_TOGETHER + 1)], [1], "x"])
def test_how_many_are_closed_at_once_is_bounded(instance: Instance, cases: Any) -> None:
    assert close(instance, "contradiction", cases).status_code == 400
    assert close(instance, "nonsense", ["x"]).status_code == 404
    assert close(instance, "contradiction", ["x"], note="Call 0712345678").status_code == 400


def test_an_auditor_closes_nothing_together(instance: Instance) -> None:
    [case] = contradicted(instance, 1)
    body = {"note": NOTE, "cases": [case]}
    answer = instance.client(9, "auditor").post("/api/work-list/contradiction/close/", json=body)
    assert answer.status_code == 403


def test_the_work_page_closes_those_ticked_or_all_that_it_shows(instance: Instance) -> None:
    mine, first, second = contradicted(instance, 9, 1, 2)
    page = instance.anonymous()
    token = str(instance.client(9, "operator").headers["Authorization"])
    page.post("/console/sign-in/", data={"token": token, "proof": proof_of(page)})
    shown = page.get("/console/work/?kind=contradiction").text
    assert shown.count('form="together"') == 3
    assert 'form="together"' not in page.get("/console/work/").text
    form = {"kind": "contradiction", "text": NOTE, "proof": proof_of(page)}
    assert (
        page.post("/console/work/close-together/", data=form | {"proof": "x", "ticked": [first]}).status_code
        == 403
    )
    answer = page.post(
        "/console/work/close-together/", data=form | {"which": "ticked", "ticked": [first], "shown": [mine]}
    )
    assert "1 closed" in answer.text
    answer = page.post(
        "/console/work/close-together/", data=form | {"which": "shown", "shown": [mine, first, second]}
    )
    assert "1 closed" in answer.text
    assert f"{mine}: This is your own" in answer.text
    assert f"{first}: " in answer.text


def test_the_command_closes_the_oldest_of_a_kind(instance: Instance, data_folder: Path) -> None:
    cases = contradicted(instance, 1, 2, 3)
    types: Callable[..., CompletedProcess[str]] = lambda *arguments: daftari(  # noqa: E731 - as the tests of commands do
        "work-list",
        "close",
        str(Kind.CONTRADICTION),
        *arguments,
        "--by",
        "9",
        "--note",
        NOTE,
        DATABASE_URL=str(instance.settings.database_url),
        DAFTARI_DATA_DIR=str(data_folder),
        DAFTARI_MASTER_KEY=base64.b64encode(instance.settings.daftari_master_key).decode(),
    )
    assert types().returncode == 2
    result = types(*cases[:2])
    assert (result.returncode, result.stdout) == (0, "2 cases are closed.\n"), result.stderr
    instance.work()
    result = types("--oldest", "10")
    assert (result.returncode, result.stdout) == (0, "1 cases are closed.\n"), result.stderr
    result = types(*cases[:2])
    assert (result.returncode, result.stdout) == (1, "0 cases are closed.\n")
    assert result.stderr.count("There is no such case") == 2

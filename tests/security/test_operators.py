"""Two operators at once, and an operator with a stake: no one decides about their own, and much money takes two."""

import hashlib
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.session.values import Evidence, RefundState
from payments.operators.proposals import VALID_FOR
from payments.reconciliation.movements import Movement, MovementKind
from tests.scenarios.steps import (
    ANSWER_AND_CALLBACK_LOST,
    PHONE,
    TOMATOES,
    at_once,
    event_names,
    observe,
    put_in_cart,
)
from tests.security.acts import NOT_ALONE, OWN, refused
from tests.support.checkouts import Checkout
from tests.support.instance import Client, Instance, running_instance

WORK_LIST = "/api/work-list/"
REFUNDS = "/api/payments/refunds/"
RECEIPT = "UKG7Q2X9LM"


def unmatched(instance: Instance, *, payer: str | None = None, receipt: str = RECEIPT) -> str:
    """Let M-Pesa report a payment that names no session; return the path of its case."""
    movement = Movement(
        MovementKind.PAYMENT, receipt, 350_00, clock.now(), Evidence.C2B, reference="rent", payer=payer
    )
    instance.services.worker.matcher.ingest([movement])
    return f"{WORK_LIST}money_unknown/payment.{receipt}/"


def in_doubt(instance: Instance, user: int, phone: str = ANSWER_AND_CALLBACK_LOST) -> str:
    """Return a session of a user whose prompt was lost."""
    buyer = instance.client(user)
    put_in_cart(buyer, TOMATOES, "2")
    session_id: str = buyer.create().json()["session_id"]
    buyer.initiate(session_id, phone_number=phone)
    return session_id


def refund_due(instance: Instance, user: int = 1, receipt: str = "UKG7Q2X9RR") -> str:
    """Return the path of a refund of 350 shillings that is due to a user."""
    begun_at = clock.now() - timedelta(minutes=1)
    checkout = Checkout(instance.services.ledger, user_id=user, at=begun_at).prompt().pay(receipt)
    checkout.refuse_order()
    instance.work()
    return f"{REFUNDS}{checkout.session_id}/1/"


def proposed(instance: Instance, user: int = 8) -> list[dict[str, Any]]:
    """Return the proposals on the work list, as an operator sees them."""
    query = {"kind": "decision_proposed"}
    found: list[dict[str, Any]] = (
        instance.client(user, "operator").get(WORK_LIST, params=query).json()["results"]
    )
    return found


def test_an_operator_does_not_allocate_a_payment_to_their_own_session(instance: Instance) -> None:
    path = unmatched(instance)
    session_id = in_doubt(instance, 9)
    insider = instance.client(9, "customer", "operator")
    answer = insider.post(f"{path}assign/", json={"session": session_id})
    assert refused(answer) == OWN
    assert "another operator" in answer.json()["message"]
    assert observe(instance, "SELECT verdict, closed_by FROM mpesa_movements") == [("unknown", None)]
    assert instance.client(8, "operator").post(f"{path}assign/", json={"session": session_id}).ok


@pytest.mark.parametrize("way", ["plain", "hashed"])
def test_an_operator_does_not_decide_about_a_payment_from_their_own_phone(
    instance: Instance, way: str
) -> None:
    in_doubt(instance, 9, PHONE)
    digits = "254712345678"
    payer = digits if way == "plain" else hashlib.sha256(digits.encode()).hexdigest()
    path = unmatched(instance, payer=payer)
    strangers = in_doubt(instance, 1)
    insider = instance.client(9, "operator")
    assert refused(insider.post(f"{path}assign/", json={"session": strangers})) == OWN
    assert refused(insider.post(f"{path}close/", json={"note": "Looked at it."})) == OWN
    assert instance.client(8, "operator").post(f"{path}close/", json={"note": "Looked at it."}).ok


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("approve", {}),
        ("refuse", {"reason": "Held."}),
        ("returned", {"note": "Cash."}),
        ("not-sent", {"note": "No."}),
    ],
)
def test_an_operator_does_not_decide_about_their_own_refund(
    instance: Instance, what: str, fields: dict[str, str]
) -> None:
    path = refund_due(instance, user=9)
    assert refused(instance.client(9, "operator").post(f"{path}{what}/", json=fields)) == OWN
    assert instance.client(9, "operator").get(path).json()["state"] == "due"


def test_an_operator_closes_and_retries_no_case_of_their_own(instance: Instance) -> None:
    checkout = Checkout(instance.services.ledger, user_id=9).prompt().cancel().pay().order()
    instance.work()
    with instance.services.database.connection() as connection:
        connection.execute(
            "INSERT INTO follower_failures (name, session_id, version, topic, error, tries, first_failed_at, state)"
            " VALUES ('orders', %s, 1, 'payment_session.paid.v1', 'KeyError', 12, now(), 'set_aside')",
            (checkout.session_id,),
        )
    own = instance.client(9, "operator")
    for case, action in (
        (f"contradiction/{checkout.session_id}.contradiction.1", "close"),
        (f"reaction_set_aside/orders.{checkout.session_id}.1", "close"),
        (f"reaction_set_aside/orders.{checkout.session_id}.1", "retry"),
    ):
        answer = own.post(f"{WORK_LIST}{case}/{action}/", json={"note": "Mine."} if action == "close" else {})
        assert refused(answer) == OWN, case


def proof_of(page: Client) -> str:
    """Return the proof in the forms of the console."""
    return str(page.get("/console/work/").text.split('name="proof" value="')[1].split('"')[0])


def test_the_work_page_refuses_an_operator_with_a_stake(instance: Instance) -> None:
    path = refund_due(instance, user=9)
    case_id = f"{path.split('/')[-3]}.refund.1"
    page = instance.anonymous()
    token = str(instance.client(9, "operator").headers["Authorization"])
    page.post("/console/sign-in/", data={"token": token, "proof": proof_of(page)})
    form = {"kind": "refund_due", "case_id": case_id, "action": "approve", "proof": proof_of(page)}
    answer = page.post("/console/work/act/", data=form)
    assert answer.status_code == 403
    assert "ask another operator" in answer.text


def test_below_the_amount_one_operator_decides(database_url: str, data_folder: Path) -> None:
    with running_instance(database_url, data_folder, DAFTARI_FOUR_EYES_FROM="350.01") as instance:
        path = refund_due(instance)
        answer = instance.client(9, "operator").post(f"{path}approve/")
        assert (answer.status_code, answer.json()["state"]) == (200, "approved")


def test_a_refund_of_much_money_is_proposed_by_one_and_approved_by_another(careful: Instance) -> None:
    path = refund_due(careful)
    first, second = careful.client(9, "operator"), careful.client(8, "operator")
    answer = first.post(f"{path}approve/")
    assert (answer.status_code, answer.json()["state"]) == (202, "due")
    proposal = answer.json()["proposal"]
    assert (proposal["proposed_by"], proposal["amount"]) == ("operator 9", 350.0)
    assert refused(first.post(f"{path}approve/")) == NOT_ALONE
    assert refused(first.post(proposal["approve"])) == NOT_ALONE
    [case] = proposed(careful)
    assert [action["name"] for action in case["actions"]] == ["approve", "withdraw"]
    assert second.post(case["actions"][0]["path"]).status_code == 200
    shown = first.get(path).json()
    assert (shown["state"], shown["approved_by"]) == ("approved", "operator 8, proposed by operator 9")
    assert proposed(careful) == []
    assert second.post(case["actions"][0]["path"]).status_code == 409


def test_who_decides_the_same_approves_what_was_proposed(careful: Instance) -> None:
    path = refund_due(careful)
    note = {"note": "Paid out at the counter."}
    assert careful.client(9, "operator").post(f"{path}returned/", json=note).status_code == 202
    other = {"note": "Cash, as my colleague says."}
    assert careful.client(8, "operator").post(f"{path}returned/", json=other).status_code == 200
    shown = careful.client(8, "operator").get(path).json()
    assert (shown["state"], shown["note"]) == ("refunded", "Paid out at the counter.")
    assert shown["recorded_by"] == "operator 8, proposed by operator 9"


def test_the_buyer_is_not_the_second_person(careful: Instance) -> None:
    path = refund_due(careful, user=8)
    proposal = careful.client(9, "operator").post(f"{path}approve/").json()["proposal"]
    assert refused(careful.client(8, "operator").post(proposal["approve"])) == OWN
    assert careful.client(7, "operator").post(proposal["approve"]).status_code == 200


def test_two_who_approve_at_once_have_one_effect(careful: Instance) -> None:
    for round_ in range(5):
        path = refund_due(careful, receipt=f"UKG7Q2X9R{round_}")
        proposal = careful.client(9, "operator").post(f"{path}approve/").json()["proposal"]
        approvers = [careful.client(user, "operator") for user in (6, 7, 8)]
        answers = at_once([partial(each.post, proposal["approve"]) for each in approvers])
        assert [answer.status_code for answer in answers].count(200) == 1
        names = event_names(careful, path.split("/")[-3])
        assert names.count("RefundApproved") == 1


def test_two_who_propose_at_once_have_one_effect(careful: Instance) -> None:
    for round_ in range(5):
        path = refund_due(careful, receipt=f"UKG7Q2X9S{round_}")
        deciders = [careful.client(user, "operator") for user in (6, 7)]
        answers = at_once([partial(each.post, f"{path}approve/") for each in deciders])
        assert sorted(answer.status_code for answer in answers) == [200, 202]
        assert event_names(careful, path.split("/")[-3]).count("RefundApproved") == 1


def test_much_money_is_allocated_and_written_off_by_two(careful: Instance) -> None:
    path = unmatched(careful)
    session_id = in_doubt(careful, 1)
    first, second = careful.client(9, "operator"), careful.client(8, "operator")
    answer = first.post(f"{path}assign/", json={"session": session_id})
    assert (answer.status_code, answer.json()["status"]) == (202, "proposed")
    assert observe(careful, "SELECT verdict FROM mpesa_movements") == [("unknown",)]
    assert second.post(answer.json()["proposal"]["approve"]).status_code == 200
    careful.work()
    assert careful.client(1).status(session_id)["session_status"] == "order_created"
    [[by]] = observe(careful, "SELECT closed_by FROM mpesa_movements")
    assert by == "operator 8, proposed by operator 9"

    other = unmatched(careful, receipt="UKG7Q2X9ZZ")
    assert first.post(f"{other}close/", json={"note": "Rent."}).status_code == 202
    assert second.post(f"{other}close/", json={"note": "Rent."}).status_code == 200


def test_a_proposal_is_decided_again_by_what_is_known_at_its_approval(careful: Instance) -> None:
    path = refund_due(careful)
    session_id = path.split("/")[-3]
    proposal = (
        careful.client(9, "operator").post(f"{path}returned/", json={"note": "Cash."}).json()["proposal"]
    )
    careful.services.ledger.decide(
        UUID(session_id),
        lambda session: session.record_refund(
            1, reversal_receipt="UKG7Q2X9VV", means="statement", at=clock.now()
        ),
    )
    assert refused(careful.client(8, "operator").post(proposal["approve"])) == (409, "REFUND_NOT_DUE")
    shown = careful.client(8, "operator").get(path).json()
    assert (shown["state"], shown["means"]) == ("refunded", "statement")
    assert proposed(careful) == []


def test_a_proposal_is_withdrawn_or_grows_old(careful: Instance) -> None:
    path = refund_due(careful)
    proposal = careful.client(9, "operator").post(f"{path}approve/").json()["proposal"]
    withdraw = proposal["approve"].replace("approve", "withdraw")
    assert careful.client(8, "operator").post(withdraw).status_code == 200
    assert careful.client(8, "operator").post(proposal["approve"]).status_code == 409
    assert careful.client(8, "operator").post(withdraw).status_code == 409
    again = careful.client(9, "operator").post(f"{path}approve/")
    assert again.status_code == 202
    with freeze_time(clock.now() + VALID_FOR):
        assert proposed(careful) == []
        late = careful.client(8, "operator").post(again.json()["proposal"]["approve"])
        assert late.status_code == 409
        assert careful.client(8, "operator").post(f"{path}approve/").status_code == 202


def test_the_policy_only_proposes_much_money_and_a_person_approves(
    database_url: str, data_folder: Path
) -> None:
    variables = {"DAFTARI_REFUND_POLICY": "auto", "DAFTARI_FOUR_EYES_FROM": "350"}
    with running_instance(database_url, data_folder, **variables) as instance:
        path = refund_due(instance)
        instance.work()
        assert instance.client(8, "operator").get(path).json()["state"] == RefundState.DUE
        [case] = proposed(instance)
        assert case["detail"].endswith("proposed by policy:auto")
        assert instance.client(8, "operator").post(case["actions"][0]["path"]).status_code == 200
        shown = instance.client(8, "operator").get(path).json()
        assert shown["approved_by"] == "operator 8, proposed by policy:auto"


@pytest.mark.parametrize("role", ["customer", "analyst", "auditor"])
def test_only_operators_approve_and_withdraw(careful: Instance, role: str) -> None:
    path = refund_due(careful)
    proposal = careful.client(9, "operator").post(f"{path}approve/").json()["proposal"]
    for action in ("approve", "withdraw"):
        answer = careful.client(8, role).post(proposal["approve"].replace("approve", action))
        assert refused(answer) == (403, "ROLE_REQUIRED")

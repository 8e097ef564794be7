"""In an incident an operator stops all prompts, or all refunds; buyers are told why, and the audit log knows who."""

from typing import Any

import pytest
from freezegun import freeze_time

from api.wiring import build_services
from ledger import clock
from payments.operators.operator import Operator
from payments.operators.switches import READ_AGAIN_AFTER, Switch
from tests.scenarios.steps import TOMATOES, approve, put_in_cart
from tests.security.test_operators import refund_due
from tests.support.instance import Instance

SWITCHES = "/api/switches/"
REASON = "M-Pesa charges twice."


def turn(instance: Instance, name: str, position: str, **fields: Any) -> Any:
    """Let an operator turn a switch."""
    body = {"reason": REASON} | fields
    return instance.client(9, "operator").post(f"{SWITCHES}{name}/{position}/", json=body)


def test_while_prompts_are_off_none_is_sent_and_buyers_are_told_why(instance: Instance) -> None:
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = buyer.create().json()["session_id"]
    assert turn(instance, "prompts", "off").status_code == 200
    answer = buyer.initiate(session_id)
    assert (answer.status_code, answer.json()["error_code"]) == (503, "PAYMENTS_PAUSED")
    assert REASON in answer.json()["message"]
    assert int(answer.headers["Retry-After"]) == 60
    shown = buyer.status(session_id)
    assert (shown["paused"], shown["can_retry"], shown["retry_after"]) == (REASON, True, 60)
    assert instance.simulator.prompts() == []
    assert instance.anonymous().get("/readyz").json()["switched_off"] == ["prompts"]
    assert REASON in instance.anonymous().get(f"/shop/sessions/{session_id}/").text

    operator = instance.client(8, "operator")
    [case] = operator.get("/api/work-list/").json()["results"]
    assert (case["kind"], case["detail"]) == ("switched_off", f"prompts, by operator 9: {REASON}")
    [action] = case["actions"]
    assert operator.post(action["path"], json={action["field"]: "It is well again."}).status_code == 200
    assert buyer.status(session_id)["paused"] is None
    assert buyer.initiate(session_id).status_code == 200
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_payment_under_way_is_booked_while_prompts_are_off(instance: Instance) -> None:
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = instance.pay(buyer)
    turn(instance, "prompts", "off")
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_while_refunds_are_off_none_is_sent(instance: Instance) -> None:
    path = refund_due(instance)
    operator = instance.client(9, "operator")
    assert turn(instance, "refunds", "off").status_code == 200
    assert operator.post(f"{path}approve/").status_code == 200
    instance.work()
    assert operator.get(path).json()["state"] == "approved"
    assert turn(instance, "refunds", "on").status_code == 200
    instance.work()
    assert operator.get(path).json()["requested_at"] is not None


def test_another_process_follows_within_a_second(instance: Instance) -> None:
    other = build_services(instance.settings)
    try:
        assert other.switches.off(Switch.PROMPTS) is None
        instance.services.switches.turn("prompts", is_on=False, reason=REASON, by=Operator(9))
        with freeze_time(clock.now() + READ_AGAIN_AFTER):
            state = other.switches.off(Switch.PROMPTS)
        assert state is not None
        assert state.reason == REASON
    finally:
        other.close()


def test_who_turned_a_switch_and_why_is_in_the_audit_log(instance: Instance) -> None:
    turn(instance, "refunds", "off")
    _, entries = instance.services.audit_log.entries(subject="refunds")
    [entry] = entries
    assert (entry.kind, entry.actor, entry.reason) == ("switched_off", "user:9", REASON)


@pytest.mark.parametrize("role", ["customer", "analyst", "auditor"])
def test_only_operators_turn_switches_and_auditors_read(instance: Instance, role: str) -> None:
    for position in ("on", "off"):
        answer = instance.client(8, role).post(f"{SWITCHES}prompts/{position}/", json={"reason": REASON})
        assert answer.status_code == 403
    assert instance.client(8, role).get(SWITCHES).status_code == (200 if role == "auditor" else 403)


def test_a_switch_needs_a_reason_that_may_be_shown_and_its_name(instance: Instance) -> None:
    for reason in ("", "Call 0712345678", "x" * 201, None):
        assert turn(instance, "prompts", "off", reason=reason).status_code == 400
    assert turn(instance, "everything", "off").status_code == 404
    assert instance.client(8, "operator").get(SWITCHES).json()["results"][0]["is_on"] is True

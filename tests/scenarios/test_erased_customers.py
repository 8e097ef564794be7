"""Money that comes after its customer was erased is recorded and due back, and nothing personal is kept of it."""

from typing import Any

import pytest

from tests.scenarios.c2b import c2b_notice, confirm_c2b
from tests.scenarios.steps import (
    CANCELS,
    RECEIPT,
    Clock,
    callback,
    cases,
    count,
    event_names,
    observe,
    own_path,
    prompt_of,
    refund_due_cents,
    report,
)
from tests.support.erasures import erase
from tests.support.instance import Client, Instance
from tests.support.statements import Booking, statement

pytestmark = pytest.mark.usefixtures("clock")

BODIES = (
    "SELECT sealed_body, phone_digests FROM daraja_inbox WHERE channel <> 'status_query' ORDER BY received_at"
)
PAYERS = "SELECT count(*) FROM mpesa_movements WHERE payer_digest IS NOT NULL OR sealed_reference IS NOT NULL"
PAYS_IN_THE_CLEAR = {"MSISDN": CANCELS, "FirstName": "WANJIRU"}


@pytest.fixture
def session_id(clock: Clock, instance: Instance, buyer: Client) -> str:
    """A session that failed, whose customer was erased."""
    session_id = instance.pay(buyer, phone_number=CANCELS)
    assert instance.simulator.wait_until_idle(20)
    instance.work()
    erase(instance.services.database, instance.services.vault, 1)
    clock.tick(60)
    return session_id


def late_callback(instance: Instance) -> None:
    prompt = prompt_of(instance, CANCELS)
    body = callback(prompt, MpesaReceiptNumber=RECEIPT, PhoneNumber=int(CANCELS))
    assert report(instance, own_path(prompt), body).status_code == 200


def late_notice(instance: Instance) -> None:
    reference = prompt_of(instance, CANCELS).account_reference
    confirm_c2b(instance, c2b_notice(RECEIPT, reference, **PAYS_IN_THE_CLEAR))


def late_statement(instance: Instance) -> None:
    reference = prompt_of(instance, CANCELS).account_reference
    booking = Booking(RECEIPT, paid_in=350_00, account=reference, payer=f"{CANCELS} - JANE WANJIRU")
    instance.services.reconciler.reconcile(statement([booking]))


def unauthenticated(instance: Instance) -> None:
    prompt = prompt_of(instance, CANCELS)
    body = callback(prompt, MpesaReceiptNumber="UKGFORGED1", PhoneNumber=int(CANCELS))
    report(instance, "/api/payments/callbacks/", body)


SOURCES: dict[str, Any] = {
    "callback": late_callback,
    "c2b notice": late_notice,
    "statement": late_statement,
}


@pytest.mark.parametrize("source", SOURCES)
def test_late_money_of_an_erased_customer_is_due_back(
    clock: Clock, instance: Instance, session_id: str, source: str
) -> None:
    for _ in range(2):  # M-Pesa may repeat itself.
        SOURCES[source](instance)
        clock.tick(60)
        instance.work()
    names = event_names(instance, session_id)
    assert (names.count("Paid"), names[-1]) == (1, "RefundDue")
    assert refund_due_cents(instance, session_id) == 350_00
    assert count(instance, "shop_orders") == 0
    assert {(body, digests) for body, digests in observe(instance, BODIES)[1:]} <= {("erased", None)}
    assert observe(instance, PAYERS) == [(0,)]
    assert [kind for kind, _ in cases(instance)] == ["contradiction", "refund_due"]
    assert observe(instance, "SELECT count(*) FROM daraja_inbox WHERE state = 'new'") == [(0,)]


def test_an_unauthenticated_callback_about_an_erased_customer_ends_and_keeps_nothing(
    clock: Clock, instance: Instance, session_id: str
) -> None:
    late_callback(instance)
    instance.work()
    unauthenticated(instance)
    for _ in range(3):
        clock.tick(700)
        instance.work()
    assert observe(instance, BODIES)[-1] == ("erased", None)
    assert event_names(instance, session_id).count("Paid") == 1


def test_an_erased_customer_cannot_prompt_a_phone_and_leaves_no_digest(
    instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    erase(instance.services.database, instance.services.vault, 1)
    answer = buyer.initiate(session_id, phone_number=CANCELS)
    assert (answer.status_code, answer.json()["error_code"]) == (410, "ERASED")
    assert (count(instance, "prompt_counts"), count(instance, "live_prompts")) == (0, 0)

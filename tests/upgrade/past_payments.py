"""Payments of the fixture: all the ways in which a session is paid, fails or expires."""

from datetime import timedelta
from unittest import mock

from ledger.session.values import Evidence
from payments.exceptions.next_steps import Kind
from payments.reconciliation.movements import Movement, MovementKind
from shop.builtin import BuiltinShop
from tests.scenarios.steps import CALLBACKS, callback, own_path, prompt_of, receipt_of, report
from tests.upgrade.past import (
    ALL_LOST,
    ANSWER_LOST,
    CALLBACK_LOST,
    CANCELLED,
    NO_FUNDS,
    NO_RESPONSE,
    PAID_AT_ONCE,
    WRONG_PIN,
    Past,
    phone_of,
    phone_that_ends_with,
)


def ordinary_hours(past: Past, paid: int, failed: int, left: int) -> None:
    """Let some buyers pay, some fail, and some leave."""
    for _ in range(paid):
        past.prompt(PAID_AT_ONCE)
    past.work()
    for number in range(failed):
        past.fail((CANCELLED, NO_FUNDS, NO_RESPONSE, WRONG_PIN)[number % 4])
    for number in range(left):
        buyer = past.buyer()
        session_id = buyer.create()
        if number % 4 == 0:
            answer = buyer.client.post(f"/api/payments/sessions/{session_id}/extend_session/")
            assert answer.status_code == 200, answer.text
    past.wait(minutes=45)


def erase_a_customer(past: Past) -> None:
    """Erase a customer whose session expired."""
    buyer = past.buyer()
    session_id = buyer.create()
    past.wait(minutes=20)
    past.instance.services.vault.erase(buyer.number)
    past.name("erased", session_id)


def lose_answers(past: Past) -> None:
    """Lose M-Pesa's answer, its callback, or both; refuse a push that is retried."""
    past.prompt(ANSWER_LOST, status=202)
    past.work()
    past.prompt(CALLBACK_LOST)
    past.wait(seconds=20)
    nameless, prompt = past.prompt(CALLBACK_LOST)
    past.wait(seconds=20)
    notify(past, receipt_of(prompt), prompt.account_reference, prompt.amount_shillings)
    past.name("receipt_recorded", nameless)
    buyer = past.buyer()
    session_id = buyer.create()
    past.instance.simulator.fail_next("push", "busy")
    buyer.initiate(session_id, phone_of(PAID_AT_ONCE, buyer.number), 503)
    buyer.initiate(session_id, phone_of(PAID_AT_ONCE, buyer.number))
    past.work()
    past.name("refused_then_paid", session_id)


def fail_one_of_two_attempts(past: Past) -> None:
    """Leave the first attempt in doubt, and cancel the second."""
    buyer = past.buyer()
    session_id = buyer.create()
    buyer.initiate(session_id, phone_of(ALL_LOST, buyer.number), 202)
    past.wait(seconds=130)
    buyer.initiate(session_id, phone_that_ends_with(CANCELLED))
    past.work()
    past.name("in_doubt", session_id)


def report_discrepancies(past: Past) -> None:
    """Let M-Pesa's channels differ, or add evidence."""
    past.notify_of_prompts("after")
    upgraded, _ = past.prompt(PAID_AT_ONCE)
    past.work()
    past.name("evidence_upgraded", upgraded)
    past.notify_of_prompts("never")
    for name in ("discrepancy_closed", "discrepancy_open"):
        session_id, prompt = past.fail(CANCELLED)
        past.wait(seconds=130)
        past.pay_by_hand(prompt.amount_shillings, prompt.account_reference)
        if name == "discrepancy_closed":
            past.close_newest(Kind.CONTRADICTION)
        past.name(name, session_id)
    _, prompt = past.prompt(PAID_AT_ONCE)
    past.work()
    notify(past, receipt_of(prompt), prompt.account_reference, prompt.amount_shillings + 1)
    _, one = past.prompt(PAID_AT_ONCE)
    _, other = past.prompt(PAID_AT_ONCE)
    past.work()
    notify(past, receipt_of(one), other.account_reference, one.amount_shillings)


def pay_without_a_reference(past: Past) -> None:
    """Receive unmatched payments: one is allocated, one closed, one stays open."""
    buyer = past.buyer()
    session_id = buyer.create()
    phone = phone_of(ALL_LOST, buyer.number)
    buyer.initiate(session_id, phone, 202)
    past.pay_by_hand(prompt_of(past.instance, phone).amount_shillings, "my order")
    past.close_newest(Kind.MONEY_UNKNOWN, "assign", session=session_id)
    past.pay_by_hand(99, "rent")
    past.close_newest(Kind.MONEY_UNKNOWN)
    past.pay_by_hand(77, "school fees")


def import_a_whole_statement(past: Past) -> None:
    """Import a statement that agrees, and has a payment that no channel reported."""
    past.prompt(ALL_LOST, status=202)
    past.wait(minutes=2)
    begun_at = past.now() - timedelta(hours=12)
    past.instance.services.reconciler.reconcile(past.instance.simulator.statement(begun_at).encode())
    past.work()


def let_the_shop_fail(past: Past) -> None:
    """Let the shop fail for an hour; of two dead-lettered orders an operator closes one."""
    left, _ = past.prompt(PAID_AT_ONCE)
    past.clock.tick(1)
    past.prompt(PAID_AT_ONCE)
    with mock.patch.object(BuiltinShop, "create_order", side_effect=ConnectionError):
        past.work()
        for _ in range(13):
            past.wait(minutes=6)
    past.close_newest(Kind.EVENT_DEAD_LETTERED)
    past.name("without_order", left)


def post_what_cannot_be_used(past: Past) -> None:
    """Post unreadable and foreign messages, and close one of them."""
    for _ in range(2):
        report(past.instance, CALLBACKS, b"not JSON")
    past.work()
    past.close_newest(Kind.MESSAGE_DEAD_LETTERED)
    notify(past, "UKG0OTHER1", "rent", 50, shortcode="600100")


def post_unauthenticated_callback_too_early(past: Past) -> None:
    """Dead-letter an unauthenticated callback of an attempt without an id, which is paid later."""
    session_id, prompt = past.prompt(ALL_LOST, status=202)
    body = callback(prompt, MpesaReceiptNumber=receipt_of(prompt))
    report(past.instance, CALLBACKS, body)
    for _ in range(10):
        past.wait(minutes=11)
    report(past.instance, own_path(prompt), body)
    past.work()
    past.name("paid_after_dead_letter", session_id)


def note_a_movement(past: Past) -> None:
    """Store a movement that is not matched yet, as if the process had crashed."""
    session_id, prompt = past.prompt(ALL_LOST, status=202)
    movement = Movement(
        kind=MovementKind.PAYMENT,
        receipt=receipt_of(prompt),
        amount_cents=prompt.amount_shillings * 100,
        happened_at=past.now(),
        evidence=Evidence.C2B,
        transaction_id=int(prompt.account_reference.removeprefix("D")),
    )
    past.instance.services.worker.matcher._movements.store([movement], past.now())
    past.name("paid_by_a_movement", session_id)


def notify(past: Past, receipt: str, reference: str, shillings: int, shortcode: str = "174379") -> None:
    """Post a C2B confirmation to its own address."""
    report(past.instance, confirmation_path(past), notice(receipt, reference, shillings, shortcode))
    past.work()


def confirmation_path(past: Past) -> str:
    """Return the path to which C2B confirmations are posted."""
    url, _ = past.instance.services.c2b.urls
    return url.removeprefix(past.instance.base_url)


def notice(receipt: str, reference: str, shillings: int, shortcode: str = "174379") -> dict[str, str]:
    """Write a C2B confirmation; all values are text."""
    return {
        "TransactionType": "Pay Bill",
        "TransID": receipt,
        "TransTime": "",
        "TransAmount": f"{shillings}.00",
        "BusinessShortCode": shortcode,
        "BillRefNumber": reference,
        "MSISDN": "2547 ***** 001",
        "FirstName": "TEST",
    }

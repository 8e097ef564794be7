"""Refunds of the fixture, in every state."""

from uuid import UUID

from daraja.simulator.prompts import StkPrompt
from payments.inbox.callback_tokens import RefundMessageKind
from payments.inbox.callback_urls import endpoints_url
from payments.refunds.refund_attempt import RefundAttempt
from tests.payments.refunds.steps import result
from tests.scenarios.steps import HONEY, observe, put_on_shelf, receipt_of, report
from tests.support.statements import Booking, statement
from tests.upgrade.past import CALLBACK_LOST, PAID_AT_ONCE, PAID_ONE_SHILLING, Past

RESULT_SECONDS = 3
STOPPED_JOBS = {"refund_sending", "refund_retries", "refund_doubts", "refund_questions"}


def due(past: Past, kind: str = PAID_AT_ONCE) -> tuple[str, StkPrompt]:
    """Take a new buyer's payment for a listing that is out of stock by then; return session id and prompt."""
    put_on_shelf(past.instance, HONEY, stock="5")
    session_id, prompt = past.prompt(kind, HONEY)
    assert past.instance.simulator.wait_until_idle(20)
    put_on_shelf(past.instance, HONEY, stock="0")
    past.wait(seconds=15)
    return session_id, prompt


def decide(past: Past, session_id: str, what: str = "approve", **body: str) -> None:
    """Decide about a session's first refund as the operator."""
    past.operate(f"/api/payments/refunds/{session_id}/1/{what}/", **body)


def approve_and_wait(past: Past, session_id: str) -> None:
    """Approve a refund, send it, and wait for the result."""
    decide(past, session_id)
    past.work()
    past.wait(seconds=RESULT_SECONDS)


def refund_by_policy(past: Past) -> None:
    """Let the policy approve; M-Pesa is busy at first, so that the retry policy approves again."""
    past.instance.simulator.fail_next("reversal", "busy")
    session_id, _ = due(past)
    past.wait(minutes=2)
    past.wait(seconds=RESULT_SECONDS)
    past.name("refunded_by_policy", session_id)


def complete_refunds(past: Past) -> None:
    """Complete refunds at once, after doubt, and by hand."""
    session_id, _ = due(past)
    approve_and_wait(past, session_id)
    past.name("refunded", session_id)
    session_id, _ = due(past)
    decide(past, session_id, "returned", note="Paid out at the stall.")
    past.name("refunded_by_hand", session_id)
    session_id, _ = due(past)
    past.instance.simulator.fail_next("reversal", "lose-answer")
    approve_and_wait(past, session_id)
    for delivery_fault in ("timeout", "lost"):
        session_id, _ = due(past)
        past.instance.simulator.faults.add_delivery_faults("result", [delivery_fault])
        approve_and_wait(past, session_id)
        past.instance.simulator.faults.add_delivery_faults("result", ["timeout"])
        for minutes in (11, 3, 3, 6, 11):
            past.wait(minutes=minutes)
            past.wait(seconds=RESULT_SECONDS)


def fail_refunds(past: Past) -> None:
    """Fail a refund for lack of funds, refuse one, and record one as not sent."""
    session_id, _ = due(past)
    past.instance.simulator.withdraw(past.instance.simulator.mobile_money.organisation_cents() // 100)
    approve_and_wait(past, session_id)
    past.name("refund_failed", session_id)
    session_id, _ = due(past)
    decide(past, session_id, "refuse", reason="Asked for an exchange.")
    past.name("refund_held", session_id)
    session_id, _ = due(past)
    past.instance.simulator.fail_next("reversal", "lose-answer")
    past.instance.simulator.faults.add_delivery_faults("result", ["lost"])
    approve_and_wait(past, session_id)
    decide(past, session_id, "not-sent", note="Not in the statement.")


def owe_surplus(past: Past) -> None:
    """Make refunds due for a second payment, another amount, and a payment without a receipt."""
    _, prompt = past.prompt(PAID_AT_ONCE)
    past.wait(seconds=130)
    past.pay_by_hand(prompt.amount_shillings, prompt.account_reference)
    past.prompt(PAID_ONE_SHILLING)
    past.work()
    due(past, CALLBACK_LOST)


def import_a_statement_of_reversals(past: Past) -> None:
    """Import a statement with reversals of a due refund and of an order, and a charge."""
    at = past.now()
    _, ordered = past.prompt(PAID_AT_ONCE)
    past.work()
    _, returned = due(past)
    sums = [(receipt_of(each), each.amount_shillings * 100) for each in (ordered, returned)]
    back = [
        Booking(f"UKG00BACK{n}", withdrawn=cents, at=at, reason="Pay Bill Reversal", linked=receipt)
        for n, (receipt, cents) in enumerate(sums)
    ]
    charge = Booking(sums[0][0], withdrawn=5_00, at=at, reason="Pay Bill Charge", linked=sums[0][0])
    past.instance.services.reconciler.reconcile(statement([*back, charge]))
    past.work()


def doubt(past: Past) -> None:
    """Lose all results from now on: a refund is in doubt, and its status checks have no answer."""
    session_id, prompt = due(past)
    past.instance.simulator.faults.add_delivery_faults("result", ["lost"] * 100)
    approve_and_wait(past, session_id)
    past.wait(minutes=11)
    past.wait(minutes=3)
    path = _result_of(past, session_id, prompt)["result_path"]
    report(past.instance, path, result(0))  # Its ids are those of another request.
    past.name("refund_in_doubt", session_id)


def stop_refund_jobs(past: Past) -> None:
    """Leave one refund accepted by M-Pesa and one approved, then stop the refund jobs."""
    requested, prompt = due(past)
    approve_and_wait(past, requested)
    past.name("refund_requested", requested, **_result_of(past, requested, prompt))
    approved, _ = due(past)
    past.instance.jobs = [job for job in past.instance.jobs if job.name not in STOPPED_JOBS]
    decide(past, approved)
    past.name("refund_approved", approved)
    past.wait(minutes=35)


def crash_before_sending(past: Past) -> None:
    """Record a refund request that is not sent, as if the process had crashed."""
    session_id, _ = due(past)
    decide(past, session_id)
    past.instance.services.ledger.decide(
        UUID(session_id), lambda session: session.request_refund(1, requested_by="worker", at=past.now())
    )
    past.name("refund_begun", session_id)


def leave_one_due(past: Past) -> None:
    """Leave a refund due for a decision."""
    session_id, _ = due(past)
    past.name("refund_due", session_id)


def _result_of(past: Past, session_id: str, prompt: StkPrompt) -> dict[str, str]:
    """Return the URL and ids of the result of a session's reversal."""
    services = past.instance.services
    attempt = RefundAttempt(UUID(session_id), 1, 1)
    url = attempt.url(
        endpoints_url(past.instance.settings.mpesa_callback_url),
        services.vault.sign,
        RefundMessageKind.REVERSAL_RESULT,
    )
    [[conversation, originator]] = observe(
        past.instance,
        "SELECT state->>'conversation_id', state->>'originator_conversation_id' FROM payment_events"
        " WHERE session_id = %s AND topic = 'payment_session.refund_accepted.v1'",
        session_id,
    )
    return {
        "result_path": url.removeprefix(past.instance.base_url),
        "conversation_id": conversation,
        "originator_conversation_id": originator,
        "receipt": receipt_of(prompt),
        "shillings": str(prompt.amount_shillings),
    }

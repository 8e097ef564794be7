"""The account of a payment says no more than its events prove."""

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence
from payments.evidence.evidence_account import account
from tests.support.checkouts import TOTAL_CENTS, Checkout


def told(session: PaymentSession) -> str:
    return account(session.id, session, [], "1-1-ab")


def test_a_prompt_is_told_by_what_mpesa_answered(ledger: Ledger) -> None:
    refused, doubt, taken = (
        "M-Pesa refused it, and sent nothing to the buyer&#x27;s phone.",
        "M-Pesa gave no answer, and the buyer&#x27;s phone may have been prompted.",
        "M-Pesa took it, to prompt the buyer&#x27;s phone.",
    )
    for checkout, expected in (
        (Checkout(ledger).request().refuse(), [refused]),
        (Checkout(ledger).request().lose_push_answer(), [doubt]),
        (Checkout(ledger).request(), [doubt]),
        (Checkout(ledger).prompt().cancel(), [taken]),
        (Checkout(ledger).request().refuse().prompt().pay("RCPTONE001", attempt=2), [refused, taken]),
        (Checkout(ledger), []),
    ):
        page = told(checkout.session)
        assert [page.count(each) for each in (refused, doubt, taken)] == [
            expected.count(each) for each in (refused, doubt, taken)
        ]
        assert "was prompted" not in page


def test_a_refund_by_hand_is_what_an_operator_recorded(ledger: Ledger) -> None:
    made = Checkout(ledger).prompt().pay("RCPTONE001").order(1)
    ledger.decide(
        made.session_id,
        lambda session: session.refund_order(
            amount_cents=100_00,
            payout_receipt="UKRPAYOUT1",
            decided_by="operator 99",
            reason="Spoilt.",
            restock=False,
            request="one",
            at=made.at,
        ),
    )
    sent = Checkout(ledger).prompt().pay("RCPTTWO001").refuse_order().request_refund().refund()
    assert (
        "Refund 1: an operator recorded by hand that 100.00 of receipt RCPTONE001 went back, with receipt UKRPAYOUT1."
        in told(made.session)
    )
    assert "recorded by hand" not in told(sent.session)


def test_a_discrepancy_is_told_as_it_stands(ledger: Ledger) -> None:
    checkout = Checkout(ledger).prompt().pay("RCPTONE001")
    checkout.pay("RCPTONE001", amount_cents=TOTAL_CENTS + 1, evidence=Evidence.STATEMENT)
    found = "Discrepancy 1: sources disagree about the amount of attempt 1."
    assert found in told(checkout.session)
    assert "Nobody has looked at it yet." in told(checkout.session)
    checkout.close_discrepancy()
    assert found in told(checkout.session)
    assert "An operator looked at it." in told(checkout.session)

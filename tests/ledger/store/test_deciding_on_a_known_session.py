from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import Evidence, Payment, Status
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout


def extend(session: PaymentSession) -> None:
    session.extend(minutes=15, max_extensions=3, at=HALF_PAST_TEN)


def test_commands_in_a_row_on_a_known_session_leave_what_the_log_says(ledger: Ledger) -> None:
    session = Checkout(ledger).session
    for _ in range(3):
        session, _ = ledger.decide(session.id, extend, known=session)
    assert session.version == 4
    assert status_row(session) == status_row(ledger.session(session.id))


def test_a_known_session_that_is_stale_is_loaded_again_and_decided_upon_anew(ledger: Ledger) -> None:
    checkout = Checkout(ledger)
    stale = checkout.session
    checkout.prompt().pay()
    seen = []

    def look_and_extend(session: PaymentSession) -> None:
        seen.append(session.status)
        if session.status == Status.PENDING:
            extend(session)

    session, _ = ledger.decide(stale.id, look_and_extend, known=stale)
    assert seen == [Status.PENDING, Status.PAID]
    assert session.version == checkout.session.version


def test_a_payment_decided_on_a_stale_session_is_recorded_all_the_same(ledger: Ledger) -> None:
    checkout = Checkout(ledger).prompt()
    stale = checkout.session
    checkout.cancel()
    payment = Payment(1, None, TOTAL_CENTS, Evidence.QUERY, checkout.at)
    session, _ = ledger.decide(
        stale.id, lambda session: session.record_payment(payment, at=checkout.at), known=stale
    )
    assert session.status == Status.PAID
    assert status_row(session) == status_row(checkout.session)

"""How a session begins."""

from ledger.session.session import PaymentSession
from ledger.session.values import Status
from tests.ledger.session.event_specs import DELIVERY, LINES, PHONE, SESSION_ID, TOTALS, clock, created
from tests.ledger.session.scenario import fold, given


def create() -> PaymentSession:
    return PaymentSession.create(
        SESSION_ID,
        user_id=1,
        lines=LINES,
        totals=TOTALS,
        phone_sealed=PHONE,
        delivery_sealed=DELIVERY,
        expires_at=clock("10:45"),
        at=clock("10:30"),
    )


def test_a_new_session_is_pending_and_remembers_its_cart_and_its_total() -> None:
    session = create()
    assert (session.status, session.user_id) == (Status.PENDING, 1)
    assert (session.lines, session.totals) == (LINES, TOTALS)
    assert (session.phone_sealed, session.delivery_sealed) == (PHONE, DELIVERY)


def test_a_new_session_has_the_id_and_the_moment_that_came_in_with_the_command() -> None:
    session = create()
    assert session.id == SESSION_ID
    assert session.created_on == session.modified_on == clock("10:30")
    assert session.expires_at == clock("10:45")


def test_a_new_session_has_no_attempt_no_money_and_no_end() -> None:
    session = create()
    assert (session.attempts, session.refunds, session.receipts) == ({}, {}, set())
    assert session.received_cents == session.extensions == 0
    assert (session.paid, session.order, session.failure) == (None, None, None)
    assert (session.initiated_at, session.order_created_at, session.ended_at) == (None, None, None)


def test_creating_a_session_is_one_event_that_holds_all_of_it() -> None:
    session = create()
    history = list(session.collect_events())
    assert len(history) == 1
    assert fold(history) == session


def test_the_scenarios_of_these_tests_start_where_create_leaves_off() -> None:
    session = create()
    session.collect_events()
    assert given(created()).session == session


def test_two_sessions_share_nothing_that_could_change() -> None:
    one, other = create(), create()
    one.receipts.add("UAF0000001")
    assert other.receipts == set()

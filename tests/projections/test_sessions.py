from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.application import Ledger
from ledger.session.values import Status
from ledger.store.database import Database
from ledger.store.listing import Place
from payments.confirmation.query_log import QueryLog
from projections.sessions import (
    SessionRow,
    find_by_checkout_digest,
    list_of_user,
    open_attempts_due,
    owner_of,
    sessions_to_expire,
    status_of,
)
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind

JUST_BEFORE = HALF_PAST_TEN + timedelta(minutes=15) - timedelta(microseconds=1)
AT_EXPIRY = HALF_PAST_TEN + timedelta(minutes=15)


def test_a_session_reads_as_its_last_event_left_it(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay("NLJ7RT61SV").order(789)
    row = status_of(database, checkout.session_id, 7, checkout.at)
    assert row is not None
    assert row.session_status == Status.ORDER_CREATED
    assert (row.order_id, row.order_number, row.receipt) == (789, "ORD-20240115-789", "NLJ7RT61SV")
    assert (row.total_cents, row.received_cents, row.version) == (350_00, 350_00, 5)
    assert (row.created_at, row.paid_at) == (HALF_PAST_TEN, HALF_PAST_TEN + timedelta(seconds=15))


def test_anothers_session_reads_like_none(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger, user_id=7).session_id
    assert status_of(database, session_id, 8, HALF_PAST_TEN) is None
    assert status_of(database, uuid4(), 7, HALF_PAST_TEN) is None
    assert status_of(database, session_id, None, HALF_PAST_TEN) is not None
    assert (owner_of(database, session_id), owner_of(database, uuid4())) == (7, None)


def test_a_pending_session_reads_as_expired_from_that_instant(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).session_id
    before = status_of(database, session_id, 7, JUST_BEFORE)
    after = status_of(database, session_id, 7, AT_EXPIRY)
    assert before is not None
    assert after is not None
    assert (before.session_status, after.session_status) == (Status.PENDING, Status.EXPIRED)


def test_a_session_with_an_open_attempt_does_not_read_as_expired(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).request()
    row = status_of(database, checkout.session_id, 7, AT_EXPIRY)
    assert row is not None
    assert row.session_status == Status.PENDING


def test_every_row_reads_as_its_aggregate_does(ledger: Ledger, database: Database) -> None:
    later = HALF_PAST_TEN + timedelta(hours=1)
    for checkout in one_of_every_kind(ledger):
        row = status_of(database, checkout.session_id, None, later)
        assert row is not None
        assert row.session_status == checkout.session.status_at(later)


def test_a_list_is_the_users_own_newest_first_by_pages(ledger: Ledger, database: Database) -> None:
    mine = [Checkout(ledger, user_id=7, at=HALF_PAST_TEN + timedelta(minutes=n)).session_id for n in range(5)]
    Checkout(ledger, user_id=8)
    now = HALF_PAST_TEN + timedelta(minutes=10)
    pages = [list_of_user(database, 7, Place(now, 2, offset), now=now) for offset in (0, 2, 4, 6)]
    assert [count for count, _ in pages] == [5, 5, 5, 5]
    assert [row.session_id for _, rows in pages for row in rows] == mine[::-1]


def test_pages_do_not_shift_while_sessions_are_being_created(ledger: Ledger, database: Database) -> None:
    first, second = (Checkout(ledger, at=HALF_PAST_TEN + timedelta(minutes=n)).session_id for n in (0, 1))
    seen_at = HALF_PAST_TEN + timedelta(minutes=2)
    _, page = list_of_user(database, 7, Place(seen_at, 1), now=seen_at)
    Checkout(ledger, at=HALF_PAST_TEN + timedelta(minutes=3))
    now = HALF_PAST_TEN + timedelta(minutes=4)
    count, next_page = list_of_user(database, 7, Place(seen_at, 1, 1), now=now)
    assert [row.session_id for row in page + next_page] == [second, first]
    assert count == 2
    assert list_of_user(database, 7, Place(now, 20), now=now)[0] == 3


def test_sessions_of_one_moment_keep_one_order(ledger: Ledger, database: Database) -> None:
    ids = {Checkout(ledger).session_id for _ in range(6)}
    pages = [
        list_of_user(database, 7, Place(HALF_PAST_TEN, 1, offset), now=HALF_PAST_TEN)[1][0]
        for offset in range(6)
    ]
    assert {row.session_id for row in pages} == ids


def test_a_filter_and_a_status_agree_about_what_has_expired(ledger: Ledger, database: Database) -> None:
    run_out = Checkout(ledger).session_id
    swept = Checkout(ledger).expire().session_id
    prompted = Checkout(ledger).prompt().session_id

    def listed(status: Status) -> set[object]:
        _, rows = list_of_user(database, 7, Place(AT_EXPIRY, 20), now=AT_EXPIRY, status=status)
        return {row.session_id for row in rows}

    assert listed(Status.EXPIRED) == {run_out, swept}
    assert listed(Status.PENDING) == set()
    assert listed(Status.PAYMENT_INITIATED) == {prompted}


def test_the_sweep_is_given_what_has_run_out_and_nothing_else(ledger: Ledger, database: Database) -> None:
    run_out = Checkout(ledger).session_id
    Checkout(ledger).request()
    Checkout(ledger).expire()
    Checkout(ledger, at=HALF_PAST_TEN + timedelta(minutes=1))
    assert sessions_to_expire(database, JUST_BEFORE, 10) == []
    assert sessions_to_expire(database, AT_EXPIRY, 10) == [run_out]
    assert len(sessions_to_expire(database, AT_EXPIRY + timedelta(hours=1), 1)) == 1


def test_a_checkout_id_of_any_attempt_finds_its_session(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().wait(seconds=100).prompt()
    for attempt in checkout.session.attempts.values():
        assert attempt.checkout_digest is not None
        assert find_by_checkout_digest(database, attempt.checkout_digest) == checkout.session_id
    assert find_by_checkout_digest(database, "unknown") is None


def due(database: Database, checkout: Checkout, **later: int) -> bool:
    rows = open_attempts_due(database, checkout.at + timedelta(**later), 15, 10)
    return checkout.session_id in {row.session_id for row in rows}


def test_an_attempt_is_first_asked_about_some_seconds_after_it_was_sent(
    ledger: Ledger, database: Database
) -> None:
    checkout = Checkout(ledger).request()
    assert not due(database, checkout, seconds=14)
    assert due(database, checkout, seconds=15)
    checkout.initiate().pay()
    assert not due(database, checkout, hours=1)


def test_an_attempt_is_asked_about_again_when_its_note_says(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).request()
    again = checkout.at + timedelta(seconds=30)
    checks = QueryLog(database)
    checks.note(checkout.session_id, 1, tries=1, next_check_at=again, answer="pending", now=checkout.at)
    assert not due(database, checkout, seconds=29)
    assert due(database, checkout, seconds=30)


def test_a_note_of_an_ended_attempt_neither_hides_nor_hurries_an_open_one(
    ledger: Ledger, database: Database
) -> None:
    checks = QueryLog(database)
    checkout = Checkout(ledger).prompt().wait(seconds=100).prompt().cancel(1)
    far, near = checkout.at + timedelta(hours=1), checkout.at + timedelta(seconds=40)
    checks.note(checkout.session_id, 1, tries=8, next_check_at=far, answer="pending", now=HALF_PAST_TEN)
    assert due(database, checkout, seconds=20)
    checks.note(checkout.session_id, 2, tries=1, next_check_at=near, answer="pending", now=HALF_PAST_TEN)
    assert not due(database, checkout, seconds=20)
    checks.note(
        checkout.session_id, 1, tries=8, next_check_at=HALF_PAST_TEN, answer="pending", now=HALF_PAST_TEN
    )
    assert not due(database, checkout, seconds=20)
    assert due(database, checkout, seconds=40)


def test_what_has_been_due_for_longest_is_asked_about_first(ledger: Ledger, database: Database) -> None:
    old, older = Checkout(ledger).prompt(), Checkout(ledger, at=HALF_PAST_TEN - timedelta(hours=1)).prompt()
    fresh = Checkout(ledger, at=HALF_PAST_TEN + timedelta(seconds=30)).prompt()
    asked_at, now = HALF_PAST_TEN + timedelta(seconds=45), HALF_PAST_TEN + timedelta(minutes=2)
    QueryLog(database).note_asked(older.session_id, 1, answer="pending", now=asked_at)
    rows = open_attempts_due(database, now, 15, 10)
    assert [row.session_id for row in rows] == [old.session_id, fresh.session_id, older.session_id]


@pytest.mark.parametrize("status", [None, *Status])
def test_pages_by_key_are_those_by_number(ledger: Ledger, database: Database, status: Status | None) -> None:
    now = HALF_PAST_TEN + timedelta(hours=1)
    users = {checkout.session.user_id for checkout in one_of_every_kind(ledger)}
    for minute in (1, 2, 3):
        Checkout(ledger, at=HALF_PAST_TEN + timedelta(minutes=minute))
        Checkout(ledger, at=HALF_PAST_TEN + timedelta(minutes=minute)).expire()

    for user in (*users, 7):

        def page_of(user: int = user, **place: Any) -> tuple[int, list[SessionRow]]:
            return list_of_user(database, user, Place(now, 2, **place), now=now, status=status)

        count, first = page_of()
        pages = [first] + [page_of(offset=offset)[1] for offset in range(2, count, 2)]
        assert len({row.session_id for page in pages for row in page}) == count
        for page, following in pairwise(pages):
            assert page_of(after=page[-1].key)[1] == following
            assert page_of(before=following[0].key)[1] == page


def test_a_key_does_not_reach_another_users_sessions_or_later_ones(
    ledger: Ledger, database: Database
) -> None:
    mine = Checkout(ledger, user_id=7).session_id
    Checkout(ledger, user_id=8)
    Checkout(ledger, user_id=7, at=HALF_PAST_TEN + timedelta(minutes=2))
    key = (HALF_PAST_TEN + timedelta(days=1), UUID(int=0))
    seen_at = HALF_PAST_TEN + timedelta(minutes=1)
    _, rows = list_of_user(database, 7, Place(seen_at, 20, after=key), now=seen_at)
    assert [row.session_id for row in rows] == [mine]

"""People are told of open cases: soon, together, again a day later, and without a word about a payment or a person."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from structlog.testing import capture_logs

from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from payments.exceptions.alarms import Alarm
from payments.exceptions.case_notifier import MIN_INTERVAL, REMINDED_AFTER, CaseNotifier
from payments.exceptions.notification_channels import channel_of
from projections.cases import PaymentCases
from projections.follower import Follower
from tests.support.checkouts import HALF_PAST_TEN, Checkout
from tests.support.horizon import until_readable
from tests.support.http_receiver import HttpReceiver, http_receiver
from tests.support.keys import event_macs

CONSOLE = "https://pay.example.co.ke/console/work/"
LATER = HALF_PAST_TEN + timedelta(hours=1)


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def alarms() -> list[Alarm]:
    return []


def notifier(database: Database, *addresses: str, alarms: list[Alarm] | None = None) -> CaseNotifier:
    return CaseNotifier(
        database, event_macs(database), lambda _: alarms or [], map(channel_of, addresses), CONSOLE
    )


def run(database: Database, notify: CaseNotifier, at: datetime) -> int:
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases()).catch_up()
    with freeze_time(at):
        return notify.run()


def told(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [json.loads(body) for body in receiver.taken]


def test_nothing_is_sent_while_no_case_is_open(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    Checkout(ledger).prompt().pay().order()
    assert run(database, notifier(database, receiver.url), LATER) == 0
    assert receiver.taken == []


def test_a_case_is_told_once_with_its_kind_sum_and_age(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    checkout = Checkout(ledger).prompt().pay().refuse_order()
    notify = notifier(database, receiver.url)

    assert [run(database, notify, LATER + timedelta(minutes=minute)) for minute in (0, 1, 60)] == [1, 0, 0]

    [message] = told(receiver)
    [kind] = message["kinds"]
    assert (message["subject"], message["new"], message["open"]) == ("Daftari: 1 open case, 1 new", 1, 1)
    assert (kind["kind"], kind["cases"], kind["amount"]) == ("refund_due", 1, "350.00")
    assert datetime.fromisoformat(kind["oldest_since"]) == checkout.at
    assert message["text"].endswith(CONSOLE)
    assert "Refund due: 1, KES 350.00, the oldest since " in message["text"]


def test_new_cases_wait_for_the_interval_and_are_told_together(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    notify = notifier(database, receiver.url)
    Checkout(ledger).prompt().pay("OAF7Q2X9LA").refuse_order()
    run(database, notify, LATER)
    for user_id, receipt in ((8, "OAF7Q2X9LB"), (9, "OAF7Q2X9LC")):
        Checkout(ledger, user_id=user_id).prompt().pay(receipt).refuse_order()

    soon = LATER + MIN_INTERVAL
    assert run(database, notify, soon - timedelta(seconds=1)) == 0
    assert run(database, notify, soon) == 1
    assert [(message["new"], message["open"]) for message in told(receiver)] == [(1, 1), (2, 3)]


def test_what_stays_open_is_told_again_a_day_later_and_its_end_once(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    notify = notifier(database, receiver.url)
    checkout = Checkout(ledger).prompt().pay().refuse_order()
    run(database, notify, LATER)
    assert run(database, notify, LATER + REMINDED_AFTER) == 1
    checkout.request_refund().accept_refund().refund()
    ended = LATER + REMINDED_AFTER + MIN_INTERVAL
    assert [run(database, notify, ended + timedelta(minutes=minute)) for minute in (0, 10)] == [1, 0]
    assert [message["new"] for message in told(receiver)] == [1, 0, 0]
    assert told(receiver)[-1]["subject"] == "Daftari: no case is open any more"


def test_an_alarm_is_told_as_a_case(database: Database, receiver: HttpReceiver) -> None:
    alarms = [Alarm("followers_behind", HALF_PAST_TEN, detail="journal_entries by 12 events")]
    notify = notifier(database, receiver.url, alarms=alarms)
    assert run(database, notify, LATER) == 1
    [message] = told(receiver)
    assert [kind["kind"] for kind in message["kinds"]] == ["followers_behind"]
    assert "journal_entries" not in message["text"]


def test_a_message_holds_nothing_of_a_payment_or_a_person(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    checkout = Checkout(ledger, user_id=9_007_123).prompt().pay("OAF7Q2X9LM").refuse_order()
    run(database, notifier(database, receiver.url), LATER)
    [body] = receiver.taken
    for private in ("9007123", "OAF7Q2X9LM", str(checkout.session_id), "OUT_OF_STOCK"):
        assert private.encode() not in body


def test_a_destination_that_fails_is_tried_again_and_holds_no_other_up(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    Checkout(ledger).prompt().pay().refuse_order()
    notify = notifier(database, receiver.refusing_url, "http://127.0.0.1:9/secret-path", receiver.url)
    with capture_logs() as logs:
        assert run(database, notify, LATER) == 1
        assert run(database, notify, LATER) == 0
    warned = [log for log in logs if log["event"] == "notification_not_taken"]
    assert [(log["error"], log["failures"]) for log in warned] == [
        ("HTTP status 302", 1),
        ("ConnectionError", 1),
    ]
    assert "secret-path" not in repr(logs)
    with capture_logs() as logs:
        run(database, notify, LATER + timedelta(seconds=2))
    assert [log["failures"] for log in logs if log["event"] == "notification_not_taken"] == [2, 2]


def test_a_worker_that_takes_over_tells_of_all_that_is_open(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    Checkout(ledger).prompt().pay().refuse_order()
    for _ in range(2):
        assert run(database, notifier(database, receiver.url), LATER) == 1


def test_all_is_sent_at_once_when_a_person_asks(
    ledger: Ledger, database: Database, receiver: HttpReceiver
) -> None:
    notify = notifier(database, receiver.url, receiver.refusing_url)
    assert notify.send_all(even_if_none=False) == (0, [])
    assert notify.send_all(even_if_none=True) == (0, [("webhook", None), ("webhook", "HTTP status 302")])
    Checkout(ledger).prompt().pay().refuse_order()
    until_readable(database)
    Follower(database, event_macs(database), PaymentCases()).catch_up()
    assert clock.now() > LATER
    assert notify.send_all(even_if_none=False)[0] == 1
    assert [message["open"] for message in told(receiver)] == [0, 1]

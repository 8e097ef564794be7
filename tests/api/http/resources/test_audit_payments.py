"""Auditors find a payment by what they know of it, and see all of it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledger import clock
from ledger.clock import NAIROBI
from ledger.session.values import Evidence, Payment
from shop.demo import make_buyers
from tests.api.pages.test_work import signed_in
from tests.scenarios.steps import PAYS_AT_ONCE
from tests.support.appending import append
from tests.support.checkouts import Checkout
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.instance import Client, Instance, running_instance

PATH = "/api/audit/payments/"
PHONE = "Daftari-Phone"
EVENTS = "/api/audit/events/"
CHECKOUT = "Daftari-Checkout-Request"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        assert list(make_buyers(running.services.database, 1, 2))
        yield running


def found(client: Client, query: str = "", **headers: str) -> list[str]:
    answer = client.get(
        f"{PATH}?{query}", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    assert answer.status_code == 200, answer.text
    return [each["session_id"] for each in answer.json()["results"]]


def test_a_payment_is_found_by_everything_that_is_known_of_it(instance: Instance) -> None:
    buyer, auditor = instance.client(1), instance.client(9, "auditor")
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    other = instance.client(2).create().json()["session_id"]
    instance.work()
    status, shown = buyer.status(paid), auditor.get(f"{PATH}{paid}/").json()
    day = f"{clock.now().astimezone(NAIROBI):%Y-%m-%d}"
    attempt = shown["attempts"][0]

    filters = [
        f"receipt={status['receipt']}",
        f"order_number={status['order']['order_number']}",
        f"reference={attempt['account_reference']}",
        "user=1",
        "status=order_created",
        "evidence=callback",
        f"status=order_created&evidence=callback&user=1&day={day}&amount={shown['money']['asked']}",
    ]
    for query in filters:
        assert found(auditor, query) == [paid], query
    for typed in (
        f"receipt=%20{status['receipt'].lower()}%20",
        f"order_number=%20{status['order']['order_number'].lower()}%20",
        f"reference=%20{attempt['account_reference'].lower()}%20",
    ):
        assert found(auditor, typed) == [paid], typed
    assert found(auditor, f"day={day}") == [other, paid]
    assert found(auditor, f"amount={shown['money']['asked']}&user=1") == [paid]
    assert found(auditor, "day=2020-01-01") == found(auditor, "receipt=NOSUCHONE1") == []
    assert found(auditor, f"receipt={status['receipt']}&user=2") == []
    assert found(auditor, **{PHONE: PAYS_AT_ONCE}) == [paid]
    assert found(auditor, **{PHONE: "+254 712 345 678"}) == [other, paid]
    assert found(auditor, "status=failed", **{PHONE: PAYS_AT_ONCE}) == []
    with instance.services.database.connection() as connection:
        sealed = connection.execute(
            "SELECT state->>'checkout_sealed' AS text FROM payment_events WHERE session_id = %s AND version = 3",
            (paid,),
        ).fetchone()
    assert sealed is not None
    checkout = instance.services.vault.decrypt(1, sealed["text"], purpose="checkout id", row=paid)
    assert found(auditor, **{CHECKOUT: checkout}) == [paid]


def test_pages_go_on_by_the_key_of_the_last_payment(instance: Instance) -> None:
    sessions = [instance.client(1).create().json()["session_id"] for _ in range(5)]
    instance.work()
    auditor, seen = instance.client(9, "auditor"), []
    link = f"{PATH}?page_size=2&status=pending"
    while link:
        page = auditor.get(link).json()
        seen += [each["session_id"] for each in page["results"]]
        link = (page["next"] or "").removeprefix(instance.base_url)
    assert seen == sessions[::-1]


def test_one_payment_is_shown_whole_and_verified_by_itself(instance: Instance) -> None:
    buyer, auditor = instance.client(1), instance.client(9, "auditor")
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    shown = auditor.get(f"{PATH}{paid}/").json()

    assert shown["money"]["paid"] == shown["money"]["asked"] == shown["money"]["received"]
    assert shown["money"]["by_receipt"][0]["is"] == "payment"
    assert [each["event"] for each in shown["story"]][-2:] == ["Paid", "OrderCreated"]
    assert shown["story"][3]["caused_by"]["cause"] == "callback"
    assert shown["verification"]["holds"], shown["verification"]
    assert shown["verification"]["events"] == len(shown["story"])
    assert PAYS_AT_ONCE[1:] not in json.dumps(shown)


def test_each_step_has_its_state_what_the_buyer_saw_and_the_callback(instance: Instance) -> None:
    buyer, auditor = instance.client(1), instance.client(9, "auditor")
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    steps: list[dict[str, Any]] = auditor.get(f"{PATH}{paid}/steps/").json()["steps"]

    assert [step["state"]["version"] for step in steps] == [1, 2, 3, 4, 5]
    assert [step["buyer_saw"]["session_status"] for step in steps] == [
        "pending",
        "pending",
        "payment_initiated",
        "paid",
        "order_created",
    ]
    now = buyer.status(paid)
    assert steps[-1]["buyer_saw"] == now
    assert "Body" in json.loads(steps[3]["message"]["body"])
    assert steps[0]["message"] is None
    earlier = auditor.get(f"{PATH}{paid}/?at_version=3").json()
    assert (earlier["session_status"], earlier["money"]["received"]) == ("payment_initiated", "0.00")


def test_an_erased_phone_is_not_found_and_no_message_is_shown(instance: Instance) -> None:
    buyer, auditor = instance.client(1), instance.client(9, "auditor")
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    assert found(auditor, **{PHONE: PAYS_AT_ONCE}) == [paid]

    erase(instance.services.database, instance.services.vault, 1)

    assert found(auditor, **{PHONE: PAYS_AT_ONCE}) == []
    assert found(auditor, "user=1") == [paid]
    steps = auditor.get(f"{PATH}{paid}/steps/").json()["steps"]
    assert all(step["message"] is None or step["message"]["body"] is None for step in steps)


def test_the_whole_log_is_read_by_following_next(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    paid = instance.pay(instance.client(1), phone_number=PAYS_AT_ONCE)
    instance.work()
    read: list[dict[str, Any]] = []
    link, has_more = f"{EVENTS}?page_size=2", True
    while has_more:
        page = auditor.get(link).json()
        read, has_more = read + page["results"], page["has_more"]
        link = page["next"].removeprefix(instance.base_url)
    assert [event["event"] for event in read if event["session_id"] == paid][-2:] == ["Paid", "OrderCreated"]
    assert PAYS_AT_ONCE[1:] not in str(read)
    assert "_sealed" not in str(read)
    assert {"position", "version", "hash", "recorded_at", "state", "caused_by"} <= read[0].keys()
    later = instance.client(2).create().json()["session_id"]
    until_readable(instance.services.database)
    assert [event["session_id"] for event in auditor.get(link).json()["results"]] == [later]
    actor = auditor.get(f"{EVENTS}?actor=user:2&type=Created&user=2&from=2020-01-01T00:00:00Z").json()
    assert [event["session_id"] for event in actor["results"]] == [later]
    for query in (
        "after=1",
        "after=1:2,1:3",
        "after=99999:1",
        "after=1:9223372036854775807",
        "type=Nothing",
        "to=1",
    ):
        assert auditor.get(f"{EVENTS}?{query}").status_code == 400, query


def test_a_search_for_a_phone_is_recorded_without_it(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    paid = instance.pay(instance.client(1), phone_number=PAYS_AT_ONCE)
    instance.work()
    found(auditor, **{PHONE: PAYS_AT_ONCE})

    _, [entry, *_] = instance.services.audit_log.entries(kind="access")

    assert entry.details == {"what": "payments", "by": ["phone"], "sessions": [paid]}
    assert PAYS_AT_ONCE[1:] not in str(entry)


SENSELESS = (
    "phone=0712345678",
    "amount=1e9",
    "amount=-1",
    "user=0",
    "user=9223372036854775808",
    "reference=456",
    "day=2024-02-30",
    "day=9999-12-31",
    "day=1969-12-31",
    "status=lost",
    "cursor=after~2024-01-15T10:30:00.000000Z~1",
    "cursor=1:2",
    "page_size=0",
    "receipt=%00",
)
HOSTILE = ("' OR 1=1 --", "%", "%(user_id)s", "{source}", "x" * 40)


def test_a_filter_that_makes_no_sense_is_refused_and_none_is_ever_sql(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    instance.client(1).create()
    instance.work()
    for query in SENSELESS:
        answer = auditor.get(f"{PATH}?{query}")
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_INPUT"), query
    for text in HOSTILE:
        for name in ("receipt", "order_number"):
            answer = auditor.get(PATH, params={name: text})
            assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_a_session_and_lists_are_shown_as_they_were(instance: Instance) -> None:
    buyer, auditor = instance.client(1), instance.client(9, "auditor")
    before = clock.now()
    paid = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    one, history = f"/api/payments/sessions/{paid}/", f"/api/payments/sessions/{paid}/events/"
    instance.work()
    after = buyer.status(paid)
    then = auditor.get(f"/api/audit/sessions/{paid}/events/?at_version=3").json()["events"][-1]["recorded_at"]

    was = buyer.get(one, params={"as_of": then}).json()
    assert (was["session_status"], was["version"], was["order"]) == ("payment_initiated", 3, None)
    assert buyer.get(one, params={"at_version": 3}).json() == was
    assert buyer.get(one, params={"as_of": "2100-01-01T00:00:00Z"}).json()["order"] == after["order"]
    assert len(buyer.get(history, params={"at_version": 2}).json()["events"]) == 2
    for query in ({"as_of": before.isoformat()}, {"at_version": 0}):
        assert buyer.get(one, params=query).status_code == buyer.get(history, params=query).status_code == 404
    assert instance.client(2).get(one, params={"as_of": then}).status_code == 404
    assert buyer.get(one, params={"as_of": "yesterday"}).status_code == 400

    [listed] = buyer.get("/api/payments/sessions/", params={"recorded_as_of": then}).json()["results"]
    assert (listed["session_status"], listed["order_details"]) == ("payment_initiated", None)
    assert (
        buyer.get("/api/payments/sessions/", params={"recorded_as_of": before.isoformat()}).json()["count"]
        == 0
    )
    [found_then] = auditor.get(PATH, params={"recorded_as_of": then, "status": "payment_initiated"}).json()[
        "results"
    ]
    assert (found_then["version"], found_then["received"]) == (3, "0.00")
    assert (
        auditor.get(PATH, params={"recorded_as_of": then, "status": "order_created"}).json()["results"] == []
    )
    both = {"recorded_as_of": then, "status": "paid"}
    assert buyer.get("/api/payments/sessions/", params=both).status_code == 400


def test_refunds_are_listed_as_they_were(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    checkout = (
        Checkout(instance.services.ledger, at=clock.now() - timedelta(minutes=1))
        .prompt()
        .pay("UKG7Q2X9LM")
        .refuse_order()
    )
    then = clock.now()
    approve = f"/api/payments/refunds/{checkout.session_id}/1/approve/"
    assert instance.client(8, "operator").post(approve).status_code == 200
    instance.work()
    [now] = auditor.get("/api/payments/refunds/").json()["results"]
    [was] = auditor.get("/api/payments/refunds/", params={"recorded_as_of": then.isoformat()}).json()[
        "results"
    ]
    assert now["state"] != was["state"] == "due"
    both = {"recorded_as_of": then.isoformat(), "state": "due"}
    assert auditor.get("/api/payments/refunds/", params=both).status_code == 400


def test_a_status_row_that_was_forged_is_not_shown(instance: Instance) -> None:
    auditor, ledger = instance.client(9, "auditor"), instance.services.ledger
    checkout = Checkout(ledger, at=clock.now(), user_id=7).prompt()
    session = ledger.session(checkout.session_id)
    session.record_payment(
        Payment(1, "UKG7F0RGED", session.totals.total_cents, Evidence.CALLBACK, clock.now()), at=clock.now()
    )
    with instance.services.database.transaction() as attacker:
        append(attacker, ledger, session, macs=[bytes(32)])

    [shown] = auditor.get(f"{PATH}?user=7").json()["results"]
    assert (shown["session_status"], shown["version"]) == ("payment_initiated", 3)
    assert (shown["received"], shown["receipt"], shown["paid_at"]) == ("0.00", None, None)
    assert found(auditor, "user=7&status=paid") == []
    console, _ = signed_in(instance, token=instance.token(9, "auditor"))
    with console:
        page = console.get(f"{instance.base_url}/console/payments/?user=7", timeout=10).text
    assert str(checkout.session_id) in page
    assert "UKG7F0RGED" not in page


@pytest.mark.parametrize("forgery", ["mac = sha256(mac)", "state = '{}'"])
def test_a_payment_whose_first_event_was_forged_is_shown_as_such(instance: Instance, forgery: str) -> None:
    auditor, services = instance.client(9, "auditor"), instance.services
    checkout = Checkout(services.ledger, at=clock.now(), user_id=7).prompt().pay("UKG7Q2X9LM")
    with psycopg.connect(services.database.url, autocommit=True) as owner:
        owner.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
        owner.execute(f"UPDATE payment_events SET {forgery} WHERE version = 1".encode())
    path = f"{PATH}{checkout.session_id}/"
    for query in ({}, {"at_version": "1"}, {"as_of": clock.now().isoformat()}):
        shown = auditor.get(path, params=query)
        assert shown.status_code == 200, shown.text
        assert shown.json().keys() == {"session_id", "story", "verification"}
        first, *_ = shown.json()["story"]
        assert (first["event"], first["is_genuine"], first["words"]) == ("Forged", False, None)
        assert not shown.json()["verification"]["holds"]
    assert auditor.get(f"{path}steps/").status_code == 200
    console, _ = signed_in(instance, token=instance.token(9, "auditor"))
    with console:
        for page in ("", "?at_version=1", "timeline/", "timeline/?at_version=1"):
            answer = console.get(
                f"{instance.base_url}/console/payments/{checkout.session_id}/{page}", timeout=10
            )
            assert answer.status_code == 200, answer.text
            assert "Not written by Daftari" in answer.text
    assert auditor.get(f"/api/audit/sessions/{checkout.session_id}/events/").status_code == 200


def test_a_payment_is_not_found_by_what_was_recorded_later(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    paid = instance.pay(instance.client(1), phone_number=PAYS_AT_ONCE)
    instance.work()
    shown = auditor.get(f"{PATH}{paid}/").json()
    events = auditor.get(f"/api/audit/sessions/{paid}/events/").json()["events"]
    recorded = {each["event"]: datetime.fromisoformat(each["recorded_at"]) for each in events}
    checkout = instance.services.vault.decrypt(
        1, ledger_checkout(instance, paid), purpose="checkout id", row=paid
    )
    for query, headers, event in (
        (f"receipt={shown['money']['by_receipt'][0]['receipt']}", {}, "Paid"),
        (f"reference={shown['attempts'][0]['account_reference']}", {}, "PaymentRequested"),
        ("user=1", {CHECKOUT: checkout}, "PaymentInitiated"),
        ("user=1", {PHONE: PAYS_AT_ONCE}, "PaymentRequested"),
    ):
        then, before = recorded[event], recorded[event] - timedelta(microseconds=1)
        for moment, expected in ((then, [paid]), (before, [])):
            asked = f"{query}&recorded_as_of={moment:%Y-%m-%dT%H:%M:%S.%fZ}"
            assert found(auditor, asked, **headers) == expected, (query, event, moment)


def ledger_checkout(instance: Instance, session_id: str) -> str:
    """Return the encrypted CheckoutRequestID of a session's first attempt."""
    [attempt] = instance.services.ledger.session(UUID(session_id)).attempts.values()
    assert attempt.checkout_sealed is not None
    return attempt.checkout_sealed


def test_the_record_of_each_step_is_a_time_that_leads_to_it(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    paid = instance.pay(instance.client(1), phone_number=PAYS_AT_ONCE)
    instance.work()
    story = auditor.get(f"{PATH}{paid}/").json()["story"]
    assert [each["recorded_at"] for each in auditor.get(f"{PATH}{paid}/steps/").json()["steps"]] == [
        each["recorded_at"] for each in story
    ]
    for each in story:
        was = auditor.get(f"{PATH}{paid}/", params={"as_of": each["recorded_at"]}).json()
        assert was["story"][-1] == each

"""Endpoints are added, changed, rotated and deleted, each by whom it belongs to, and told of again what they missed."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from freezegun import freeze_time

from ledger.application import Ledger
from ledger.errors import NotFound, Rejected
from ledger.store.audit_log import AuditLog
from ledger.store.vault import REFERENCE
from payments.webhooks import delivery_queue, endpoints
from payments.webhooks.endpoints import MAX_OF_A_KEY, MISSED_AT_MOST, ROTATED_FOR
from payments.webhooks.messages import MESSAGE_TYPES
from tests.payments.webhooks.setting import BY, Webhooks, ordered
from tests.support.checkouts import new_session
from tests.support.horizon import until_readable
from tests.support.webhook_receiver import WebhookReceiver, answering

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
PUBLIC = "https://shop.example/hook"


def test_an_endpoint_is_stored_so_that_a_login_of_the_database_reads_nothing_of_it(
    webhooks: Webhooks,
) -> None:
    added, secret = webhooks.endpoints.add(f"{PUBLIC}?token=abc", MESSAGE_TYPES, key="shop", by="key:shop")
    [row] = webhooks.rows("SELECT * FROM webhook_endpoints")
    assert not any(part in str(row) for part in ("shop", "token", secret.removeprefix("whsec_")))
    assert webhooks.endpoints.find(added.endpoint_id).definition.secrets_at(START) == [secret]
    [entry] = AuditLog(webhooks.database, webhooks.vault.keys).entries()[1]
    assert (entry.kind, entry.actor, entry.details) == (
        "webhook_added",
        "key:shop",
        {"host": "shop.example", "key": "shop"},
    )


def test_a_key_finds_its_own_endpoints_alone_and_an_operator_all(webhooks: Webhooks) -> None:
    mine, others = webhooks.add(PUBLIC, key="mine"), webhooks.add(PUBLIC, key="others")
    assert webhooks.endpoints.all(key="mine") == [mine]
    assert webhooks.endpoints.all() == [mine, others]
    for forbidden in (
        lambda: webhooks.endpoints.find(others.endpoint_id, key="mine"),
        lambda: webhooks.endpoints.change(others.endpoint_id, url=PUBLIC, key="mine", by=BY),
        lambda: webhooks.endpoints.rotate(others.endpoint_id, key="mine", by=BY),
        lambda: webhooks.endpoints.delete(others.endpoint_id, key="mine", by=BY),
        lambda: webhooks.endpoints.deliver_since(others.endpoint_id, START, key="mine", by=BY),
        lambda: webhooks.endpoints.find(uuid4()),
    ):
        with pytest.raises(NotFound):
            forbidden()


def test_there_is_a_limit_of_endpoints_a_key(webhooks: Webhooks) -> None:
    for _ in range(MAX_OF_A_KEY):
        webhooks.add(PUBLIC, key="shop")
    with pytest.raises(Rejected) as refusal:
        webhooks.add(PUBLIC, key="shop")
    assert refusal.value.code == "TOO_MANY_WEBHOOK_ENDPOINTS"
    webhooks.add(PUBLIC, key="other")


def test_there_is_a_limit_in_all(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_IN_ALL", 1)
    webhooks.add(PUBLIC, key="shop")
    with pytest.raises(Rejected):
        webhooks.add(PUBLIC, key="other")


def test_a_key_hears_of_its_own_sessions_and_of_carts_and_never_of_anothers(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, other: WebhookReceiver
) -> None:
    webhooks.add(receiver.url, key="mine", events=("order.created",))
    webhooks.add(other.url, events=("order.created",))
    sessions = [
        ordered(ledger, receipt=f"MAKER{number}", maker=maker)
        for number, maker in enumerate(("mine", "others", None))
    ]
    webhooks.work()
    assert {session for session, _ in receiver.sessions()} == {str(sessions[0]), str(sessions[2])}
    assert {session for session, _ in other.sessions()} == {str(each) for each in sessions}


def test_a_rotated_secret_signs_beside_the_one_before_for_a_day(webhooks: Webhooks) -> None:
    with freeze_time(START):
        added, first = webhooks.endpoints.add(PUBLIC, MESSAGE_TYPES, key=None, by=BY)
        rotated, second = webhooks.endpoints.rotate(added.endpoint_id, by=BY)
        assert rotated.definition.secrets_at(START) == [second, first]
        assert rotated.definition.secrets_at(START + ROTATED_FOR) == [second]
        again, third = webhooks.endpoints.rotate(added.endpoint_id, by=BY)
    assert again.definition.secrets_at(START) == [third, second]


def test_a_deleted_endpoint_is_told_of_nothing_and_leaves_nothing(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="DELETE")
    webhooks.follow()
    webhooks.endpoints.delete(endpoint.endpoint_id, by=BY)
    webhooks.work()
    assert receiver.received == []
    assert webhooks.rows("SELECT FROM webhook_deliveries") == []


def test_one_delivery_is_sent_again_under_its_id(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="AGAIN1")
    webhooks.work()
    last, first = webhooks.deliveries.page(endpoint.endpoint_id)
    webhooks.deliveries.deliver_again(endpoint.endpoint_id, first.delivery_id)
    webhooks.work()
    ids = [each.headers["webhook-id"] for each in receiver.received]
    assert ids == [ids[0], ids[1], ids[0]]
    assert len({each.body for each in receiver.received}) == 2
    with pytest.raises(NotFound):
        webhooks.deliveries.deliver_again(uuid4(), last.delivery_id)


def test_all_since_a_moment_is_sent_again_in_order(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url)
    old = ordered(ledger, receipt="OLD001")
    webhooks.work()
    [row] = webhooks.rows("SELECT clock_timestamp() AS now")
    new = ordered(ledger, receipt="NEW001")
    webhooks.work()
    receiver.received.clear()
    webhooks.endpoints.deliver_since(endpoint.endpoint_id, row["now"], by=BY)
    webhooks.work()
    assert receiver.sessions() == [(str(new), "payment.paid"), (str(new), "order.created")]
    webhooks.endpoints.deliver_since(endpoint.endpoint_id, row["now"] - timedelta(hours=1), by=BY)
    webhooks.work()
    assert [kind for each, kind in receiver.sessions() if each == str(old)] == [
        "payment.paid",
        "order.created",
    ]
    assert len(receiver.received) == 6


def test_an_endpoint_that_was_disabled_for_months_hears_from_a_month_before(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url)
    webhooks.endpoints.change(endpoint.endpoint_id, enabled=False, by=BY)
    ordered(ledger, receipt="LONG02")
    until_readable(ledger.database)
    with freeze_time(datetime.now(UTC) + MISSED_AT_MOST + timedelta(days=1)):
        webhooks.endpoints.change(endpoint.endpoint_id, enabled=True, by=BY)
        webhooks.work()
    assert receiver.received == []


def test_a_queue_that_is_full_waits_in_the_log(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_queue, "MAX_PENDING", 1)
    receiver.answer = answering(500)
    with freeze_time(START) as time:
        endpoint = webhooks.add(receiver.url)
        sessions = [ordered(ledger, receipt="FULL01")]
        webhooks.work()
        sessions.append(ordered(ledger, receipt="FULL02"))
        webhooks.work()
        assert len(webhooks.states(endpoint)) == 2
        receiver.answer = answering(200)
        receiver.received.clear()
        time.tick(timedelta(minutes=1))
        webhooks.work()
        webhooks.work()
    assert receiver.sessions() == [
        (str(session), kind) for session in sessions for kind in ("payment.paid", "order.created")
    ]


def test_what_is_told_after_an_erasure_lacks_the_callers_texts(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    webhooks.add(receiver.url)
    session_id = uuid4()
    sealed = webhooks.vault.encrypt(7, "INV-4711", purpose=REFERENCE, row=session_id)
    session = new_session(session_id=session_id, reference_sealed=sealed)
    session.expire(at=session.expires_at)
    ledger.add(session)
    webhooks.work()
    [endpoint] = webhooks.endpoints.all()
    assert "INV-4711" not in json.dumps(webhooks.rows("SELECT * FROM webhook_deliveries"), default=str)
    webhooks.vault.erase(7)
    [delivery] = webhooks.deliveries.page(endpoint.endpoint_id)
    webhooks.deliveries.deliver_again(endpoint.endpoint_id, delivery.delivery_id)
    webhooks.work()
    before, after = (each.message["data"] for each in receiver.received)
    assert before == after | {"reference": "INV-4711", "metadata": {}}
    assert (after["reference"], after["metadata"]) == (None, None)

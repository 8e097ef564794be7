"""Deliveries reach endpoints that take them, in order and signed, and those that do not delay nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from payments.webhooks import connections, delivery_queue, http_post
from payments.webhooks.delivery_outcome import RETRIED_FOR, RETRY_SCHEDULE
from tests.payments.webhooks.setting import BY, Webhooks, ordered
from tests.support.checkouts import Checkout
from tests.support.suites import others_in_system
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import WebhookHandler, WebhookReceiver, answering, reply

START = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
PAID_AND_ORDERED = ["payment.paid", "order.created"]


def test_an_endpoint_is_told_of_what_happens_from_its_creation_on(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    ordered(ledger, receipt="BEFORE")
    endpoint = webhooks.add(receiver.url)
    session = ordered(ledger, receipt="AFTER1")
    webhooks.work()
    assert receiver.sessions() == [(str(session), kind) for kind in PAID_AND_ORDERED]
    assert webhooks.states(endpoint) == ["delivered", "delivered"]
    assert receiver.received[0].path == "/hook?shop=1"
    assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"


def test_without_an_endpoint_nothing_is_looked_at(ledger: Ledger, webhooks: Webhooks) -> None:
    ordered(ledger, receipt="NOBODY")
    assert webhooks.work() == 0
    assert webhooks.log._end is None
    assert webhooks.rows("SELECT FROM webhook_deliveries") == []


def test_an_endpoint_hears_the_types_that_it_asked_for(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    webhooks.add(receiver.url, events=("order.created",))
    session = ordered(ledger, receipt="TYPES1")
    webhooks.work()
    assert receiver.sessions() == [(str(session), "order.created")]


def test_the_messages_of_a_session_go_in_one_round(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url)
    sessions = [ordered(ledger, receipt=f"ROUND{number}") for number in range(3)]
    webhooks.follow()
    assert webhooks.sender.run() + webhooks.sender.wait() == 6
    for session in sessions:
        assert [kind for each, kind in receiver.sessions() if each == str(session)] == PAID_AND_ORDERED
    assert webhooks.states(endpoint) == ["delivered"] * 6


def test_an_endpoint_costs_no_commit_for_types_that_it_did_not_ask_for(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = webhooks.add(receiver.url, events=("refund.done",))
    ordered(ledger, receipt="OTHER1")
    webhooks.work()
    assert webhooks.endpoints.find(added.endpoint_id).position == added.position
    # Far from what is stored, it is stored all the same: a worker that starts does not read it all anew.
    monkeypatch.setattr(delivery_queue, "MAX_UNSTORED", 0)
    ordered(ledger, receipt="OTHER2")
    webhooks.work()
    assert webhooks.endpoints.find(added.endpoint_id).position > added.position
    assert receiver.received == []


def test_a_failing_delivery_holds_back_its_session_alone(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    with freeze_time(START) as time:
        webhooks.add(receiver.url)
        poor, well = ordered(ledger, receipt="POOR01"), ordered(ledger, receipt="WELL01")
        receiver.answer = lambda handler: reply(
            handler, 500 if handler.got.message["data"]["session_id"] == str(poor) else 200
        )
        webhooks.work()
        assert (str(poor), "order.created") not in receiver.sessions()
        assert {kind for session, kind in receiver.sessions() if session == str(well)} == set(
            PAID_AND_ORDERED
        )
        receiver.answer = answering(200)
        time.tick(timedelta(seconds=6))
        receiver.received.clear()
        webhooks.work()
    assert receiver.sessions() == [(str(poor), kind) for kind in PAID_AND_ORDERED]


def test_an_endpoint_that_is_down_for_a_day_gets_everything_in_order(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, other: WebhookReceiver
) -> None:
    down = "http://127.0.0.1:9/hook"
    with freeze_time(START) as time:
        endpoint, healthy = webhooks.add(down), webhooks.add(other.url)
        sessions = []
        for hour in range(24):
            sessions.append(ordered(ledger, receipt=f"HOUR{hour:02d}"))
            webhooks.work()
            time.tick(timedelta(hours=1))
        assert len(other.received) == 48
        assert set(webhooks.states(healthy)) == {"delivered"}
        assert set(webhooks.states(endpoint)) == {"pending"}
        webhooks.endpoints.change(endpoint.endpoint_id, url=receiver.url, by=BY)
        sessions.append(ordered(ledger, receipt="HOUR24"))
        webhooks.work()
        webhooks.work()
    told = receiver.sessions()
    assert sorted(told) == sorted((str(session), kind) for session in sessions for kind in PAID_AND_ORDERED)
    for session in sessions:
        assert [kind for each, kind in told if each == str(session)] == PAID_AND_ORDERED


def test_an_endpoint_that_takes_nothing_for_days_is_disabled_and_goes_on_where_it_stopped(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    receiver.answer = answering(500)
    with freeze_time(START) as time:
        endpoint = webhooks.add(receiver.url)
        session = ordered(ledger, receipt="DOWN01")
        for pause in (*RETRY_SCHEDULE.pauses, timedelta()):
            webhooks.work()
            time.tick(pause)
        assert len(receiver.received) == len(RETRY_SCHEDULE.pauses) + 1
        disabled = webhooks.endpoints.find(endpoint.endpoint_id)
        assert (disabled.state, disabled.reason) == ("disabled", "only_failures")
        later = ordered(ledger, receipt="DOWN02")
        receiver.answer = answering(200)
        receiver.received.clear()
        webhooks.work()
        assert receiver.received == []
        webhooks.endpoints.change(endpoint.endpoint_id, enabled=True, by=BY)
        webhooks.work()
    told = receiver.sessions()
    for each in (session, later):
        assert [kind for of, kind in told if of == str(each)] == PAID_AND_ORDERED


def test_what_is_refused_for_days_by_an_endpoint_that_takes_others_is_given_up(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    with freeze_time(START) as time:
        endpoint = webhooks.add(receiver.url, events=("order.created",))
        poor = ordered(ledger, receipt="POOR02")
        receiver.answer = answering(400)
        webhooks.work()
        receiver.answer = answering(200)
        ordered(ledger, receipt="WELL02")
        webhooks.work()
        receiver.answer = answering(400)
        time.tick(RETRIED_FOR)
        webhooks.work()
        assert webhooks.endpoints.find(endpoint.endpoint_id).is_enabled
    given_up = webhooks.deliveries.page(endpoint.endpoint_id)[-1]
    assert (given_up.session_id, given_up.state, given_up.last_status) == (poor, "failed", 400)
    assert given_up.last_error == "HTTP status 400"


@pytest.mark.parametrize(("asked", "waits"), [("120", 120), ("999999", 3600), ("0", 1)])
def test_an_endpoint_that_asks_to_be_left_alone_is_so_within_bounds(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, asked: str, waits: int
) -> None:
    receiver.answer = answering(429, Retry_After=asked)
    with freeze_time(START):
        endpoint = webhooks.add(receiver.url)
        ordered(ledger, receipt="BUSY01")
        webhooks.work()
        paused = webhooks.endpoints.find(endpoint.endpoint_id).paused_until
        assert paused == START + timedelta(seconds=waits)
        ordered(ledger, receipt="BUSY02")
        webhooks.work()
    assert len(receiver.received) == 1


def test_an_endpoint_that_is_gone_is_disabled_at_once(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    receiver.answer = answering(410)
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="GONE01")
    webhooks.work()
    assert webhooks.endpoints.find(endpoint.endpoint_id).reason == "gone"
    assert len(receiver.received) == 1


def test_no_redirect_is_followed(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver, other: WebhookReceiver
) -> None:
    receiver.answer = answering(307, Location=other.url)
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="MOVED1")
    webhooks.work()
    assert other.received == []
    assert webhooks.deliveries.page(endpoint.endpoint_id)[-1].last_error == "HTTP status 307"


def test_of_a_long_answer_the_status_counts_and_the_rest_is_not_read(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    receiver.answer = lambda handler: reply(handler, 200, b"x" * 10_000_000)
    endpoint = webhooks.add(receiver.url, events=("order.created",))
    ordered(ledger, receipt="LONG01")
    webhooks.work()
    assert webhooks.states(endpoint) == ["delivered"]


def test_an_endless_head_is_cut(ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda handler: reply(handler, 200, X_Long="x" * connections.MAX_HEAD_BYTES)
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="HEAD01")
    webhooks.work()
    shown = webhooks.deliveries.page(endpoint.endpoint_id)[-1]
    assert shown.last_error == "the head of the answer is too long"


@pytest.mark.parametrize("slow", others_in_system(["hang", "drip"], "hang"))
def test_a_slow_endpoint_is_left_after_its_time_and_delays_no_other(
    ledger: Ledger,
    webhooks: Webhooks,
    receiver: WebhookReceiver,
    other: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
    slow: str,
) -> None:
    monkeypatch.setattr(http_post.Route.post, "__defaults__", (3.0,))
    receiver.answer = getattr(receiver, slow)
    endpoint = webhooks.add(receiver.url)
    webhooks.add(other.url)
    ordered(ledger, receipt="SLOW01")
    webhooks.follow()

    def is_told() -> bool:
        webhooks.sender.run()
        return [kind for _, kind in other.sessions()] == PAID_AND_ORDERED

    wait_until(is_told, "the other endpoint is told")
    assert endpoint.endpoint_id in webhooks.sender._busy
    webhooks.sender.wait()
    assert webhooks.deliveries.page(endpoint.endpoint_id)[-1].last_error == "no answer in time"


def test_what_was_sent_and_not_marked_is_sent_once_more(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    endpoint = webhooks.add(receiver.url, events=("order.created",))
    ordered(ledger, receipt="KILL01")
    webhooks.follow()
    due = webhooks.deliveries.page(endpoint.endpoint_id)
    webhooks.sender._attempt(webhooks.endpoints.enabled()[0], [due])
    webhooks.work()
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert webhooks.states(endpoint) == ["delivered"]


def test_a_process_that_ends_waits_for_what_is_under_way_and_sends_no_more(
    ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver
) -> None:
    def wait_for_the_end(handler: WebhookHandler) -> None:
        wait_until(webhooks.sender._closing.is_set, "the process is to end")
        reply(handler, 204)

    receiver.answer = wait_for_the_end
    endpoint = webhooks.add(receiver.url)
    ordered(ledger, receipt="ENDS01")
    webhooks.follow()
    webhooks.sender.run()
    wait_until(lambda: bool(receiver.received), "the first is under way")
    webhooks.sender.close()
    assert [kind for _, kind in receiver.sessions()] == PAID_AND_ORDERED[:1]
    assert webhooks.states(endpoint) == ["delivered", "pending"]


def test_an_expired_session_is_told(ledger: Ledger, webhooks: Webhooks, receiver: WebhookReceiver) -> None:
    webhooks.add(receiver.url)
    session = Checkout(ledger).expire().session_id
    webhooks.work()
    assert receiver.sessions() == [(str(session), "payment.expired")]


def test_of_two_workers_one_delivers_and_the_other_goes_on_once_it_has_ended(
    ledger: Ledger, database: Database, receiver: WebhookReceiver
) -> None:
    first, second = (Webhooks(ledger, database) for _ in range(2))
    endpoint = first.add(receiver.url)
    locks = [ActiveLock(LockConnection(database.url), "webhook_sending") for _ in range(2)]
    assert [lock.try_acquire() for lock in locks] == [True, False]
    ordered(ledger, receipt="WORKER")
    first.follow()
    second.follow()
    assert len(first.states(endpoint)) == 2
    locks[0].release()
    assert locks[1].try_acquire()
    second.work()
    assert [kind for _, kind in receiver.sessions()] == PAID_AND_ORDERED
    locks[1].release()

"""A database that release 0.1 made opens in this code, verifies, and goes on."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from eventsourcing.persistence import JSONTranscoder, StoredEvent
from freezegun import freeze_time

from ledger.clock import now
from ledger.session.events import EVENT_CLASSES, PaymentReversed
from ledger.store.blocks import KeptName
from ledger.store.mapper import SessionMapper
from ledger.store.migrate import migrate, migrations, pending
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import tally
from payments.mpesa.credentials import CredentialStore
from payments.reconciliation.matcher import UNPROCESSED_AFTER
from projections import history
from tests.payments.refunds.steps import reversed_in_full
from tests.scenarios.steps import PHONE, Clock, approve, count, event_names, observe, report
from tests.security.test_moved_ciphertexts import COLUMNS as SEALED_COLUMNS
from tests.support.database import new_database, reachable_folder
from tests.support.instance import SIMULATED, Client, Instance, running_instance
from tests.support.invariants import assert_invariants_hold
from tests.upgrade.past_payments import notice
from tests.upgrade.release import KNOWN_TEXTS, MASTER_KEY, count_all, expected, load

OPERATOR = 9
EVENTS = "SELECT session_id, version, topic, state::text FROM payment_events"
ONE_OF_EACH_TOPIC = "SELECT DISTINCT ON (topic) topic, session_id FROM payment_events"
PAID_BEFORE = ("paid_and_not_ordered", "order_retried", "prompted_with_callback", "paid_by_a_movement")
"""Sessions whose money was known, or its message kept, when the old instance stopped before there was an order."""

FOLLOWING_BLOCK = "SELECT previous_hash FROM signed_blocks WHERE origin = %s AND number = %s"
NEW_FOLLOWERS = ("goods_returns", "journal_entries", "payment_figures", "payment_search")
POSITIONS = "SELECT name, position FROM follower_positions"
TOO_EARLY = (
    "SELECT inbox_id FROM daraja_inbox WHERE reason = 'unknown_checkout_request' AND state = 'set_aside'"
)


@dataclass(frozen=True)
class Upgraded:
    """A database that was loaded and migrated, and nothing since; tests clone it."""

    url: str
    loaded: tuple[str, ...]
    applied: tuple[str, ...]

    @property
    def name(self) -> str:
        return urlsplit(self.url).path.lstrip("/")


@pytest.fixture(scope="module")
def upgraded(server_url: str) -> Iterator[Upgraded]:
    with new_database(server_url) as url:
        load(url)
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT name FROM schema_migrations").fetchall()
        yield Upgraded(url, tuple(name for (name,) in rows), tuple(migrate(url)))


@pytest.fixture
def database_url(server_url: str, upgraded: Upgraded) -> Iterator[str]:
    """The URL of an upgraded database that belongs to this test alone."""
    with new_database(server_url, upgraded.name) as url:
        yield url


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Time, stopped at the moment when the old instance was."""
    with freeze_time(expected()["ended_at"]) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture(scope="module")
def opened(server_url: str, upgraded: Upgraded) -> Iterator[Instance]:
    """An instance of today's code on the old database, at that moment too, for tests that only look."""
    folder = reachable_folder()
    with (
        freeze_time(expected()["ended_at"]),
        new_database(server_url, upgraded.name) as url,
        running_upgraded(url, folder) as running,
    ):
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def continued(clock: Clock, database_url: str, data_folder: Path) -> Iterator[Instance]:  # noqa: ARG001 - stops time first
    """One for a test that does something with it, after which all invariants hold."""
    with running_upgraded(database_url, data_folder) as running:
        yield running
        assert_invariants_hold(
            running.services.database,
            running.services.vault,
            known_texts=KNOWN_TEXTS,
            with_messages=True,
            prompt_seconds=running.settings.daftari_prompt_seconds,
        )


@contextmanager
def running_upgraded(url: str, folder: Path) -> Iterator[Instance]:
    """Lend an instance that takes M-Pesa's credentials from the database."""
    stored = dict.fromkeys(SIMULATED, "")
    with running_instance(url, folder, DAFTARI_MASTER_KEY=MASTER_KEY, **stored) as running:
        yield running


def old(name: str) -> dict[str, Any]:
    """Return what is known of an old session: its id, user, status, version and history, and more for some."""
    found: dict[str, Any] = expected()["sessions"][name]
    return found


def buyer_of(instance: Instance, name: str) -> Client:
    return instance.client(old(name)["user_id"])


def since(instance: Instance, name: str) -> list[str]:
    """Return the names of an old session's events since the upgrade."""
    return event_names(instance, old(name)["session_id"])[old(name)["version"] :]


def refund_of(instance: Instance, name: str) -> dict[str, Any]:
    path = f"/api/payments/refunds/{old(name)['session_id']}/1/"
    shown: dict[str, Any] = instance.client(OPERATOR, "operator").get(path).json()
    return shown


def operate(instance: Instance, path: str, **body: str) -> None:
    answer = instance.client(OPERATOR, "operator").post(path, json=body)
    assert answer.status_code == 200, answer.text


def test_no_migration_is_applied_a_second_time(upgraded: Upgraded) -> None:
    applied = [name.rpartition("/")[2] for name in upgraded.applied]
    assert not set(applied) & set(upgraded.loaded)
    assert len(applied) + len(upgraded.loaded) == len(migrations())


def test_no_migration_is_pending_after_the_upgrade(database_url: str) -> None:
    assert pending(database_url) == []
    assert migrate(database_url) == []


def test_all_rows_are_there(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        counts = count_all(connection)
    rows, rows_then = counts.pop("rows_by_table"), expected()["rows_by_table"]
    assert counts == {name: expected()[name] for name in counts}
    for table in rows.keys() & rows_then.keys() - {"schema_migrations"}:
        assert rows[table] == rows_then[table], table


def test_every_event_is_decoded_and_encoded_unchanged(database_url: str) -> None:
    mapper, topics = SessionMapper(JSONTranscoder()), set()
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(EVENTS).fetchall()
    for session_id, version, topic, state in rows:
        event = mapper.to_domain_event(StoredEvent(session_id, version, topic, state.encode()))
        again = mapper.to_stored_event(event)
        written, stored = json.loads(again.state), json.loads(state)
        if written.get("class_version", 1) == stored.get("class_version", 1):
            assert (again.topic, written) == (topic, stored)
        else:
            again_read = mapper.to_domain_event(StoredEvent(session_id, version, topic, again.state))
            assert again_read == event
        topics.add(topic)
    assert topics == {event.TOPIC for event in EVENT_CLASSES if event is not PaymentReversed}


def test_events_have_their_public_names(opened: Instance) -> None:
    found: dict[str, str] = {}
    for topic, session_id in observe(opened, ONE_OF_EACH_TOPIC):
        entries = history.history(opened.services.database, opened.services.ledger.macs, session_id)
        found |= {entry.topic: entry.name for entry in entries if entry.topic == topic}
    assert found == expected()["names_by_topic"]


def test_sessions_keep_status_version_and_history(opened: Instance) -> None:
    for name, known in expected()["sessions"].items():
        shown = buyer_of(opened, name).status(known["session_id"])
        assert (shown["session_status"], shown["version"]) == (known["status"], known["version"]), name
        assert buyer_of(opened, name).events(known["session_id"]) == known["history"], name


def test_the_same_cases_are_open(opened: Instance) -> None:
    found = tally(opened.services.database, now())
    listed: dict[str, int] = expected()["cases_by_kind"]
    unauthenticated = 3  # Cases of their own before, and one together now.
    known = listed | {"letter_set_aside": listed["letter_set_aside"] - unauthenticated + 1}
    assert {str(kind): each.cases for kind, each in found.items() if kind in known} == known
    assert all(each.cases == 0 for kind, each in found.items() if kind not in known)


def test_verification_finds_no_violation_and_the_last_signed_block(opened: Instance) -> None:
    run = opened.services.verifier.run([KeptName.parse(expected()["last_block"])])
    assert (run.violations, run.events) == ([], sum(expected()["events_by_topic"].values()))


def test_encrypted_values_are_decrypted(opened: Instance) -> None:
    services, pending = opened.services, old("pending")
    assert CredentialStore(services.database, services.vault).read() == expected()["credentials"]
    shown = buyer_of(opened, "pending").get(f"/api/payments/sessions/{pending['session_id']}/").json()
    assert shown["delivery_details"].items() >= pending["delivery"].items()


def test_an_erased_customer_stays_erased(opened: Instance) -> None:
    answer = buyer_of(opened, "erased").get(f"/api/payments/sessions/{old('erased')['session_id']}/")
    assert (answer.status_code, answer.json()["error_code"]) == (410, "ERASED")


def test_a_stored_answer_is_replayed(opened: Instance) -> None:
    before, known = count(opened, "payment_sessions"), old("pending")
    answer = buyer_of(opened, "pending").create(key=known["key"], delivery_details=known["delivery"])
    assert (answer.status_code, answer.json()) == (201, known["answer"])
    assert count(opened, "payment_sessions") == before


def test_a_key_whose_answer_was_lost_returns_the_same_session(continued: Instance) -> None:
    known = old("answer_not_kept")
    answer = buyer_of(continued, "answer_not_kept").create(
        key=known["key"], delivery_details=known["delivery"]
    )
    assert (answer.status_code, answer.json()["session_id"]) == (201, known["session_id"])


def test_an_open_session_is_paid_and_ordered(continued: Instance) -> None:
    answer = buyer_of(continued, "pending").initiate(old("pending")["session_id"], phone_number=PHONE)
    assert answer.status_code == 200, answer.text
    approve(continued)
    continued.work()
    assert since(continued, "pending") == ["PaymentRequested", "PaymentInitiated", "Paid", "OrderCreated"]


def test_a_live_prompt_locks_its_phone_until_its_callback(continued: Instance) -> None:
    prompted = old("prompted")
    rival = buyer_of(continued, "pending")
    busy = rival.initiate(old("pending")["session_id"], phone_number=prompted["phone"])
    assert (busy.status_code, busy.json()["error_code"]) == (409, "PHONE_BUSY")
    report(continued, prompted["callback_path"], prompted["callback"])
    continued.work()
    assert since(continued, "prompted") == ["Paid", "OrderCreated"]
    assert rival.initiate(old("pending")["session_id"], phone_number=prompted["phone"]).status_code == 200


def test_a_c2b_confirmation_is_matched_by_its_reference(continued: Instance) -> None:
    prompted = old("prompted_for_c2b")
    confirmation = notice("UKG0C2BNEW", prompted["reference"], prompted["shillings"])
    report(continued, expected()["confirmation_path"], confirmation)
    continued.work()
    assert since(continued, "prompted_for_c2b") == ["Paid", "OrderCreated"]


def test_the_worker_continues_where_it_stopped(clock: Clock, continued: Instance) -> None:
    orders, positions = count(continued, "shop_orders"), dict(observe(continued, POSITIONS))
    clock.tick(UNPROCESSED_AFTER + timedelta(seconds=1))
    continued.work()
    for name in PAID_BEFORE:
        assert since(continued, name)[-1] == "OrderCreated", name
    assert count(continued, "shop_orders") == orders + len(PAID_BEFORE)
    moved = dict(observe(continued, POSITIONS))
    assert moved.keys() == {*positions, *NEW_FOLLOWERS}
    assert all(moved[name] > position for name, position in positions.items())


def test_the_worker_encrypts_values_of_the_release_before_anew(continued: Instance) -> None:
    [job] = [job for job in continued.jobs if job.name == "reencryption"]
    left = " + ".join(
        f"(SELECT count(*) FROM {table} WHERE {column} LIKE 'v1.%%')"
        for table, _, column in (name.partition(".") for name in SEALED_COLUMNS)
    )
    [[before]] = observe(continued, f"SELECT {left}")
    assert before > 20
    while job.work():
        pass
    assert observe(continued, f"SELECT {left}") == [(0,)]
    assert (
        CredentialStore(continued.services.database, continued.services.vault).read()
        == expected()["credentials"]
    )
    assert observe(continued, "SELECT count(*) FROM reencrypted_tables") == [(0,)]  # Within the first day.


def test_new_blocks_are_chained_to_the_old_ones(continued: Instance) -> None:
    last = KeptName.parse(expected()["last_block"])
    continued.work()
    [following] = observe(continued, FOLLOWING_BLOCK, last.origin, last.number + 1)
    assert following == (last.hash,)


def test_a_due_refund_can_be_approved_and_is_sent(continued: Instance) -> None:
    operate(continued, f"/api/payments/refunds/{old('refund_due')['session_id']}/1/approve/")
    assert refund_of(continued, "refund_due")["state"] == "approved"
    continued.work()
    assert since(continued, "refund_due") == ["RefundApproved", "RefundRequested", "RefundAccepted"]


def test_the_result_of_an_older_refund_attempt_completes_it(continued: Instance) -> None:
    sent = old("refund_requested")
    body = reversed_in_full(OriginalTransactionID=sent["receipt"], Amount=sent["shillings"])
    ids = (
        ("ConversationID", sent["conversation_id"]),
        (
            "OriginatorConversationID",
            sent["originator_conversation_id"],
        ),
    )
    body["Result"] |= dict(ids)
    report(continued, sent["result_path"], body)
    assert since(continued, "refund_requested") == ["Refunded"]


def test_a_dead_lettered_message_is_retried(continued: Instance) -> None:
    [[inbox_id]] = observe(continued, TOO_EARLY)
    operate(continued, f"/api/work-list/{Kind.MESSAGE_DEAD_LETTERED}/{inbox_id}/retry/")
    continued.work()
    outcome = observe(continued, "SELECT state, reason FROM daraja_inbox WHERE inbox_id = %s", inbox_id)
    assert outcome == [("acted_on", "no_news")]


def test_a_dead_lettered_event_is_retried(continued: Instance) -> None:
    known = old("without_order")
    [[version]] = observe(
        continued, "SELECT version FROM follower_failures WHERE session_id = %s", known["session_id"]
    )
    case_id = f"orders.{known['session_id']}.{version}"
    operate(continued, f"/api/work-list/{Kind.EVENT_DEAD_LETTERED}/{case_id}/retry/")
    continued.work()
    assert since(continued, "without_order") == ["OrderCreated"]

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import psycopg
import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.store.audit_log import AuditLog
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.vault import ERASED_VALUE, Vault
from payments.exceptions import figures
from payments.exceptions.alarms import Alarms, AlarmTerms
from payments.exceptions.figures import OTHER_RULE, RULES, Watched
from payments.operators.switches import Switches
from payments.verification.verifier import Verifier
from tests.payments.exceptions.test_work_list import ASIDE, GIVEN_UP
from tests.support.checkouts import HALF_PAST_TEN, Checkout
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

WAITING, HELD, DEAD = "daftari_oldest_waiting_seconds", "daftari_money_held_cents", "daftari_dead_letters"
OF_ALL_TIME = """
INSERT INTO daraja_inbox (inbox_id, received_at, session_id, key_owner, sealed_body, body_bytes, body_sha256, state,
                          tries, next_try_at, is_proven)
VALUES (gen_random_uuid(), '-infinity', NULL, 0, 'v1.x', 2, 'x', 'new', 0, now(), true)
"""


def watch(database: Database) -> Watched:
    vault = Vault(database, MASTER_KEY)
    return Watched(
        database,
        event_macs(database),
        Alarms(database, AlarmTerms(None, None, None)),
        Switches(database, AuditLog(database, vault.keys)),
        Verifier(database, vault, prompt_seconds=60, every=timedelta(days=1)),
    )


def at(moment: datetime, database: Database) -> Mapping[str, Any]:
    with freeze_time(moment):
        return watch(database).figures()


def test_an_empty_store_waits_for_nothing_and_holds_nothing(database: Database) -> None:
    shown = watch(database).figures()
    for name in (WAITING, HELD, DEAD):
        assert set(shown[name].values()) == {0.0}, name  # type: ignore[union-attr]  # several values
    assert shown["daftari_block_height"] == 0.0
    assert shown["daftari_verified_seconds"] == {}


def test_ages_and_money_follow_a_payment(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt()
    doubted = at(checkout.at + timedelta(minutes=20), database)
    assert doubted[WAITING]["payment_in_doubt"] == pytest.approx(20 * 60, abs=10)
    checkout.pay()
    paid = at(checkout.at + timedelta(seconds=90), database)
    assert paid[WAITING]["payment_in_doubt"] == 0
    assert paid[WAITING]["paid_without_order"] == pytest.approx(90, abs=10)
    assert paid[HELD] == {"paid_without_order": 350_00, "refund_due": 0}
    checkout.refuse_order()
    assert at(checkout.at, database)[HELD] == {"paid_without_order": 0, "refund_due": 350_00}
    checkout.refund()
    assert at(checkout.at, database)[HELD] == {"paid_without_order": 0, "refund_due": 0}


def test_what_no_block_covers_has_an_age_until_it_is_signed(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt()
    until_readable(database)
    before = watch(database).figures()
    assert 0 < before["daftari_unsigned_seconds"] < 60  # type: ignore[operator]  # one value
    vault = Vault(database, MASTER_KEY)
    BlockSigner(database, lambda: vault.block_key, lambda: vault.block_keys).run()
    after = watch(database).figures()
    assert (after["daftari_block_height"], after["daftari_unsigned_seconds"]) == (1.0, 0.0)


def test_dead_letters_are_counted_apart(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay()
    with database.connection() as connection:
        connection.execute(ASIDE, (HALF_PAST_TEN,))
        connection.execute(GIVEN_UP, (checkout.session_id, HALF_PAST_TEN))
    assert watch(database).figures()[DEAD] == {"messages": 0, "unauthenticated_messages": 1, "events": 1}


def test_a_planted_moment_stops_nothing(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(OF_ALL_TIME)
    assert watch(database).figures()[WAITING]["inbound_message"] == float("inf")  # type: ignore[index]  # several


def test_violations_are_counted_by_rule_until_a_run_finds_none(
    ledger: Ledger, database: Database, database_url: str
) -> None:
    Checkout(ledger, phone_sealed=ERASED_VALUE, delivery_sealed=ERASED_VALUE).prompt()
    verifier = Verifier(database, Vault(database, MASTER_KEY), prompt_seconds=60, every=timedelta(days=1))
    until_readable(database)
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE payment_sessions SET total_cents = 1")
    verifier.run()
    found = watch(database).figures()["daftari_invariant_violations"]
    assert isinstance(found, Mapping)
    assert found["rows"] == 1
    assert set(found) == RULES | {OTHER_RULE}
    later = at(clock.now() + timedelta(hours=2), database)["daftari_verified_seconds"]
    assert later == {"whole": pytest.approx(7200, abs=60)}
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE payment_sessions SET total_cents = 35000")
    verifier.run()
    assert watch(database).figures()["daftari_invariant_violations"]["rows"] == 0  # type: ignore[index]  # several


class Slow(Watched):
    """Reads once the test lets it."""

    reads = 0

    def __init__(self, began: Event, go_on: Event) -> None:
        super().__init__(*([None] * 5))  # type: ignore[arg-type]  # nothing is read
        self._began, self._go_on = began, go_on

    def _read(self, _now: datetime) -> figures.Figures:
        self.reads += 1
        self._began.set()
        assert self._go_on.wait(20)
        return {"daftari_block_height": float(self.reads)}


def test_those_who_ask_at_once_share_one_read() -> None:
    began, go_on = Event(), Event()
    watched = Slow(began, go_on)
    with freeze_time(HALF_PAST_TEN), ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(watched.figures) for _ in range(4)]
        assert began.wait(20)
        go_on.set()
        assert [each.result(20) for each in asked] == 4 * [{"daftari_block_height": 1.0}]
    with freeze_time(HALF_PAST_TEN + timedelta(seconds=1)):
        assert watched.figures() == {"daftari_block_height": 2.0}


def test_who_waits_too_long_for_another_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "WAIT_SECONDS", 0.01)
    began, go_on = Event(), Event()
    watched = Slow(began, go_on)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(watched.figures)
        assert began.wait(20)
        with pytest.raises(Unavailable):
            watched.figures()
        go_on.set()
        assert first.result(20)

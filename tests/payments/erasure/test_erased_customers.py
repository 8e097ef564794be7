"""Each erasure was decided by people, and leaves nothing that opens or points at the person; else `verify` names it."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected
from ledger.session.values import Evidence
from ledger.store.audit_log import CUSTOMER_ERASED, AuditLog
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.erasure.erasures import Erasures
from payments.erasure.retention import Retention
from payments.inbox.inbox import Channel, Inbox
from payments.prompts.phone_locks import PhoneLocks
from payments.prompts.prompt_limits import PromptLimits
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from projections.integrity.invariants import check
from tests.payments.erasure.conftest import NUMBER, REASON
from tests.support.checkouts import Checkout
from tests.support.phone_locks import lock_phone

RESTORE_KEY = "UPDATE customer_keys SET wrapped_key = %s, destroyed_at = NULL WHERE user_id = 7"
FORGED = "SELECT record_audit_entry(gen_random_uuid(), now(), %s, 'user:42', 'user:7', '', '{}', 0, %s)"


def told(database: Database, vault: Vault) -> list[str]:
    return [found.detail for found in check(database, vault) if found.rule == "erasures"]


def erase(erasures: Erasures) -> dict[str, int]:
    erasures.propose(7, by="user:41", reason=REASON)
    return erasures.approve(7, by="user:42")


def as_superuser(database: Database, statement: str, *values: Any) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(statement.encode(), values).rowcount > 0


@pytest.mark.usefixtures("checkout")
def test_an_erasure_by_two_persons_is_no_violation(
    database: Database, vault: Vault, erasures: Erasures
) -> None:
    assert told(database, vault) == []
    erase(erasures)
    assert told(database, vault) == []


@pytest.mark.usefixtures("checkout")
def test_an_erasure_past_daftari_is_named(database: Database, vault: Vault) -> None:
    with database.connection() as connection:
        connection.execute("SELECT erase_customer(7, '{}')")
        connection.execute(FORGED, (CUSTOMER_ERASED, bytes(32)))
    assert told(database, vault) == [
        "user 7 was erased, and no signed entry of the audit log says who decided it"
    ]


@pytest.mark.usefixtures("checkout")
def test_the_entry_of_one_erasure_covers_no_second_call(
    database: Database, vault: Vault, erasures: Erasures
) -> None:
    erase(erasures)
    with database.connection() as connection:
        connection.execute("SELECT erase_customer(7, '{\"the digest of somebody else\"}')")
    assert len(told(database, vault)) == 1


@pytest.mark.usefixtures("checkout")
def test_a_key_that_was_destroyed_past_the_function_is_named(database: Database, vault: Vault) -> None:
    as_superuser(database, "UPDATE customer_keys SET wrapped_key = NULL, destroyed_at = now()")
    assert told(database, vault) == ["the key of user 7 was destroyed, and no erasure is recorded"]


def test_a_key_that_came_back_is_named_and_so_is_what_it_opens(
    database: Database, vault: Vault, erasures: Erasures, checkout: Checkout
) -> None:
    with database.connection() as connection:
        row = connection.execute("SELECT wrapped_key FROM customer_keys WHERE user_id = 7").fetchone()
    assert row is not None
    erase(erasures)
    as_superuser(database, RESTORE_KEY, row["wrapped_key"])
    found = {each.detail: each.session_id for each in check(database, vault) if each.rule == "erasures"}
    assert found == {
        "user 7 was erased, and has a key again": None,
        "its customer was erased, and an encrypted value of it still opens": checkout.session_id,
    }


@pytest.mark.usefixtures("checkout")
def test_an_entry_without_its_erasure_is_named(database: Database, vault: Vault, audit_log: AuditLog) -> None:
    audit_log.record(None, CUSTOMER_ERASED, actor="user:42", subject="user:7")
    assert told(database, vault) == [
        "the audit log says that user:7 was erased, and the key is not destroyed"
    ]


LEFT = {
    "prompt_counts": "INSERT INTO prompt_counts VALUES (7, 'digest', now(), 1, 1, now(), NULL)",
    "live_prompts": "INSERT INTO live_prompts VALUES ('digest', gen_random_uuid(), now(), 1, 7)",
    "idempotency_keys": """INSERT INTO idempotency_keys
        VALUES (7, 'key', 'fingerprint', NULL, 200, 'v2.x', now() - interval '1 day')""",
    "mpesa_movements": """INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at,
            evidence, verdict, first_seen_at, session_id, payer_digest)
        SELECT 'payment X', 'payment', 'X', true, 1, now(), 'c2b', 'posted', now(), session_id, 'digest'
        FROM payment_sessions""",
    "daraja_inbox": """INSERT INTO daraja_inbox (inbox_id, received_at, session_id, attempt, key_owner, sealed_body,
            body_bytes, body_sha256, state, tries, is_proven)
        SELECT gen_random_uuid(), now(), session_id, 1, 0, 'v2.x', 1, 'x', 'acted_on', 0, true FROM payment_sessions""",
}

MASKED = """INSERT INTO daraja_inbox (inbox_id, received_at, about_session, key_owner, sealed_body, body_bytes,
                                  body_sha256, state, tries, is_proven)
VALUES (%s, now(), %s, 0, 'v2.x', 1, 'x', 'acted_on', 0, true)"""


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("table", LEFT)
def test_what_is_left_of_an_erased_customer_is_named(
    database: Database, vault: Vault, erasures: Erasures, table: str
) -> None:
    erase(erasures)
    as_superuser(database, LEFT[table])
    assert told(database, vault) == [f"user 7 was erased, and {table} still holds rows of theirs"]


@pytest.mark.parametrize("is_source", [True, False])
def test_a_message_that_names_neither_session_nor_phone_and_is_left_is_named(
    database: Database, vault: Vault, erasures: Erasures, ledger: Ledger, is_source: bool
) -> None:
    inbox_id = uuid4()
    with caused_by(Cause.CALLBACK, source=str(inbox_id) if is_source else "a file", actor="mpesa"):
        checkout = Checkout(ledger, user_id=7).prompt().pay("UKG7MASKED").order(789)
    erase(erasures)
    as_superuser(database, MASKED, inbox_id, None if is_source else checkout.session_id)
    assert told(database, vault) == ["user 7 was erased, and daraja_inbox still holds rows of theirs"]


def notice(movements: Movements, receipt: str, session: Checkout | None) -> None:
    """Store a movement from the customer's phone, and match it if there is a session."""
    payment = Movement(
        MovementKind.PAYMENT, receipt, 100, clock.now(), Evidence.C2B, reference="Wanjiku", payer=NUMBER
    )
    movements.store([payment], clock.now())
    if session is not None:
        result = MatchResult(payment, MatchVerdict.POSTED, session_id=session.session_id)
        movements.store_results([result], clock.now())


def of_payers(database: Database) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(
            "SELECT receipt, sealed_reference, payer_digest FROM mpesa_movements ORDER BY receipt"
        ).fetchall()


def test_every_digest_in_a_table_of_its_own_goes(
    database: Database, vault: Vault, erasures: Erasures, checkout: Checkout
) -> None:
    locks, movements = PhoneLocks(database, PromptLimits(9, 9, 9)), Movements(database, vault)
    digest, now = vault.digest("phone", NUMBER), clock.now()
    for user, session_id, hours in ((7, checkout.session_id, 2), (8, uuid4(), 1)):
        began = now - timedelta(hours=hours)
        lock_phone(database, locks, digest, session_id, user, now=began, until=began + timedelta(minutes=1))
    notice(movements, "UKG1", checkout)

    counts = erase(erasures)

    assert (counts["prompt_counts"], counts["phone_locks"], counts["movements"]) == (2, 1, 1)
    assert of_payers(database) == [{"receipt": "UKG1", "sealed_reference": None, "payer_digest": None}]
    assert told(database, vault) == []


@pytest.mark.usefixtures("checkout")
def test_a_payment_that_belongs_to_nothing_yet_has_to_be_settled_first(
    database: Database, vault: Vault, erasures: Erasures
) -> None:
    movements = Movements(database, vault)
    notice(movements, "UKG1", None)
    result = MatchResult(
        Movement(MovementKind.PAYMENT, "UKG1", 100, clock.now(), Evidence.C2B), MatchVerdict.UNKNOWN
    )
    movements.store_results([result], clock.now())
    with pytest.raises(Rejected, match="belongs to no session yet"):
        erasures.propose(7, by="user:41", reason=REASON)
    movements.close("payment UKG1", closed_by="user:41", note="returned", now=clock.now())
    erase(erasures)
    assert of_payers(database) == [{"receipt": "UKG1", "sealed_reference": None, "payer_digest": None}]


def test_a_movement_that_comes_late_is_kept_without_who_paid(
    database: Database, vault: Vault, erasures: Erasures, checkout: Checkout
) -> None:
    erase(erasures)
    notice(Movements(database, vault), "UKG1", checkout)
    assert of_payers(database) == [{"receipt": "UKG1", "sealed_reference": None, "payer_digest": None}]
    assert told(database, vault) == []


def test_a_late_message_without_a_session_is_emptied_if_it_is_about_an_erased_customer(
    database: Database, vault: Vault, erasures: Erasures, ledger: Ledger, checkout: Checkout
) -> None:
    inbox, other = Inbox(database, vault), Checkout(ledger, user_id=8)
    erase(erasures)
    for session_id in (checkout.session_id, other.session_id):
        body = f'{{"MSISDN": "{NUMBER}"}}'.encode()
        message = inbox.store(
            body,
            body_bytes=len(body),
            channel=Channel.C2B_CONFIRMATION,
            is_authenticated=True,
            now=clock.now(),
        )
        inbox.settle(message, "posted", clock.now(), about=session_id)
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT sealed_body = 'erased' AS is_empty, phone_digests FROM daraja_inbox ORDER BY received_at"
        ).fetchall()
    assert [row["is_empty"] for row in rows] == [True, False]
    assert rows[0]["phone_digests"] is None


def test_counts_of_an_erased_customer_that_came_late_are_purged(
    database: Database, vault: Vault, erasures: Erasures
) -> None:
    vault.erase(7)
    as_superuser(database, LEFT["prompt_counts"])
    assert Retention(database, erasures, {}).purge() == 1

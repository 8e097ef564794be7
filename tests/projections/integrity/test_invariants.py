"""Each invariant holds for honest histories, and notices when somebody breaks it by hand."""

from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from freezegun import freeze_time
from psycopg.types.json import Jsonb

from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import DELIVERY, PHONE, Vault
from projections.cases import PaymentCases
from projections.figure_sums import PaymentFigures
from projections.follower import Follower
from projections.integrity.invariants import check
from projections.integrity.money_rules import PAID_MAY_TAKE
from projections.integrity.violations import MAX_PER_RULE, Violation
from projections.journal import Journal
from projections.metrics import PaymentMetrics
from tests.support.checkouts import HALF_PAST_TEN, Checkout, one_of_every_kind
from tests.support.erasures import erase
from tests.support.horizon import until_readable
from tests.support.invariants import assert_invariants_hold
from tests.support.keys import event_macs, key_ring

VAULT_KEY = bytes(range(32))
MESSAGE = """
INSERT INTO daraja_inbox (inbox_id, received_at, session_id, attempt, key_owner, sealed_body, body_bytes, body_sha256,
                          state, tries, is_proven)
VALUES (gen_random_uuid(), now(), %s, 1, 7, 'v1.x', 1, 'x', 'acted_on', 0, true)
"""
WRITE_FREELY = "SET session_replication_role = replica"  # Triggers, the keepers of the log, do not fire then.


def tamper(database: Database, statement: str, *values: object) -> None:
    """Change tables as their owner, with the triggers off."""
    with psycopg.connect(database.url, autocommit=True) as intruder:
        intruder.execute(WRITE_FREELY)
        assert intruder.execute(statement.encode(), values).rowcount > 0


def rules(found: list[Violation]) -> set[str]:
    return {violation.rule for violation in found}


def test_all_is_well_with_sessions_of_every_kind(ledger: Ledger, database: Database) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    for projection in (PaymentMetrics(), PaymentFigures()):
        Follower(database, event_macs(database), projection).catch_up()
    assert check(database) == []


def test_all_is_well_with_an_empty_ledger_and_shop(database: Database) -> None:
    assert_invariants_hold(database)


@pytest.mark.usefixtures("checkout")
def test_metrics_that_lag_behind_are_not_wrong(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt()
    assert check(database) == []


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("statement", "rule", "detail"),
    [
        (
            "UPDATE payment_events SET state = jsonb_set(state, '{amount_cents}', '1') WHERE version = 4",
            "hash chain",
            "version 4 was altered",
        ),
        (
            "UPDATE payment_events SET state = jsonb_set(state, '{attempt}', '9') WHERE version = 4",
            "hash chain",
            "version 4 was altered",
        ),
        (
            "UPDATE payment_events SET previous_hash = hash WHERE version = 3",
            "hash chain",
            "does not carry the hash",
        ),
        ("DELETE FROM payment_events WHERE version = 2", "versions", "do not run 1, 2, 3"),
        ("UPDATE payment_events SET position = 1 WHERE version = 5", "versions", "positions do not rise"),
        ("UPDATE payment_events SET position = 1", "versions", "is not of one event only"),
        ("UPDATE payment_events SET topic = 'unheard.of' WHERE version = 2", "versions", "cannot be read"),
        ("DELETE FROM payment_events", "rows", "a row in payment_sessions and no event"),
        ("DELETE FROM payment_sessions", "rows", "events and no row"),
        ("UPDATE payment_sessions SET attempts = 2", "rows", "attempts in payment_sessions is not"),
        (
            "UPDATE payment_sessions SET received_cents = 1",
            "sums",
            "received is not orders + refunded + held",
        ),
        ("UPDATE payment_metrics SET paid_cents = 1", "metrics", "payment_metrics is not"),
        ("DELETE FROM payment_metrics", "metrics", "payment_metrics is not"),
        ("UPDATE payment_figures SET refunds = 1, paid_cents = 1", "metrics", "payment_figures is not"),
        ("DELETE FROM payment_figures WHERE grain = 'hour'", "metrics", "payment_figures is not"),
        ("UPDATE payment_figures SET refunds = 1 WHERE grain = 'month'", "metrics", "in the month of"),
        ("UPDATE payment_figures SET refunds = 1 WHERE dimension = 'product'", "metrics", "of product 123"),
        ("DELETE FROM payment_figures WHERE dimension = 'county'", "metrics", "of county 1/5"),
        (
            "UPDATE payment_figures SET failed = 1 WHERE grain = 'hour' AND dimension = 'result_code'",
            "metrics",
            "in the hours of the day of",
        ),
        (
            "UPDATE payment_figures SET payments = '{1}' WHERE grain = 'hour'",
            "metrics",
            "the hours of the day",
        ),
        ("UPDATE payment_figures SET payments = '{1}' WHERE grain = 'day'", "metrics", "in the day of"),
        ("UPDATE payment_sessions SET session_status = 'paid'", "metrics", "do not count up"),
        ("DELETE FROM payment_refs", "receipts", "credited without being reserved"),
        (
            "UPDATE payment_refs SET session_id = gen_random_uuid()",
            "receipts",
            "credited without being reserved",
        ),
        ("UPDATE payment_refs SET value = 'ELSE'", "receipts", "no event speaks of it"),
    ],
)
def test_tampering_is_reported(database: Database, statement: str, rule: str, detail: str) -> None:
    tamper(database, statement)
    assert any(detail in violation.detail for violation in check(database) if violation.rule == rule)


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    ("version", "topic", "state", "rule", "detail"),
    [
        (6, "payment_session.expired.v1", {}, "transitions", "from order_created to expired"),
        (
            6,
            "payment_session.surplus_received.v1",
            {
                "attempt": 1,
                "receipt": "NLJ7RT61SV",
                "amount_cents": 35000,
                "evidence": "callback",
                "paid_at": "2024-01-15T10:31:00Z",
                "why": "second_payment",
            },
            "receipts",
            "credited more than once",
        ),
        (
            6,
            "payment_session.surplus_received.v1",
            {
                "attempt": 1,
                "receipt": "OTHER",
                "amount_cents": 100,
                "evidence": "callback",
                "paid_at": "2024-01-15T10:31:00Z",
                "why": "second_payment",
            },
            "money",
            "35100 cents were received, 35000 kept for its order, 0 owed",
        ),
    ],
)
def test_an_event_that_should_not_have_been_written_is_reported(
    database: Database, version: int, topic: str, state: dict[str, object], rule: str, detail: str
) -> None:
    moved = {"previous_status": "order_created", "session_created_at": "2024-01-15T10:30:00Z"}
    whole = {"timestamp": "2024-01-15T10:31:00Z"} | (state or moved)
    tamper(
        database,
        "INSERT INTO payment_events SELECT session_id, %s, %s, %s, hash, hash, origin, position + 1, recorded_at"
        " FROM payment_events WHERE version = 5",
        version,
        topic,
        Jsonb(whole),
    )
    assert any(detail in violation.detail for violation in check(database) if violation.rule == rule)


def test_a_receipt_may_be_reserved_for_a_moment_while_things_are_under_way(
    ledger: Ledger, database: Database, checkout: Checkout
) -> None:
    ledger.reserve_receipt("SOON000001", checkout.session_id)
    assert rules(check(database)) == {"receipts"}
    assert check(database, is_idle=False) == []


def test_a_receipt_that_stays_reserved_without_its_money_is_reported(
    ledger: Ledger, database: Database, checkout: Checkout
) -> None:
    ledger.reserve_receipt("LOST000001", checkout.session_id)
    tamper(
        database,
        "UPDATE payment_refs SET reserved_at = now() - interval '2 hours' WHERE value = 'LOST000001'",
    )
    (violation,) = check(database, is_idle=False)
    assert (violation.rule, violation.session_id) == ("receipts", checkout.session_id)


def test_a_receipt_of_two_sessions_is_reported(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt().pay("NLJ7RT61SV")
    other = Checkout(ledger).prompt().pay("NLJ7RT61SW").session_id
    statement = "UPDATE payment_events SET state = state || %s WHERE version = 4 AND session_id = %s"
    tamper(database, statement, Jsonb({"receipt": "NLJ7RT61SV"}), other)
    assert any(
        "it is of session" in violation.detail and violation.session_id == other
        for violation in check(database)
    )


MOVEMENT = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             session_id, first_seen_at)
VALUES ('payment ' || %s, 'payment', %s, true, 35000, now(), 'c2b', %s, %s, now())
"""


def test_a_movement_booked_on_a_session_without_its_money_is_reported(
    database: Database, checkout: Checkout
) -> None:
    tamper(database, MOVEMENT, "NLJ7RT61SV", "NLJ7RT61SV", "posted", checkout.session_id)
    assert check(database) == []
    tamper(database, MOVEMENT, "GONE000001", "GONE000001", "credited", checkout.session_id)
    (violation,) = check(database)
    assert (violation.rule, violation.session_id) == ("receipts", checkout.session_id)


def test_money_that_is_credited_and_unmatched_as_well_is_reported(
    database: Database, checkout: Checkout
) -> None:
    tamper(database, MOVEMENT, "NLJ7RT61SV", "NLJ7RT61SV", "unknown", None)
    (violation,) = check(database)
    assert (violation.rule, violation.session_id) == ("money", checkout.session_id)
    assert check(database, is_idle=False) == []


def test_a_session_of_which_only_its_messages_are_left_is_reported(
    ledger: Ledger, database: Database
) -> None:
    checkout = Checkout(ledger).prompt()
    tamper(database, MESSAGE, checkout.session_id)
    for table in ("payment_events", "payment_sessions"):
        tamper(database, f"DELETE FROM {table}")
    (violation,) = check(database, with_messages=True)
    assert (violation.rule, violation.session_id) == ("letters", checkout.session_id)


def test_a_violation_everywhere_hides_no_other(ledger: Ledger, database: Database) -> None:
    for _ in range(MAX_PER_RULE + 3):
        Checkout(ledger)
    tamper(database, "UPDATE payment_sessions SET attempts = 7")
    ledger.reserve_receipt("LOST000001", UUID(int=1))
    found = check(database)
    assert rules(found) == {"rows", "receipts"}
    assert len(found) == MAX_PER_RULE + 2
    assert found[-1].detail == "and 3 more of the kind"


def _checkout_of(ledger: Ledger, vault: Vault, user_id: int) -> Checkout:
    session_id = uuid4()
    return Checkout(
        ledger,
        user_id=user_id,
        session_id=session_id,
        phone_sealed=vault.encrypt(user_id, "254712345670", purpose=PHONE, row=session_id),
        delivery_sealed=vault.encrypt(user_id, "{}", purpose=DELIVERY, row=session_id),
    )


def _prompt(checkout: Checkout, vault: Vault, phone: str) -> Checkout:
    user_id, session_id = checkout.session.user_id, checkout.session_id
    return checkout.request(vault.encrypt(user_id, phone, purpose=PHONE, row=session_id))


def test_two_live_prompts_on_one_phone_are_reported(ledger: Ledger, database: Database) -> None:
    vault = Vault(database, VAULT_KEY)
    _prompt(_checkout_of(ledger, vault, 7), vault, "254712345678")
    other = _prompt(_checkout_of(ledger, vault, 8), vault, "254712345679")
    assert check(database, vault, prompt_seconds=60) == []
    _prompt(_checkout_of(ledger, vault, 9), vault, "254712345678")
    (violation,) = check(database, vault, prompt_seconds=60)
    assert violation.rule == "prompts"
    erase(database, vault, other.session.user_id)
    assert rules(check(database, vault, prompt_seconds=60)) == {"prompts"}


def test_a_prompt_that_the_log_closes_before_an_attempt_is_not_live_then(
    ledger: Ledger, database: Database
) -> None:
    """A process may pause between the moment that an attempt names and the commit that locks the phone."""
    vault = Vault(database, VAULT_KEY)
    first, paused = (_checkout_of(ledger, vault, user_id) for user_id in (7, 8))
    _prompt(first, vault, "254712345678").wait(minutes=1).pay("NLJ7RT61SV")
    _prompt(paused, vault, "254712345678")
    assert check(database, vault, prompt_seconds=90) == []


def test_clocks_that_differ_a_little_do_not_make_two_prompts_live_at_once(
    ledger: Ledger, database: Database
) -> None:
    Checkout(ledger).request().refuse().wait(seconds=-6).request()
    assert check(database, prompt_seconds=60) == []
    Checkout(ledger).request().lose_push_answer().wait(seconds=90).request()
    assert rules(check(database, prompt_seconds=120)) == {"prompts"}


@pytest.mark.parametrize("moved", [True, False])
def test_a_value_that_cannot_be_decrypted_is_reported(
    ledger: Ledger, database: Database, *, moved: bool
) -> None:
    vault = Vault(database, VAULT_KEY)
    of_another = vault.encrypt(7, "{}", purpose=DELIVERY, row=uuid4())
    Checkout(ledger, delivery_sealed=of_another if moved else "v1.too-short")
    for projection in (PaymentMetrics(), PaymentFigures()):
        Follower(database, event_macs(database), projection).catch_up()
    assert rules(check(database, vault)) == {"personal data"}


def test_nothing_can_be_checked_with_another_master_key(ledger: Ledger, database: Database) -> None:
    Checkout(ledger)
    with pytest.raises(WrongKey):
        check(database, Vault(database, bytes(32)))


@pytest.mark.parametrize(
    "text", ["254712345678", "+254112345678", "0712345678", "ws_CO_15012024103045123", "John Doe"]
)
def test_personal_data_in_the_clear_are_reported(ledger: Ledger, database: Database, text: str) -> None:
    checkout = Checkout(ledger, delivery_sealed=text)
    found = check(database, known_texts=["John Doe"])
    assert rules(found) == {"personal data"}
    assert "1 rows of payment_events" in found[0].detail
    assert text not in str(found)
    assert checkout.at == HALF_PAST_TEN


def test_a_position_with_the_digits_of_a_phone_is_no_phone(ledger: Ledger, database: Database) -> None:
    Checkout(ledger)
    tamper(database, "UPDATE payment_events SET position = 254712345678")
    assert "personal data" not in rules(check(database))


def test_a_callback_of_which_no_message_is_stored_is_reported(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay()
    found = check(database, with_messages=True)
    assert [(violation.rule, violation.session_id) for violation in found] == [
        ("letters", checkout.session_id),
        ("sources", checkout.session_id),
    ]
    tamper(database, MESSAGE, checkout.session_id)
    assert {violation.rule for violation in check(database, with_messages=True)} == {"sources"}


@pytest.mark.parametrize("evidence", list(Evidence))
def test_money_whose_source_is_not_stored_is_reported(
    ledger: Ledger, database: Database, evidence: Evidence
) -> None:
    checkout = Checkout(ledger).prompt()
    with caused_by(Cause.STATUS_QUERY, source="550e8400-e29b-41d4-a716-446655440000"):
        checkout.pay(None if evidence == Evidence.QUERY else "NLJ7RT61SV", evidence=evidence)
    tamper(database, MESSAGE, checkout.session_id)
    [violation] = check(database, with_messages=True)
    assert (violation.rule, violation.session_id) == ("sources", checkout.session_id)
    assert str(evidence) in violation.detail


def test_an_entry_of_the_audit_log_that_was_altered_is_reported(database: Database) -> None:
    vault = Vault(database, VAULT_KEY)
    AuditLog(database, vault.keys).record(None, "switch", actor="user:42")
    assert check(database, vault) == []
    tamper(database, "UPDATE audit_log SET actor = 'user:43'")
    assert rules(check(database, vault)) == {"audit log"}


def test_a_payment_of_long_ago_that_nothing_can_end_is_reported(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).prompt().pay("NLJ7RT61SV").session_id
    until_readable(database)
    for projection in (PaymentMetrics(), PaymentCases(), Journal(key_ring(database))):
        Follower(database, event_macs(database), projection).catch_up()
    in_time, late = (clock.now() + PAID_MAY_TAKE + timedelta(minutes=minutes) for minutes in (-2, 1))
    with freeze_time(late):
        assert check(database) == []
    tamper(database, "DELETE FROM payment_cases")
    with freeze_time(in_time):
        assert rules(check(database)) == {"cases"}
    with freeze_time(late):
        found = [violation for violation in check(database) if violation.rule == "orders"]
    assert [(violation.session_id, "no case to end it" in violation.detail) for violation in found] == [
        (session_id, True)
    ]

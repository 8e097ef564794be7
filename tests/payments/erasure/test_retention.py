"""What is kept for a time only is purged when its period is over; nothing younger, and nothing under a legal hold."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from ledger import clock
from ledger.store.audit_log import CUSTOMER_ERASED, AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.erasure import retention as retention_module
from payments.erasure.erasures import Erasures
from payments.erasure.retention import AT_ONCE, Retention
from payments.erasure.retention_kinds import CUSTOMERS, KINDS, RetentionKind, parse_periods
from payments.idempotency.idempotency_store import ANSWERS_LAST
from payments.inbox.inbox import MAX_UNAUTHENTICATED_KEPT
from payments.prompts.phone_locks import COUNTS_KEPT
from payments.request_leases import KEPT as LEASES_KEPT
from projections.integrity.invariants import check
from projections.integrity.verification_runs import RUNS_KEPT
from tests.payments.erasure.conftest import REASON
from tests.support.checkouts import Checkout
from tests.support.erasures import let_a_week_pass

PLANT: dict[str, str] = {
    "phone_locks": "INSERT INTO live_prompts VALUES (gen_random_uuid(), gen_random_uuid(), {at}, 1, 7)",
    "request_leases": "INSERT INTO request_leases VALUES (7, {at}, 1)",
    "kept_answers": "INSERT INTO idempotency_keys VALUES (7, gen_random_uuid(), 'f', NULL, 200, 'v2.x', {at})",
    "query_log": "INSERT INTO attempt_checks VALUES (gen_random_uuid(), 1, {at}, 1, {at}, '')",
    "refund_query_log": "INSERT INTO refund_checks VALUES (gen_random_uuid(), 1, 1, {at}, 1, {at}, '')",
    "order_failures": "INSERT INTO order_failures VALUES (gen_random_uuid(), 1, 'error', {at}, {at})",
    "statement_uploads": "INSERT INTO statement_uploads VALUES (gen_random_uuid(), 9, 1, {at}, 'uploading')",
    "prompt_counts": "INSERT INTO prompt_counts VALUES (7, gen_random_uuid(), {at}, 1, 1, {at}, NULL)",
    "paid_numbers": "INSERT INTO prompt_counts VALUES (7, gen_random_uuid(), {at}, 1, 1, {at}, {at})",
    "revocations": "INSERT INTO token_revocations VALUES (7, repeat(md5({at}::text), 2), {at}, {at})",
    "unauthenticated_messages": """INSERT INTO daraja_inbox (inbox_id, received_at, key_owner, sealed_body, body_bytes,
        body_sha256, state, tries) VALUES (gen_random_uuid(), {at}, 0, 'v2.x', 1, 'x', 'set_aside', 1)""",
    "authenticated_messages": """INSERT INTO daraja_inbox (inbox_id, received_at, settled_at, key_owner, sealed_body,
        body_bytes, body_sha256, state, tries, is_proven)
        VALUES (gen_random_uuid(), {at}, {at}, 7, 'v2.x', 1, 'x', 'acted_on', 1, true)""",
    "payers": """INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at,
            evidence, verdict, first_seen_at, session_id, payer_digest)
        SELECT gen_random_uuid(), 'payment', 'X', true, 1, {at}, 'c2b', 'posted', {at}, session_id, 'digest'
        FROM payment_sessions""",
    "delivery_addresses": """INSERT INTO shop_orders (order_number, session_id, user_id, items_cents,
            delivery_fee_cents, rounding_cents, total_cents, sealed_delivery_details, placed_at)
        VALUES (gen_random_uuid(), gen_random_uuid(), 7, 1, 0, 0, 1, 'v2.x', {at})""",
    "access_log": """INSERT INTO audit_log VALUES (gen_random_uuid(), {at}, 'access', 'user:9', 'user:7', '', '{{}}', 0,
        sha256('x'))""",
    "webhook_deliveries": """INSERT INTO webhook_deliveries (endpoint_id, session_id, version, type, queued_at, state,
        settled_at) VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'payment.paid', {at}, 'delivered', {at})""",
    "verification_runs": "INSERT INTO verification_runs VALUES (gen_random_uuid(), {at}, {at}, 0, '0', '[]')",
}
LEFT = "SELECT count(*) FROM retained_rows WHERE kind = %s"
OF_A_CUSTOMER = frozenset(PLANT) - {
    "query_log",
    "refund_query_log",
    "order_failures",
    "statement_uploads",
    "unauthenticated_messages",
    "verification_runs",
    "webhook_deliveries",
}
ACT = "SELECT purge_kind(%s, 'infinity', %s, 2147483647)"
DAY = timedelta(days=1)
KIND = {kind.name: kind for kind in KINDS}


@pytest.fixture
def retention(database: Database, erasures: Erasures) -> Retention:
    return Retention(database, erasures, {})


@pytest.fixture
def superuser(database: Database) -> Any:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


def plant(superuser: Any, kind: str, at: datetime) -> None:
    superuser.execute(PLANT[kind].format(at=f"'{at.isoformat()}'::timestamptz"))


def left(superuser: Any, kind: str) -> int:
    [count] = superuser.execute(LEFT, (kind,)).fetchone()
    return int(count)


def purged_in(database: Database, kind: str, period: timedelta | None) -> int:
    with database.connection() as connection:
        row = connection.execute(ACT, (kind, period)).fetchone()
    assert row is not None
    return int(row["purge_kind"])


def test_the_table_agrees_with_the_database_and_with_other_rooms(database: Database) -> None:
    with database.connection() as connection:
        stored = connection.execute("SELECT kind, minimum FROM retention_kinds").fetchall()
    assert {row["kind"]: row["minimum"] for row in stored} == {kind.name: kind.minimum for kind in KINDS}
    assert {*PLANT, CUSTOMERS, "counts_after_erasure"} == set(KIND)
    assert (KIND["kept_answers"].period, KIND["prompt_counts"].period) == (ANSWERS_LAST, COUNTS_KEPT)
    assert KIND["request_leases"].period == LEASES_KEPT
    assert (KIND["unauthenticated_messages"].newest, KIND["verification_runs"].newest) == (
        MAX_UNAUTHENTICATED_KEPT,
        RUNS_KEPT,
    )


@pytest.mark.usefixtures("checkout")
def test_what_is_over_goes_and_what_is_younger_stays(superuser: Any, retention: Retention) -> None:
    for kind in PLANT:
        period = KIND[kind].period
        assert period is not None
        plant(superuser, kind, clock.now() - period - timedelta(minutes=1))
        plant(superuser, kind, clock.now() - period + timedelta(minutes=1))
    before = {state.kind.name: state for state in retention.report()}
    assert retention.purge() == len(PLANT)
    after = {state.kind.name: state for state in retention.report()}
    for kind in PLANT:
        assert (before[kind].rows, before[kind].due) == (2, 1), kind
        assert (after[kind].rows, after[kind].due, after[kind].purged_rows) == (1, 0, 1), kind
        assert after[kind].purged_at is not None


@pytest.mark.usefixtures("checkout")
def test_an_application_login_purges_nothing_before_its_minimum(database: Database, superuser: Any) -> None:
    for kind in PLANT:
        plant(superuser, kind, clock.now() - KIND[kind].minimum + timedelta(minutes=1))
        for period in (timedelta(0), -100_000 * DAY, None):
            assert purged_in(database, kind, period) == 0, kind
        assert left(superuser, kind) == 1, kind


@pytest.mark.usefixtures("checkout")
def test_a_legal_hold_wins_over_every_period(
    superuser: Any, database: Database, retention: Retention, erasures: Erasures
) -> None:
    erasures.hold(7, by="user:41", reason=REASON)
    for kind in OF_A_CUSTOMER:
        plant(superuser, kind, clock.now() - 10_000 * DAY)
    assert retention.purge() == 0
    with (
        pytest.raises(psycopg.Error, match="a legal hold stands against the erasure of user 7"),
        database.connection() as connection,
    ):
        connection.execute("SELECT erase_customer(7, '{}')")
    erasures.hold(7, by="user:41", reason=REASON, lift=True)
    assert Retention(database, erasures, {}).purge() == 0
    let_a_week_pass(database)
    again = Retention(database, erasures, {})
    assert again.purge() == len(OF_A_CUSTOMER)


LINKED = {
    "the event that it caused": """UPDATE payment_events SET metadata = jsonb_build_object('source', inbox_id)
        FROM daraja_inbox WHERE version = 4 AND payment_events.session_id = %s""",
    "the session that it was about": "UPDATE daraja_inbox SET about_session = %s",
}


@pytest.mark.parametrize("link", LINKED)
@pytest.mark.parametrize("kind", ["authenticated_messages", "unauthenticated_messages"])
def test_a_legal_hold_covers_messages_that_name_the_customer_nowhere(
    superuser: Any, database: Database, erasures: Erasures, checkout: Checkout, link: str, kind: str
) -> None:
    plant(superuser, kind, clock.now() - 10_000 * DAY)
    superuser.execute("UPDATE daraja_inbox SET key_owner = 0")
    superuser.execute(LINKED[link], (checkout.session_id,))
    plant(superuser, kind, clock.now() - 10_000 * DAY)
    superuser.execute("UPDATE daraja_inbox SET key_owner = 0")
    erasures.hold(7, by="user:41", reason=REASON)
    assert purged_in(database, kind, timedelta(0)) == 1, "the other message"
    assert purged_in(database, kind, timedelta(0)) == 0
    erasures.hold(7, by="user:41", reason=REASON, lift=True)
    let_a_week_pass(database)
    assert purged_in(database, kind, timedelta(0)) == 1


REWRITE = {
    "unauthenticated_messages": (
        "UPDATE daraja_inbox SET settled_at = {old}, next_try_at = {old}, state = 'new'",
    ),
    "authenticated_messages": (
        "UPDATE daraja_inbox SET settled_at = {old}, next_try_at = {old}, state = 'acted_on'",
        "UPDATE daraja_inbox SET settled_at = NULL, state = 'closed'",
    ),
    "payers": (
        "UPDATE mpesa_movements SET happened_at = {old}, settled_at = {old}, verdict = 'not_ours', session_id = NULL",
        "UPDATE mpesa_movements SET happened_at = {old}, closed_at = {old}, verdict = 'unknown'",
    ),
}
"""What the application's login may rewrite of evidence."""

UNALTERABLE = {
    "shop_orders": "placed_at",
    "audit_log": "recorded_at",
    "verification_runs": "finished_at",
    "daraja_inbox": "received_at",
    "mpesa_movements": "first_seen_at",
    "customer_keys": "created_at",
    "payment_sessions": "created_at",
}
"""From what time the period of evidence runs: by table, the column that the login may not rewrite."""


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("kind", REWRITE)
def test_an_application_login_makes_no_evidence_old(database: Database, superuser: Any, kind: str) -> None:
    plant(superuser, kind, clock.now() - KIND[kind].minimum + timedelta(minutes=1))
    for statement in REWRITE[kind]:
        with database.connection() as connection:
            connection.execute(statement.format(old="'2001-01-01'").encode())
        assert purged_in(database, kind, timedelta(0)) == 0, statement
    assert left(superuser, kind) == 1


@pytest.mark.parametrize("table", UNALTERABLE)
def test_an_application_login_rewrites_no_time_that_evidence_ages_by(database: Database, table: str) -> None:
    for statement in (f"UPDATE {table} SET {UNALTERABLE[table]} = '2001-01-01'", f"DELETE FROM {table}"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), database.connection() as connection:
            connection.execute(statement.encode())


FORGED = """
SELECT record_audit_entry(gen_random_uuid(), {at}, 'legal_hold_lifted', 'user:41', 'user:7', 'forged', '{{}}', 0,
                          decode(repeat('00', 32), 'hex'))
"""


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize(
    "at", ["now()", "now() + interval '900 years'", "now() - interval '29 days'", "'2001-01-01'"]
)
def test_a_forged_lift_ends_no_hold_before_a_week_in_which_verify_names_it(
    database: Database, vault: Vault, superuser: Any, erasures: Erasures, at: str
) -> None:
    erasures.hold(7, by="user:41", reason=REASON)
    superuser.execute("UPDATE audit_log SET stored_at = now() - interval '30 days'")
    plant(superuser, "payers", clock.now() - 10_000 * DAY)
    with database.connection() as connection:
        connection.execute(FORGED.format(at=at).encode())
    assert purged_in(database, "payers", timedelta(0)) == 0
    with pytest.raises(psycopg.Error, match="a legal hold stands"), database.connection() as connection:
        connection.execute("SELECT erase_customer(7, '{}')")
    assert "audit log" in {found.rule for found in check(database, vault)}


def test_a_hold_on_any_user_there_may_be_is_heeded(database: Database, erasures: Erasures) -> None:
    for user_id in (7, 2**63 - 1):
        erasures.hold(user_id, by="user:41", reason=REASON)
    with database.connection() as connection:
        connection.execute(
            FORGED.format(at="now()").replace("lifted", "placed").replace("user:7", f"user:{2**63}").encode()
        )
        rows = connection.execute("SELECT held_customers() AS held").fetchall()
    assert {row["held"] for row in rows} == {7, 2**63 - 1}
    with pytest.raises(psycopg.Error, match="a legal hold stands"), database.connection() as connection:
        connection.execute("SELECT erase_customer(9223372036854775807, '{}')")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE retention_kinds SET minimum = '0'",
        "SELECT record_audit_entry(gen_random_uuid(), 'infinity', 'x', 'x', 'x', '', '{}', 0, sha256('x'))",
        "INSERT INTO retention_kinds VALUES ('payment_events', 'DELETE FROM public.payment_events', '0')",
        "DELETE FROM retention_kinds",
        "DELETE FROM retained_rows",
        "DELETE FROM audit_log",
        "SELECT purge_kind('payment_events', now(), '0', 1)",
        "SELECT purge_kind('customers', now(), '0', 1)",
    ],
)
def test_an_application_login_changes_no_minimum(database: Database, statement: str) -> None:
    with database.connection() as connection, pytest.raises(psycopg.Error):
        connection.execute(statement.encode())


def test_decisions_stay_for_ever_and_reads_at_least_five_years(superuser: Any) -> None:
    superuser.execute("SET session_replication_role = origin")
    for kind, age in (("decision", 9_000 * DAY), ("access", 1_826 * DAY)):
        plant(superuser, "access_log", clock.now() - age)
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("UPDATE audit_log SET kind = %s", (kind,))
        superuser.execute("SET session_replication_role = origin")
        with pytest.raises(psycopg.Error, match="audit_log"):
            superuser.execute("DELETE FROM audit_log")
        superuser.execute("SET session_replication_role = replica")
        superuser.execute("DELETE FROM audit_log")
        superuser.execute("SET session_replication_role = origin")


def test_a_purge_goes_in_batches_to_the_end(superuser: Any, retention: Retention) -> None:
    at = f"'{(clock.now() - DAY).isoformat()}'::timestamptz"
    superuser.execute(
        f"INSERT INTO request_leases SELECT number, {at}, 1 FROM generate_series(1, {2 * AT_ONCE + 1}) AS number"
    )
    assert retention.purge() == 2 * AT_ONCE + 1


def test_counts_of_erased_customers_are_found_without_reading_those_of_others(superuser: Any) -> None:
    superuser.execute("SET session_replication_role = replica")
    superuser.execute(
        "INSERT INTO customer_keys (user_id, wrapped_key, created_at, destroyed_at)"
        " SELECT n, CASE WHEN n > 1000 THEN 'key'::bytea END, now(),"
        " CASE WHEN n <= 1000 THEN now() - CASE n WHEN 1 THEN interval '1 hour' ELSE interval '40 days' END END"
        " FROM generate_series(1, 3000) AS n"
    )
    superuser.execute(
        "INSERT INTO prompt_counts SELECT n, 'digest', now(), 1, 1, now(), NULL FROM generate_series(1001, 3000) AS n"
    )
    superuser.execute("INSERT INTO prompt_counts VALUES (1, 'digest', now(), 1, 1, now(), NULL)")
    for table in ("customer_keys", "prompt_counts"):
        superuser.execute(f"ANALYZE {table}".encode())
    for join in ("hashjoin", "mergejoin"):  # As purge_kind does.
        superuser.execute(f"SET enable_{join} = off".encode())
    [[[plan]]] = superuser.execute(
        "EXPLAIN (ANALYZE, FORMAT JSON) SELECT place FROM retained_rows"
        " WHERE kind = 'counts_after_erasure' AND since <= now()"
    ).fetchall()
    assert plan["Plan"]["Actual Rows"] == 1
    assert rows_read(plan["Plan"]) <= 4


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows the scans of a plan looked at."""
    below = sum(rows_read(each) for each in plan.get("Plans", ()))
    removed = sum(count for name, count in plan.items() if name.startswith("Rows Removed"))
    own = plan["Actual Rows"] + removed if "Relation Name" in plan else 0
    return int(below + own * plan["Actual Loops"])


@pytest.mark.usefixtures("checkout")
def test_customers_who_never_came_back_are_erased_where_a_setting_says_so(
    superuser: Any,
    database: Database,
    vault: Vault,
    erasures: Erasures,
    audit_log: AuditLog,
) -> None:
    periods = parse_periods("customers=1827")
    assert Retention(database, erasures, periods).purge() == 0
    superuser.execute("UPDATE payment_sessions SET created_at = created_at - interval '1900 days'")
    assert Retention(database, erasures, {}).purge() == 0, "off by default"
    erasures.hold(7, by="user:41", reason=REASON)
    assert Retention(database, erasures, periods).purge() == 0
    erasures.hold(7, by="user:41", reason=REASON, lift=True)
    assert Retention(database, erasures, periods).purge() == 0
    let_a_week_pass(database)
    assert Retention(database, erasures, periods).purge() == 1
    assert erasures.plan(7).is_erased
    with database.connection() as connection:
        entry = audit_log.latest(connection, "user:7", [CUSTOMER_ERASED])
    assert entry is not None
    assert entry.actor == "policy:retention"
    assert [found for found in check(database, vault) if found.rule == "erasures"] == []


@pytest.mark.usefixtures("checkout")
def test_all_customers_are_looked_at_some_in_an_hour(
    superuser: Any, database: Database, erasures: Erasures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "CUSTOMERS_WALKED", 2)
    monkeypatch.setattr(retention_module, "HOURLY", timedelta(0))
    superuser.execute("UPDATE payment_sessions SET created_at = created_at - interval '1900 days'")
    superuser.execute(
        "INSERT INTO customer_keys SELECT user_id, 'x', now() FROM generate_series(1, 5) AS user_id"
    )
    retention = Retention(database, erasures, parse_periods("customers=1827"))
    assert [retention.purge() for _ in range(6)] == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("kept_answers", "must be kind=days"),
        ("no_such_kind=3", "must be kind=days"),
        ("phone_locks=3", "must be kind=days"),
        ("access_log=1826", "must keep access_log for 1827 to 36500 days"),
        ("kept_answers=99999", "must keep kept_answers for 1 to 36500 days"),
    ],
)
def test_a_period_that_cannot_be_is_refused(given: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_periods(given)


def test_periods_replace_those_of_the_kinds(database: Database, erasures: Erasures) -> None:
    found: Callable[[str], RetentionKind] = {
        kind.name: kind
        for kind in Retention(database, erasures, parse_periods("kept_answers=3,payers=never")).kinds()
    }.__getitem__
    assert (found("kept_answers").period, found("payers").period) == (3 * DAY, None)

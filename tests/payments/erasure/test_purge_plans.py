"""A purge reads what it purges and little more, however much is kept."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from ledger import clock
from payments.erasure.retention_kinds import KINDS
from tests.payments.erasure.test_retention import ACT, PLANT
from tests.support.database import new_database
from tests.support.plans import Plans, explained

YOUNG, OLD, MOST_READ = 2_000, 5, 60
KEPT_SMALL = {"phone_locks", "order_failures", "statement_uploads", "revocations"}
"""Kinds of which there are few rows, because each minute those go that are over."""

OF_A_FEW_ROWS = {"retention_kinds", "audit_log"}
MANY = "DO $$ BEGIN FOR n IN 1..{count} LOOP {statement}; END LOOP; END $$"
AT = "('{start}'::timestamptz + n * interval '1 second')"
SESSION = """
INSERT INTO payment_sessions (session_id, user_id, session_status, version, goods_cents, delivery_fee_cents,
    rounding_cents, total_cents, received_cents, refund_due_cents, refunded_cents, attempts, open_attempts, created_at,
    expires_at, updated_at, shop)
VALUES (gen_random_uuid(), 7, 'paid', 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, now(), now(), now(), 'builtin')
"""


@pytest.fixture(scope="module")
def plans(server_url: str, template_database: str) -> Iterator[Plans]:
    """Every kind with rows that are over, and many more that are not."""
    with new_database(server_url, template_database) as url:
        with psycopg.connect(url, autocommit=True) as superuser:
            superuser.execute("SET session_replication_role = replica")
            superuser.execute(SESSION.encode())
            for kind in PLANT:
                plant_many(superuser, kind, YOUNG, timedelta(minutes=-YOUNG))
                plant_many(superuser, kind, OLD, timedelta(days=9_000))
            superuser.execute(MANY.format(count=YOUNG, statement=SESSION).encode())
            superuser.execute("VACUUM ANALYZE")
        with explained(url) as plans:
            yield plans


def plant_many(superuser: "psycopg.Connection[tuple[object]]", kind: str, count: int, age: timedelta) -> None:
    at = AT.format(start=(clock.now() - age).isoformat())
    superuser.execute(MANY.format(count=count, statement=PLANT[kind].format(at=at)).encode())


@pytest.mark.parametrize("kind", sorted(set(PLANT) - KEPT_SMALL))
def test_a_purge_reads_little_more_than_it_purges(plans: Plans, kind: str) -> None:
    period = {each.name: each.period for each in KINDS}[kind]
    plans.seen.clear()
    with plans.database.transaction(commit=False) as connection:
        assert connection.execute(ACT, (kind, period)).fetchone() == {"purge_kind": OLD}
    assert plans.whole_tables <= OF_A_FEW_ROWS, str(plans)
    assert plans.rows_read <= MOST_READ, str(plans)

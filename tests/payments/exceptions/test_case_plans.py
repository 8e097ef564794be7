"""The pages of cases read no table whole, and no more rows the larger the log and the audit log are."""

from collections.abc import Iterator

import psycopg
import pytest

from ledger.clock import now
from ledger.store.audit_log import AuditLog
from ledger.store.vault import Vault
from payments.exceptions.closed_cases import Wanted, closed_cases, decided_about
from payments.exceptions.next_steps import Kind
from tests.support.database import new_database
from tests.support.keys import MASTER_KEY
from tests.support.plans import Plans, explained

OF_A_FEW_ROWS = {"key_ring"}
READS, DECISIONS, MOVEMENTS = 40_000, 40, 4_000
FILL = f"""
INSERT INTO audit_log (entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac)
SELECT gen_random_uuid(), now() - number * interval '1 s', CASE WHEN number % {READS // DECISIONS} = 0 THEN 'decision'
       ELSE 'access' END, 'user:9', 'money_unknown payment.R' || number, '', '{{}}', 1, sha256('x')
FROM generate_series(1, {READS}) AS number;
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at, payer_digest, closed_by, closed_at)
SELECT 'payment R' || number, 'payment', 'R' || number, true, 100, now() - number * interval '1 s', 'c2b', 'unknown',
       now(), 'payer ' || number % 40, CASE WHEN number % 100 = 0 THEN 'operator 9' END,
       CASE WHEN number % 100 = 0 THEN now() END
FROM generate_series(1, {MOVEMENTS}) AS number;
ANALYZE audit_log; ANALYZE mpesa_movements
"""


@pytest.fixture(scope="module")
def plans(server_url: str, template_database: str) -> Iterator[Plans]:
    with new_database(server_url, template_database) as url:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(FILL.encode())
        with explained(url) as plans:
            yield plans


def test_closed_cases_are_found_by_an_index(plans: Plans) -> None:
    audit_log = AuditLog(plans.database, Vault(plans.database, MASTER_KEY).keys)
    for wanted in (Wanted(), Wanted(kind="pull_gap"), Wanted(day=now().date(), user=9)):
        plans.seen.clear()
        found, _ = closed_cases(audit_log, wanted, after=None, limit=20)
        assert found or wanted.kind
        assert plans.whole_tables <= OF_A_FEW_ROWS, str(plans)
        assert plans.rows_read <= DECISIONS, str(plans)


def test_what_was_decided_about_a_payer_is_found_by_an_index(plans: Plans) -> None:
    audit_log = AuditLog(plans.database, Vault(plans.database, MASTER_KEY).keys)
    plans.seen.clear()
    case = Kind.MONEY_UNKNOWN, f"payment.R{READS // DECISIONS}"
    [found] = decided_about(plans.database, audit_log, [], case=case)
    assert found.subject == f"money_unknown payment.R{READS // DECISIONS}"
    decided_about(plans.database, audit_log, [], case=case, payers=["payer 20"])
    assert plans.whole_tables <= OF_A_FEW_ROWS, str(plans)
    assert plans.rows_read <= 100, str(plans)

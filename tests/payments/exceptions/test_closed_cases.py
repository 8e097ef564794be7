"""The list of closed cases: filtered, in pages, from entries that carry a MAC."""

from datetime import timedelta

import psycopg
import pytest
from freezegun import freeze_time

from ledger.application import Ledger
from ledger.session.values import Evidence
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.exceptions import closed_cases as module
from payments.exceptions.closed_cases import Wanted, closed_cases, decided_about
from payments.exceptions.next_steps import Kind
from payments.operators.stakes import digests_of_payer
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from tests.support.checkouts import HALF_PAST_TEN, Checkout
from tests.support.keys import MASTER_KEY

FORGE = """
SELECT record_audit_entry(gen_random_uuid(), now(), 'decision', 'user:9', %s, 'Forged.', '{}', 1, sha256('x'))
"""
DIGITS = "254712345678"


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def audit_log(database: Database, vault: Vault) -> AuditLog:
    return AuditLog(database, vault.keys)


def decide(audit_log: AuditLog, kind: str, case_id: str, *, user: int = 9, minutes: int = 0) -> None:
    with freeze_time(HALF_PAST_TEN + timedelta(minutes=minutes)):
        details = {"action": "close", "amount_cents": 0, "kind": kind, "case_id": case_id}
        audit_log.record(None, "decision", actor=f"user:{user}", subject=f"{kind} {case_id}", details=details)


def subjects(audit_log: AuditLog, **wanted: object) -> list[str]:
    found, _ = closed_cases(audit_log, Wanted(**wanted), after=None, limit=50)  # type: ignore[arg-type]  # as given
    return [entry.subject for entry in found]


def test_decisions_are_found_by_kind_day_and_who(audit_log: AuditLog) -> None:
    decide(audit_log, "pull_gap", "1")
    decide(audit_log, "money_unknown", "payment.A", user=8, minutes=1)
    decide(audit_log, "pull_gap", "2", minutes=24 * 60)
    with freeze_time(HALF_PAST_TEN):
        audit_log.record(None, "access", actor="user:9", details={"what": "open cases"})
        audit_log.record(
            None, "decision", actor="cli:user:7", subject="refund x 1", details={"action": "approve"}
        )
    assert subjects(audit_log)[0] == "pull_gap 2"
    assert len(subjects(audit_log)) == 4
    assert subjects(audit_log, kind="pull_gap") == ["pull_gap 2", "pull_gap 1"]
    assert subjects(audit_log, kind="refund") == ["refund x 1"]
    assert subjects(audit_log, user=8) == ["money_unknown payment.A"]
    assert subjects(audit_log, user=7) == ["refund x 1"]
    assert "pull_gap 2" not in subjects(audit_log, day=HALF_PAST_TEN.date())
    assert subjects(audit_log, day=HALF_PAST_TEN.date() + timedelta(days=1)) == ["pull_gap 2"]


def test_pages_hold_each_decision_once_and_a_walk_is_bounded(
    audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        decide(audit_log, "pull_gap" if number % 2 else "contradiction", str(number), minutes=number)
    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "MAX_WALKED", 4)
    for wanted, expected in ((Wanted(), [6, 5, 4, 3, 2, 1, 0]), (Wanted(kind="pull_gap"), [5, 3, 1])):
        seen, key, pages = [], None, 0
        while True:
            found, key = closed_cases(audit_log, wanted, after=key, limit=2)
            seen += [int(entry.subject.split()[1]) for entry in found]
            pages += 1
            if key is None:
                break
        assert seen == expected
        assert pages <= 5


def test_what_was_decided_about_a_session_and_the_payers_other_payments_is_found(
    ledger: Ledger, database: Database, vault: Vault, audit_log: AuditLog
) -> None:
    session = Checkout(ledger).prompt().pay("UKGPAID001").refuse_order().session
    movement = Movement(MovementKind.PAYMENT, "UKGOTHER01", 99_00, HALF_PAST_TEN, Evidence.C2B, payer=DIGITS)
    movements = Movements(database, vault)
    movements.store([movement], HALF_PAST_TEN)
    movements.store_results([MatchResult(movement, MatchVerdict.UNKNOWN)], HALF_PAST_TEN)
    movements.close(movement.key, closed_by="operator 9", note="Rent.", now=HALF_PAST_TEN)
    audit_log.record(None, "decision", actor="user:9", subject=f"refund {session.id} 1")
    decide(audit_log, "money_unknown", "payment.UKGPAID001")
    decide(audit_log, "money_unknown", "payment.UKGOTHER01")
    decide(audit_log, "pull_gap", "1")
    decide(audit_log, "pull_gap", "2")

    def about(**wanted: object) -> set[str]:
        found = decided_about(database, audit_log, [session], **wanted)  # type: ignore[arg-type]  # as given
        return {entry.subject for entry in found}

    own = {f"refund {session.id} 1", "money_unknown payment.UKGPAID001"}
    assert about() == own
    assert about(case=(Kind.PULL_GAP, "2")) == own | {"pull_gap 2"}
    assert about(case=(Kind.REFUND_DUE, f"{session.id}.refund.1")) == own
    assert about(payers=digests_of_payer(vault, DIGITS)) == own | {"money_unknown payment.UKGOTHER01"}


def test_a_forged_decision_says_that_it_is_none(audit_log: AuditLog, database: Database) -> None:
    decide(audit_log, "pull_gap", "1")
    with psycopg.connect(database.url, autocommit=True) as attacker:
        attacker.execute(FORGE, ("pull_gap 1",))
    found, _ = closed_cases(audit_log, Wanted(), after=None, limit=50)
    assert [entry.is_genuine for entry in found] == [False, True]
    about = decided_about(database, audit_log, [], case=(Kind.PULL_GAP, "1"))
    assert [entry.is_genuine for entry in about] == [False, True]

"""Two persons erase a customer, for ever and everywhere, unless something stands against it."""

import hashlib
from datetime import timedelta

import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.errors import LedgerError, Rejected
from ledger.store.audit_log import AuditLog
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.message_bodies import OPENED, open_body
from ledger.store.vault import PHONE, Vault
from payments.erasure.erasures import HELD, Erasures
from payments.inbox.inbox import Channel, Inbox
from tests.payments.erasure.conftest import NUMBER, REASON
from tests.support.checkouts import Checkout
from tests.support.erasures import let_a_week_pass


def stored(inbox: Inbox, body: str) -> None:
    message = inbox.store(
        body.encode(),
        body_bytes=len(body),
        channel=Channel.C2B_CONFIRMATION,
        is_authenticated=False,
        now=clock.now(),
    )
    inbox.settle(message, None, clock.now())


def bodies(database: Database, vault: Vault) -> list[str]:
    with database.connection() as connection:
        rows = connection.execute(f"SELECT {OPENED} FROM daraja_inbox".encode()).fetchall()
    opened = []
    for row in rows:
        try:
            opened.append(open_body(vault, row).decode())
        except Erased:
            continue
    return opened


@pytest.mark.usefixtures("checkout")
def test_two_persons_erase_a_customer_and_a_signed_entry_says_so(
    erasures: Erasures, audit_log: AuditLog, checkout: Checkout, vault: Vault
) -> None:
    assert erasures.propose(7, by="user:41", reason=REASON).proposed_by == "user:41"
    erasures.approve(7, by="cli:user:42")

    assert erasures.plan(7).is_erased
    with pytest.raises(Erased):
        vault.decrypt(7, checkout.session.phone_sealed or "", purpose=PHONE, row=checkout.session_id)
    kinds = [(entry.kind, entry.actor) for entry in audit_log.entries(subject="user:7")[1]]
    assert kinds == [("customer_erased", "cli:user:42"), ("erasure_proposed", "user:41")]


@pytest.mark.usefixtures("checkout")
def test_messages_outside_of_the_customers_key_are_found_by_the_phone(
    erasures: Erasures, database: Database, vault: Vault
) -> None:
    inbox = Inbox(database, vault)
    hashed = hashlib.sha256(NUMBER.encode()).hexdigest()
    stored(inbox, f'{{"MSISDN": "{NUMBER}"}}')
    stored(inbox, f'{{"MSISDN": "{hashed}"}}')
    stored(inbox, '{"MSISDN": "254712345679"}')
    erasures.propose(7, by="user:41", reason=REASON)

    erasures.approve(7, by="user:42")

    assert bodies(database, vault) == ['{"MSISDN": "254712345679"}']


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("approver", ["user:41", "cli:user:41", "user:7"])
def test_neither_the_proposer_nor_the_customer_approves(erasures: Erasures, approver: str) -> None:
    erasures.propose(7, by="user:41", reason=REASON)
    with pytest.raises(Rejected, match="ERASURE_NEEDS_ANOTHER"):
        erasures.approve(7, by=approver)
    with pytest.raises(Rejected, match="ERASURE_NEEDS_ANOTHER"):
        erasures.propose(7, by="user:7", reason=REASON)
    assert not erasures.plan(7).is_erased


@pytest.mark.usefixtures("checkout")
def test_nothing_is_erased_that_nobody_proposed_or_that_was_erased(erasures: Erasures) -> None:
    with pytest.raises(Rejected, match="ERASURE_NOT_PROPOSED"):
        erasures.approve(7, by="user:42")
    erasures.propose(7, by="user:41", reason=REASON)
    erasures.approve(7, by="user:42")
    with pytest.raises(Erased):
        erasures.approve(7, by="user:42")


@pytest.mark.usefixtures("checkout")
def test_a_legal_hold_wins_until_a_week_after_it_is_lifted(erasures: Erasures, database: Database) -> None:
    erasures.propose(7, by="user:41", reason=REASON)
    erasures.hold(7, by="user:41", reason="Case 12.")
    with pytest.raises(Rejected, match="legal hold"):
        erasures.approve(7, by="user:42")
    erasures.hold(7, by="user:41", reason="Closed.", lift=True)
    with pytest.raises(Rejected, match="lifted less than 7 days ago"):
        erasures.approve(7, by="user:42")
    let_a_week_pass(database)
    erasures.approve(7, by="user:42")


@pytest.mark.usefixtures("checkout")
def test_a_hold_or_a_proposal_that_was_forged_in_the_database_counts_for_nothing(
    erasures: Erasures, database: Database
) -> None:
    erasures.hold(7, by="user:41", reason="Case 12.")
    with database.connection() as connection:
        for kind in ("legal_hold_lifted", "erasure_proposed"):
            connection.execute(
                "SELECT record_audit_entry(gen_random_uuid(), now(), %s, 'user:41', 'user:7', '', '{}', 0, %s)",
                (kind, bytes(32)),
            )
    plan = erasures.plan(7)
    assert "legal hold" in plan.obstacles[0]
    assert plan.proposed_by is None


@pytest.mark.usefixtures("checkout")
def test_a_duty_to_keep_wins_and_says_until_when(
    database: Database, vault: Vault, audit_log: AuditLog
) -> None:
    erasures = Erasures(database, vault, audit_log, timedelta(days=3_650))
    with pytest.raises(Rejected, match="until 2034-01-1"):
        erasures.propose(7, by="user:41", reason=REASON)


def test_money_under_way_has_to_end_first(ledger: Ledger, erasures: Erasures, vault: Vault) -> None:
    vault.encrypt(7, "so that there is a key", purpose="test", row=1)
    Checkout(ledger).prompt().pay("NLJ7RT61SV").refuse_order()
    with pytest.raises(Rejected, match="under way"):
        erasures.propose(7, by="user:41", reason=REASON)


def test_an_entry_in_the_log_names_no_phone(erasures: Erasures) -> None:
    with pytest.raises(LedgerError):
        erasures.hold(7, by="user:41", reason=f"He called from {NUMBER}.")


def test_holds_are_of_the_kind_that_auditors_look_for(erasures: Erasures, audit_log: AuditLog) -> None:
    erasures.hold(7, by="user:41", reason="Case 12.")
    assert [entry.kind for entry in audit_log.entries(kind=HELD)[1]] == ["legal_hold_placed"]

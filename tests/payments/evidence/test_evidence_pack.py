"""What comes after a head changes no pack under it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from ledger import clock
from ledger.application import Ledger
from ledger.session.values import Evidence, Payment
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.event_macs import EventForged
from ledger.store.vault import PHONE, Vault
from payments.evidence.evidence_pack import EvidencePacks
from payments.reconciliation.movements import MatchResult, MatchVerdict, Movement, MovementKind, Movements
from tests.support.appending import append
from tests.support.checkouts import TOTAL_CENTS, Checkout, new_session
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def sign(database: Database, vault: Vault) -> Callable[[], None]:
    """Sign a head over all that is in the log."""

    def run() -> None:
        until_readable(database)
        BlockSigner(database, lambda: vault.block_key).run()

    return run


@pytest.fixture
def packs(database: Database, vault: Vault) -> EvidencePacks:
    return EvidencePacks(database, vault, lambda *_: None)


@pytest.fixture
def asked(ledger: Ledger, vault: Vault) -> Checkout:
    """A payment that M-Pesa was asked for."""
    session_id = new_session().id
    phone = vault.encrypt(7, "254712345678", purpose=PHONE, row=session_id)
    return Checkout(ledger, session_id=session_id, phone_sealed=phone).request(phone)


def test_a_later_import_changes_no_pack_under_an_earlier_head(
    database: Database, vault: Vault, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    movements = Movements(database, vault)
    paid = Movement(MovementKind.PAYMENT, "RCPTONE001", TOTAL_CENTS, asked.at, Evidence.C2B)
    movements.store([paid], asked.at)
    asked.pay("RCPTONE001", evidence=Evidence.C2B)
    sign()
    first = packs.pack(asked.session_id, 1)
    better = replace(paid, evidence=Evidence.STATEMENT, happened_at=asked.at + timedelta(seconds=40))
    movements.store_results([MatchResult(better, MatchVerdict.CREDITED)], clock.now())
    assert b"RCPTONE001" in first
    assert packs.pack(asked.session_id, 1) == first


def test_a_forged_event_blocks_only_the_heads_that_cover_it(
    ledger: Ledger, database: Database, asked: Checkout, packs: EvidencePacks, sign: Callable[[], None]
) -> None:
    sign()
    first = packs.pack(asked.session_id, 1)
    session = ledger.session(asked.session_id)
    session.record_payment(Payment(1, None, TOTAL_CENTS, Evidence.QUERY, asked.at), at=asked.at)
    with database.transaction() as attacker:
        append(attacker, ledger, session, macs=[bytes(range(32))])
    assert packs.pack(asked.session_id, 1) == first
    sign()
    assert packs.pack(asked.session_id, 1) == first
    with pytest.raises(EventForged):
        packs.pack(asked.session_id)

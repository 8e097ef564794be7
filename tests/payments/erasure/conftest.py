"""A customer who can be erased, and what erases them."""

from datetime import timedelta
from uuid import uuid4

import pytest

from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import PHONE, Vault
from payments.erasure.erasures import Erasures
from tests.support.checkouts import Checkout
from tests.support.keys import MASTER_KEY

NUMBER = "254712345678"
REASON = "The customer asked by letter."


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def audit_log(database: Database, vault: Vault) -> AuditLog:
    return AuditLog(database, vault.keys)


@pytest.fixture
def erasures(database: Database, vault: Vault, audit_log: AuditLog) -> Erasures:
    return Erasures(database, vault, audit_log, timedelta(0))


@pytest.fixture
def checkout(ledger: Ledger, vault: Vault) -> Checkout:
    """A session of user 7, paid from NUMBER, that became an order long ago."""
    session_id = uuid4()
    phone = vault.encrypt(7, NUMBER, purpose=PHONE, row=session_id)
    checkout = Checkout(ledger, session_id=session_id, phone_sealed=phone)
    return checkout.request(phone).initiate().pay("NLJ7RT61SV").order(789)

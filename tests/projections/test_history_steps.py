"""Many sessions at once come to what each comes to by itself, at any moment, and without what is forged."""

from datetime import datetime
from uuid import UUID

import psycopg
import pytest

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.store.database import Database
from projections.history import history
from projections.history_steps import entries_until, folded, sessions_at
from tests.support.checkouts import one_of_every_kind
from tests.support.keys import event_macs

ALTER = "UPDATE payment_events SET state = state || '{\"x\": 1}' WHERE session_id = %s AND version = %s"
FORGE = "UPDATE payment_events SET mac = sha256(mac) WHERE session_id = %s AND version = %s"


@pytest.fixture
def ids(ledger: Ledger) -> list[UUID]:
    return [checkout.session_id for checkout in one_of_every_kind(ledger)]


def by_themselves(database: Database, ids: list[UUID], as_of: datetime | None) -> dict[UUID, PaymentSession]:
    macs = event_macs(database)
    found = {each: folded(entries_until(history(database, macs, each), as_of=as_of)) for each in ids}
    return {each: session for each, session in found.items() if session is not None}


def test_sessions_of_every_kind_are_folded_together_as_each_is_alone(
    database: Database, database_url: str, ids: list[UUID]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
        owner.execute(FORGE, (ids[-1], 3))
        owner.execute(FORGE, (ids[-2], 1))
        owner.execute(ALTER, (ids[-3], 3))
        moments = owner.execute("SELECT DISTINCT recorded_at FROM payment_events ORDER BY 1").fetchall()
    for as_of in (None, *(moment for (moment,) in moments[::7])):
        together = sessions_at(database, event_macs(database), ids, as_of)
        assert together == by_themselves(database, ids, as_of)
    now = sessions_at(database, event_macs(database), ids, None)
    assert now.keys() == set(ids) - {ids[-2]}
    assert now[ids[-1]].version == now[ids[-3]].version == 2


def test_of_no_sessions_there_is_nothing(database: Database) -> None:
    assert sessions_at(database, event_macs(database), [], None) == {}

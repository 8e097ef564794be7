"""What is written stays as it was written, and shows when it did not."""

from contextlib import closing

import psycopg
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from api.local.database_logins import url_of_login
from ledger.application import Ledger
from ledger.store.canonical import GENESIS, canonical_json, chained_hash, event_digest
from ledger.store.database import APP_ROLE, Database
from ledger.store.role_names import DEFAULT_ROLES
from tests.support.checkouts import Checkout
from tests.support.database import APP_PASSWORD

REWRITES = (
    "UPDATE payment_events SET topic = 'x'",
    "DELETE FROM payment_events",
    "TRUNCATE payment_events",
)
CHAIN = """
SELECT version, topic, state, metadata, previous_hash, hash FROM payment_events WHERE session_id = %s ORDER BY version
"""

keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
whole_numbers = st.integers(-(2**53) + 1, 2**53 - 1)
states = st.recursive(
    st.none() | st.booleans() | whole_numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
)


@pytest.mark.parametrize("statement", REWRITES)
def test_the_owner_of_the_tables_is_stopped_by_triggers(
    ledger: Ledger, database: Database, statement: str
) -> None:
    Checkout(ledger)
    with (
        psycopg.connect(database.url) as owner,
        pytest.raises(psycopg.Error, match="append-only") as refusal,
    ):
        owner.execute(statement.encode())
    assert refusal.value.sqlstate == "DF003"


@pytest.mark.parametrize(
    "statement",
    [
        *REWRITES,
        "INSERT INTO payment_events SELECT * FROM payment_events",
        "UPDATE payment_sessions SET received_cents = 0",
        "DELETE FROM payment_sessions",
        "DELETE FROM payment_refs",
        "UPDATE ledger_node SET epoch = 1",
        "ALTER TABLE payment_events DISABLE TRIGGER ALL",
        "DROP TABLE payment_events",
    ],
)
def test_the_applications_role_has_no_right_to_rewrite(
    ledger: Ledger, database: Database, statement: str
) -> None:
    Checkout(ledger)
    with (
        psycopg.connect(database.url, options=f"-c role={APP_ROLE}") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_processes_take_the_applications_role(database: Database) -> None:
    with database.connection() as connection:
        assert connection.execute("SELECT current_user AS role").fetchone() == {"role": APP_ROLE}


@pytest.mark.parametrize("role", ["No such role", DEFAULT_ROLES.owner])
def test_who_may_not_take_a_role_stays_who_they_are(database_url: str, role: str) -> None:
    login = url_of_login(database_url, APP_ROLE, APP_PASSWORD)
    with closing(Database(login, role=role)) as database, database.connection() as connection:
        assert connection.execute("SELECT current_user AS role").fetchone() == {"role": APP_ROLE}


def test_each_event_carries_the_hash_of_the_one_before(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).prompt().pay().order().session_id
    with database.connection() as connection:
        rows = connection.execute(CHAIN, (session_id,)).fetchall()
    previous = GENESIS
    for row in rows:
        digest = event_digest(session_id, row["version"], row["topic"], row["state"], row["metadata"])
        assert bytes(row["previous_hash"]) == previous
        assert bytes(row["hash"]) == chained_hash(previous, digest)
        previous = bytes(row["hash"])


@settings(deadline=None)
@given(states)
def test_the_text_that_is_hashed_is_the_canonical_one_of_the_standard(state: object) -> None:
    assert canonical_json(state) == rfc8785.dumps(state)  # type: ignore[arg-type]

"""The access token that all processes share."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.access_tokens import AccessTokens

ENDS = datetime(2024, 1, 15, 11, 30, tzinfo=UTC)


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


def test_one_process_reads_what_another_wrote(database: Database, vault: Vault) -> None:
    assert AccessTokens(database, vault, "sandbox").read() is None
    AccessTokens(database, vault, "sandbox").write("a token", ENDS)
    assert AccessTokens(database, vault, "sandbox").read() == ("a token", ENDS)
    assert AccessTokens(database, vault, "production").read() is None


def test_a_new_token_replaces_the_old(database: Database, vault: Vault) -> None:
    tokens = AccessTokens(database, vault, "sandbox")
    tokens.write("old", ENDS)
    tokens.write("new", ENDS + timedelta(hours=1))
    assert tokens.read() == ("new", ENDS + timedelta(hours=1))


def test_a_token_is_encrypted_at_rest(database: Database, vault: Vault) -> None:
    AccessTokens(database, vault, "sandbox").write("a token", ENDS)
    with database.connection() as connection:
        row = connection.execute("SELECT sealed_value FROM access_tokens").fetchone()
    assert row is not None
    assert row["sealed_value"].startswith("v2.")
    assert "a token" not in row["sealed_value"]


def test_one_at_a_time_holds_the_lock_of_a_consumer(database: Database, vault: Vault) -> None:
    inside = 0
    most = 0

    def refresh(_: int) -> None:
        nonlocal inside, most
        with AccessTokens(database, vault, "sandbox").lock():
            inside += 1
            most = max(most, inside)
            with AccessTokens(database, vault, "production").lock():
                pass
            inside -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(refresh, range(8)))
    assert most == 1


def test_waiting_for_the_lock_ends_with_a_time_out(
    database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payments.mpesa.access_tokens.LOCK_TIMEOUT_MILLISECONDS", 50)
    with (
        AccessTokens(database, vault, "sandbox").lock(),
        pytest.raises(Unavailable),
        AccessTokens(database, vault, "sandbox").lock(),
    ):
        pass

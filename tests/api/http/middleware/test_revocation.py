"""Revoked tokens: one by its id, all of a user's, those of who signed out; and every process knows within seconds."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from psycopg import Connection

from api.cli import main
from api.issued_tokens import make_token
from api.local.local_settings import local_settings
from api.pages.console.staff import COOKIE
from api.settings import Settings
from ledger.errors import Unavailable
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.kept_copy import GOOD_FOR_SECONDS, READ_EVERY_SECONDS
from payments.revocation.token_revocations import TokenRevocations
from tests.api.http.conftest import SECRET, ProbeServices

WHO = "/api/probes/who/"
NOW = datetime(2026, 1, 27, 10, 0, tzinfo=UTC)
MakeRevocations = Callable[[], TokenRevocations]


@pytest.fixture
def vault(database: Database, settings: Settings) -> Vault:
    vault = Vault(database, settings.daftari_master_key)
    vault.claim()
    return vault


@pytest.fixture
def make_revocations(database: Database, vault: Vault) -> MakeRevocations:
    """Makes what each process has of its own."""
    return lambda: TokenRevocations(database, AuditLog(database, vault.keys))


@pytest.fixture
def revocations(make_revocations: MakeRevocations, services: ProbeServices, vault: Vault) -> TokenRevocations:
    services.revocations = made = make_revocations()  # type: ignore[assignment]  # the real one here
    services.vault = vault
    return made


@pytest.fixture(name="clock")
def frozen_clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(NOW) as frozen:
        assert isinstance(frozen, FrozenDateTimeFactory)
        yield frozen


def token(**changes: object) -> str:
    claims = {"sub": "7", "roles": ["customer"], "iat": NOW.timestamp(), "exp": NOW.timestamp() + 3600}
    return jwt.encode(
        {name: value for name, value in (claims | changes).items() if value is not None}, SECRET
    )


def status(client: FlaskClient, given: str) -> int:
    return client.get(WHO, headers={"Authorization": f"Bearer {given}"}).status_code


def test_all_tokens_issued_until_now_are_refused_and_later_ones_are_not(
    client: FlaskClient, revocations: TokenRevocations, clock: FrozenDateTimeFactory
) -> None:
    before, undated, anothers = token(), token(iat=None), token(sub="8")
    assert [status(client, each) for each in (before, undated, anothers)] == [200, 200, 200]
    clock.tick(0.3)
    revocations.revoke_all(7, by="user:9", reason="Lost phone.")
    assert [status(client, each) for each in (before, undated, anothers)] == [401, 401, 200]
    clock.tick(0.3)
    assert status(client, token(iat=NOW.timestamp() + 0.6)) == 200
    assert status(client, token(iat=NOW.timestamp())) == 401, "of the same second, when it is not known which"
    answer = client.get(WHO, headers={"Authorization": f"Bearer {before}"})
    assert answer.json is not None
    assert answer.json["message"] == "This token is not accepted: it was revoked."


@pytest.mark.usefixtures("clock")
def test_one_token_is_refused_by_its_id_and_no_other(
    client: FlaskClient, revocations: TokenRevocations
) -> None:
    lost, kept, anothers = token(jti="a"), token(jti="b"), token(jti="a", sub="8")
    revocations.revoke(7, "a", by="user:9", reason="")
    assert [status(client, each) for each in (lost, kept, anothers)] == [401, 200, 200]


def test_a_cut_off_never_moves_back(
    client: FlaskClient, revocations: TokenRevocations, clock: FrozenDateTimeFactory
) -> None:
    revocations.revoke_all(7, by="user:9", reason="")
    clock.move_to(NOW - timedelta(hours=1))
    revocations.revoke_all(7, by="user:9", reason="")
    clock.move_to(NOW + timedelta(seconds=1))
    assert status(client, token(iat=NOW.timestamp())) == 401


@pytest.mark.usefixtures("revocations")
def test_another_process_knows_within_seconds(client: FlaskClient, make_revocations: MakeRevocations) -> None:
    with freeze_time(NOW) as clock:
        given = token()
        assert status(client, given) == 200
        make_revocations().revoke_all(7, by="user:9", reason="")
        clock.tick(READ_EVERY_SECONDS + 0.1)
        assert status(client, given) == 401


def test_what_has_ended_by_itself_may_be_purged_and_the_rest_stays(
    revocations: TokenRevocations, database: Database, clock: FrozenDateTimeFactory
) -> None:
    revocations.revoke(7, "ended", by="user:7", reason="", ends_at=NOW + timedelta(minutes=5))
    revocations.revoke(7, "unknown", by="user:7", reason="")
    clock.tick(timedelta(minutes=6))
    revocations.revoke_all(8, by="user:8", reason="")
    with database.connection() as connection:
        connection.execute("SELECT purge_kind('revocations', %s, '0', 10)", (NOW + timedelta(minutes=6),))
        rows = connection.execute("SELECT user_id, expires_at FROM token_revocations").fetchall()
    assert sorted((row["user_id"], row["expires_at"]) for row in rows) == [(7, None), (8, None)]


def test_each_revocation_is_in_the_audit_log_with_who_and_why(
    revocations: TokenRevocations, database: Database, vault: Vault
) -> None:
    revocations.revoke_all(7, by="user:9", reason="Lost phone.")
    _, [entry] = AuditLog(database, vault.keys).entries()
    assert (entry.kind, entry.actor, entry.subject, entry.reason) == (
        "revocation",
        "user:9",
        "user:7",
        "Lost phone.",
    )


def test_while_the_database_is_away_the_last_copy_counts_for_a_minute(
    revocations: TokenRevocations, clock: FrozenDateTimeFactory
) -> None:
    revocations.revoke(7, "a", by="user:9", reason="")
    assert revocations.is_revoked(7, ["a"], None)
    revocations._database = Database("postgresql://127.0.0.1:1/away")
    revocations._database.pool.timeout = 0.1
    clock.tick(GOOD_FOR_SECONDS - 1)
    assert revocations.is_revoked(7, ["a"], None)
    assert not revocations.is_revoked(7, ["b"], None)
    assert revocations._copy._read_at is not None
    revocations._copy._read_at -= 2 * GOOD_FOR_SECONDS
    with pytest.raises(Unavailable):
        revocations.is_revoked(7, ["b"], None)


def test_after_a_quiet_hour_all_requests_wait_for_the_one_that_reads(
    revocations: TokenRevocations, database: Database, clock: FrozenDateTimeFactory
) -> None:
    assert not revocations.is_revoked(7, ["a"], None)
    clock.tick(3600)
    with ThreadPoolExecutor(2) as threads:
        with psycopg.connect(database.url) as connection:
            connection.execute("LOCK TABLE token_revocations IN ACCESS EXCLUSIVE MODE")
            reader = threads.submit(revocations.is_revoked, 7, ["a"], None)
            while not database_waits(connection):
                assert not reader.done()
            other = threads.submit(revocations.is_revoked, 7, ["a"], None)
            while not other.running():
                assert not other.done()
        assert [reader.result(30), other.result(30)] == [False, False]


def database_waits(connection: Connection[Any]) -> bool:
    return bool(
        connection.execute(
            "SELECT FROM pg_locks WHERE NOT granted AND relation = 'token_revocations'::regclass"
        ).rowcount
    )


@pytest.mark.usefixtures("revocations")
def test_signing_out_ends_the_token_in_a_kept_cookie_and_in_the_api(
    app: Flask, settings: Settings, vault: Vault
) -> None:
    client = app.test_client()
    given = make_token(settings, 9, ["auditor", "customer"], 5)
    other = make_token(settings, 9, ["auditor", "customer"], 5)
    with app.test_request_context():
        proof = vault.sign(b"forms of the work page\0" + given.encode()).hex()
    client.set_cookie(COOKIE, given, path="/console/")
    assert status(client, given) == 200
    assert client.post("/console/sign-out/", data={"proof": proof}).status_code == 303
    kept = app.test_client()
    kept.set_cookie(COOKIE, given, path="/console/")
    assert "Sign in with your bearer token" in kept.get("/console/").text
    assert [status(client, each) for each in (given, other)] == [401, 200]


def test_the_command_line_revokes(database_url: str, tmp_path: Path, database: Database) -> None:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(tmp_path),
        "DAFTARI_JWT_SECRET": SECRET,
    }
    settings = local_settings(environ)
    vault = Vault(database, settings.daftari_master_key)
    revocations = TokenRevocations(database, AuditLog(database, vault.keys))
    given = make_token(settings, 7, ["customer"], 5)
    iat = jwt.decode(given, options={"verify_signature": False})["iat"]
    assert not revocations.is_revoked(7, [given], iat)
    done = CliRunner().invoke(main, ["revoke-tokens", "7", "--reason", "lost", "--by", "9"], env=environ)
    assert done.exit_code == 0, done.output
    fresh = TokenRevocations(database, AuditLog(database, vault.keys))
    assert fresh.is_revoked(7, [given], iat)
    one = CliRunner().invoke(main, ["revoke-tokens", "8", "--token-id", "abc"], env=environ)
    assert one.exit_code == 0, one.output
    _, entries = AuditLog(database, vault.keys).entries()
    assert [(entry.actor, entry.subject) for entry in entries] == [
        ("cli", "user:8"),
        ("cli:user:9", "user:7"),
    ]

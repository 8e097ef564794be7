"""API keys as bearer tokens: who is let in, from where, until when; and every process knows within seconds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from werkzeug.test import TestResponse

from api.http.middleware.logging import configure_logging
from api.settings import Settings
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.api_keys.api_key import LIVE, TEST
from payments.api_keys.key_store import ApiKeyStore, NewKey
from payments.api_keys.verification import MAX_UNKNOWN_READS, ApiKeys
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.kept_copy import READ_EVERY_SECONDS
from payments.request_leases import RequestLeases
from tests.api.http import probes
from tests.api.http.conftest import ProbeServices
from tests.support.api_keys import key_store, make_key

ACTOR = "/api/probes/actor/"
COUNTED = "/api/probes/counted/"
NOW = datetime(2026, 1, 27, 10, 0, tzinfo=UTC)
Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def vault(database: Database, settings: Settings, services: ProbeServices) -> Vault:
    vault = Vault(database, settings.daftari_master_key)
    vault.claim()
    services.api_keys = ApiKeys(database, vault, TEST)
    services.idempotency = IdempotencyStore(database, vault)
    services.request_leases = RequestLeases(database)
    services.audit_log = AuditLog(database, vault.keys)  # type: ignore[assignment]  # the real one here
    return vault


@pytest.fixture
def store(database: Database, vault: Vault) -> ApiKeyStore:
    return key_store(database, vault)


@pytest.fixture(name="clock")
def frozen_clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(NOW) as frozen:
        assert isinstance(frozen, FrozenDateTimeFactory)
        yield frozen


def ask(client: FlaskClient, key: str, path: str = ACTOR, **more: Any) -> TestResponse:
    return client.get(path, headers={"Authorization": f"Bearer {key}"} | more.pop("headers", {}), **more)


def status(client: FlaskClient, key: str) -> int:
    return ask(client, key).status_code


def message(answer: TestResponse) -> str:
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error_code"] == "TOKEN_INVALID"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    return str(answer.json["message"])


@pytest.mark.parametrize("role", ["server", "auditor", "analyst"])
def test_a_key_is_known_by_its_name_and_has_its_role(
    client: FlaskClient, store: ApiKeyStore, role: str
) -> None:
    _, text = store.create(NewKey("web-shop", role), by="cli:user:9")
    assert text.startswith("dk_test_")
    assert len(text) == len("dk_test_") + 48
    assert ask(client, text).json == {"actor": "key:web-shop"}
    assert ask(client, text, "/api/probes/who/").status_code == 403


def test_what_is_stored_shows_neither_key_nor_a_digest_that_others_can_make(
    client: FlaskClient, store: ApiKeyStore, database: Database
) -> None:
    _, text = store.create(NewKey("web-shop", "server"), by="cli:user:9")
    assert status(client, text) == 200
    with database.connection() as connection:
        [row] = connection.execute("SELECT row_to_json(api_keys)::text AS stored FROM api_keys").fetchall()
        [entry] = connection.execute("SELECT row_to_json(audit_log)::text AS kept FROM audit_log").fetchall()
    for shown in (row["stored"], entry["kept"]):
        assert text.removeprefix("dk_test_") not in shown
        assert text[:20] not in shown
    assert text[-4:] in row["stored"]


def test_a_new_key_is_good_at_once_and_a_revoked_one_nowhere_within_seconds(
    client: FlaskClient, store: ApiKeyStore, clock: FrozenDateTimeFactory
) -> None:
    _, other = store.create(NewKey("other", "server"), by="cli")
    assert status(client, other) == 200
    key, text = store.create(NewKey("web-shop", "server"), by="cli")
    assert status(client, text) == 200
    store.revoke(key.key_id, by="cli:user:9", reason="Leaked.")
    clock.tick(READ_EVERY_SECONDS)
    assert message(ask(client, text)) == (
        "This token is not accepted: there is no such API key, or it was revoked or has expired."
    )
    assert status(client, other) == 200


def test_after_a_rotation_both_are_good_until_the_grace_is_over(
    client: FlaskClient, store: ApiKeyStore, clock: FrozenDateTimeFactory
) -> None:
    old, before = store.create(NewKey("web-shop", "server", lasts=timedelta(days=90)), by="cli")
    clock.tick(timedelta(days=60))
    new, after = store.rotate(old.key_id, grace=timedelta(hours=24), by="cli")
    assert (new.name, new.role, new.follows) == ("web-shop", "server", old.key_id)
    assert new.expires_at == new.created_at + timedelta(days=90)
    clock.tick(timedelta(hours=23, minutes=59))
    assert [status(client, text) for text in (before, after)] == [200, 200]
    clock.tick(timedelta(minutes=1))
    assert [status(client, text) for text in (before, after)] == [401, 200]


def test_a_key_ends_by_itself(client: FlaskClient, store: ApiKeyStore, clock: FrozenDateTimeFactory) -> None:
    _, text = store.create(NewKey("web-shop", "server", lasts=timedelta(days=1)), by="cli")
    clock.tick(timedelta(days=1) - timedelta(seconds=1))
    assert status(client, text) == 200
    clock.tick(1)
    assert status(client, text) == 401


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("203.0.113.7", 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::5", 200),
        ("203.0.114.7", 401),
        ("2001:db9::5", 401),
        ("", 401),
    ],
)
def test_a_key_is_accepted_from_its_networks_alone(
    client: FlaskClient, database: Database, vault: Vault, sender: str, expected: int
) -> None:
    allowed = [ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")]
    text = make_key(database, vault, "web-shop", allowed_addresses=allowed)
    answer = ask(client, text, environ_base={"REMOTE_ADDR": sender})
    assert answer.status_code == expected
    if expected == 401:
        assert message(answer).startswith("This token is not accepted: this API key is not for the address ")


def test_the_address_is_the_one_that_our_own_proxy_saw(
    make_app: Callable[[Settings], Flask], settings: Settings, database: Database, vault: Vault
) -> None:
    text = make_key(database, vault, "web-shop", allowed_addresses=[ip_network("203.0.113.7")])
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert ask(make_app(settings).test_client(), text, headers=forwarded).status_code == 401
    client = make_app(replace(settings, daftari_trusted_proxies=1)).test_client()
    assert ask(client, text, headers=forwarded).status_code == 200
    assert ask(client, text, headers={"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}).status_code == 401


def test_a_key_of_the_other_mode_is_refused_by_name(
    client: FlaskClient, database: Database, vault: Vault, services: ProbeServices
) -> None:
    _, live = key_store(database, vault, LIVE).create(NewKey("live", "server"), by="cli")
    test = make_key(database, vault, "test")
    assert message(ask(client, live)) == (
        "This token is not accepted: it is an API key of production, and this is development, whose keys begin with "
        "dk_test_."
    )
    services.api_keys = ApiKeys(database, vault, LIVE)
    assert status(client, live) == 200
    assert "it is an API key of development, and this is production" in message(ask(client, test))


@pytest.mark.usefixtures("clock")
def test_keys_that_do_not_exist_cost_no_statement_each(
    client: FlaskClient, database: Database, vault: Vault, services: ProbeServices
) -> None:
    text = make_key(database, vault, "web-shop")
    assert status(client, text) == 200
    assert services.api_keys is not None
    reads: list[None] = []
    services.api_keys._copy._read = lambda: reads.append(None)
    for number in range(50):
        assert status(client, f"{TEST}{number:048x}") == 401
    assert len(reads) <= MAX_UNKNOWN_READS


def test_the_last_use_is_kept_to_a_minute(
    client: FlaskClient, store: ApiKeyStore, clock: FrozenDateTimeFactory
) -> None:
    _, text = store.create(NewKey("web-shop", "server"), by="cli")
    [unused] = store.list()
    assert unused.last_used_at is None
    for seconds, noted in ((0, 0), (59, 0), (1, 60), (30, 60), (45, 135)):
        clock.tick(seconds)
        assert status(client, text) == 200
        [key] = store.list()
        assert key.last_used_at == NOW + timedelta(seconds=noted)


def test_a_key_that_is_refused_leaves_no_use(client: FlaskClient, store: ApiKeyStore) -> None:
    _, text = store.create(NewKey("web-shop", "server", [ip_network("203.0.113.7")]), by="cli")
    assert status(client, text) == 401
    assert store.list()[0].last_used_at is None


def test_the_log_names_the_key_and_never_shows_it(
    client: FlaskClient, database: Database, vault: Vault
) -> None:
    text = make_key(database, vault, "web-shop", allowed_addresses=[ip_network("203.0.113.7")])
    log = StringIO()
    configure_logging("json", log)
    ask(client, text)
    ask(client, text, environ_base={"REMOTE_ADDR": "203.0.113.7"})
    ask(client, text[:-1])
    ask(client, text, "/api/probes/refusals/fault/", environ_base={"REMOTE_ADDR": "203.0.113.7"})
    lines = log.getvalue()
    assert '"key_name":"web-shop"' in lines
    assert '"event":"api_key_from_elsewhere"' in lines
    assert text[len(TEST) : len(TEST) + 8] not in lines


def test_an_idempotency_key_belongs_to_the_name_of_one_api_key(
    client: FlaskClient, database: Database, vault: Vault
) -> None:
    probes.ran.clear()
    one, other = make_key(database, vault, "one"), make_key(database, vault, "other")
    ran = [
        client.post(
            COUNTED, json={}, headers={"Authorization": f"Bearer {text}", "Idempotency-Key": "first"}
        ).json
        for text in (one, other, one)
    ]
    assert ran == [{"ran": 1}, {"ran": 2}, {"ran": 1}]


def test_all_processes_count_the_requests_of_a_name_together(
    make_app: Callable[[Settings], Flask], settings: Settings, store: ApiKeyStore
) -> None:
    old, before = store.create(NewKey("web-shop", "server"), by="cli")
    _, after = store.rotate(old.key_id, grace=timedelta(hours=1), by="cli")
    _, other = store.create(NewKey("other", "server"), by="cli")
    limited = replace(settings, daftari_key_rate_per_minute=20)
    clients = [make_app(limited).test_client() for _ in range(2)]

    def post(client: FlaskClient, text: str) -> int:
        return client.post(ACTOR, headers={"Authorization": f"Bearer {text}"}).status_code

    with freeze_time(NOW):
        answers = [post(client, text) for _ in range(10) for client in clients for text in (before, after)]
        assert 20 <= answers.count(200) <= 22
        assert answers[-1] == 429
        assert post(clients[0], other) == 200


def test_a_server_that_tries_what_is_for_the_staff_is_recorded_by_its_name(
    client: FlaskClient, database: Database, vault: Vault
) -> None:
    text = make_key(database, vault, "too-curious")
    for _ in range(2):
        assert ask(client, text, "/api/audit/log/").status_code == 403
    _, entries = AuditLog(database, vault.keys).entries(kind="access_refused")
    assert [(entry.actor, entry.details["roles"]) for entry in entries] == [("key:too-curious", ["server"])]


def test_a_token_makes_nobody_a_server(client: FlaskClient, bearer: Bearer) -> None:
    assert client.get(ACTOR, headers=bearer(7, "server")).status_code == 403

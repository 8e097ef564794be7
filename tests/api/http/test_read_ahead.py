"""Polls of several sessions are read together, and each is answered as if it had been read alone."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from ledger.errors import DatabaseUnavailable
from ledger.store.database import Database
from projections import sessions
from tests.scenarios.steps import TOMATOES, put_in_cart, put_on_shelf
from tests.support.instance import Instance, running_instance

SESSIONS = "/api/payments/sessions/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Any:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def session_of(instance: Instance, user: int) -> str:
    buyer = instance.client(user)
    put_in_cart(buyer, TOMATOES, "2")
    session_id: str = buyer.create().json()["session_id"]
    return session_id


def environ(session_id: str, token: str | None) -> dict[str, Any]:
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    return EnvironBuilder(f"{SESSIONS}{session_id}/status/", headers=headers).get_environ()


def answered(instance: Instance, environs: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """Return status and body of each, after all were read ahead."""
    instance.app.read_ahead(environs)
    found = []
    for each in environs:
        parts, status, _ = run_wsgi_app(instance.app, each)
        found.append((int(status[:3]), json.loads(b"".join(parts))))
    return found


def test_each_caller_is_shown_their_own_session_alone(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {user: session_of(instance, user) for user in (1, 2, 3)}
    tokens = {user: instance.token(user) for user in ids}
    alone = [instance.client(user).get(f"{SESSIONS}{ids[user]}/status/").json() for user in ids]
    asked = [environ(ids[user], tokens[user]) for user in ids]
    asked += [environ(ids[1], tokens[2]), environ(str(uuid4()), tokens[1])]
    asked += [environ(ids[1], None), environ(ids[1], "wrong"), environ(ids[2], instance.token(2, "operator"))]
    reads = []
    rows_of = sessions.rows_of

    def counted(database: Database, wanted: Any, now: Any) -> Any:
        reads.append(len(wanted))
        return rows_of(database, wanted, now)

    monkeypatch.setattr(sessions, "rows_of", counted)
    shown = answered(instance, asked)
    assert reads == [4]
    assert [body for _, body in shown[:3]] == alone
    assert [status for status, _ in shown] == [200, 200, 200, 404, 404, 401, 401, 403]


def test_a_token_that_is_revoked_meanwhile_is_refused(instance: Instance) -> None:
    asked = environ(session_of(instance, 1), instance.token(1))
    instance.app.read_ahead([asked])
    instance.services.revocations.revoke_all(1, by="cli:user:9", reason="Lost phone.")
    _, status, _ = run_wsgi_app(instance.app, asked)
    assert status.startswith("401 ")


def test_a_session_that_cannot_be_read_fails_alone(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, faulty = session_of(instance, 1), session_of(instance, 2)
    rows_of = sessions.rows_of

    def fail(database: Database, wanted: Any, now: Any) -> Any:
        if faulty in map(str, wanted):
            raise ValueError("a row that nobody can read")
        return rows_of(database, wanted, now)

    monkeypatch.setattr(sessions, "rows_of", fail)
    asked = [environ(good, instance.token(1)), environ(faulty, instance.token(2))]
    with pytest.raises(ValueError, match="nobody can read"):
        instance.app.read_ahead(asked)
    statuses = [int(run_wsgi_app(instance.app, each)[1][:3]) for each in asked]
    assert statuses == [200, 500]


def test_an_outage_is_found_once_for_all(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id, token = session_of(instance, 1), instance.token(1)
    tried = []

    def fail(*_: Any) -> Any:
        tried.append(1)
        raise DatabaseUnavailable

    monkeypatch.setattr(sessions, "rows_of", fail)
    shown = answered(instance, [environ(session_id, token) for _ in range(3)])
    assert [(status, body["error_code"]) for status, body in shown] == [(503, "UNAVAILABLE")] * 3
    assert len(tried) == 1

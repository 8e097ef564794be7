"""A small application: the real middleware and framework, with probe views of the tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.http.app import create_app
from api.http.framework.openapi import EXTENSION
from api.issued_tokens import Role, make_token
from api.local.local_settings import local_settings
from api.pages import install_pages
from api.settings import Settings
from ledger.store.database import Database
from ledger.store.positions import HorizonHolder
from ledger.store.readiness import Readiness
from ledger.store.vault import Vault
from payments.api_keys.verification import ApiKeys
from payments.exceptions.alarms import Alarm
from payments.exceptions.figures import Watched
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.request_leases import RequestLeases
from payments.users.user_ids import UserIds
from tests.api.http.probes import blueprint

SECRET = "a-secret-of-the-tests-long-enough-for-HS256"


class NothingRevoked:
    """Tokens are good until they end: most tests here need no database."""

    def is_revoked(self, *_: object) -> bool:
        return False


class NothingSwitchedOff:
    """No operator has stopped anything."""

    def off(self, *_: object) -> None:
        return None


class NothingRunsOut:
    """No password, certificate or list is watched."""

    def open(self, *_: object) -> list[Alarm]:
        return []

    def ends(self) -> dict[str, datetime]:
        return {}


class NothingVerified:
    """No verification has run."""

    def latest(self) -> tuple[None, None]:
        return None, None


class NoLog:
    """Nobody asks whose the events are."""

    macs = None


class NothingRecorded:
    """An audit log that keeps nothing."""

    def record(self, *_: object, **__: object) -> None: ...


@dataclass
class ProbeServices:
    """What the skeleton asks for; a test sets what it needs."""

    idempotency: IdempotencyStore | None = None
    switches: NothingSwitchedOff = field(default_factory=NothingSwitchedOff)
    alarms: NothingRunsOut = field(default_factory=NothingRunsOut)
    revocations: NothingRevoked = field(default_factory=NothingRevoked)
    database: Database | None = None
    request_leases: RequestLeases | None = None
    user_ids: UserIds = field(default_factory=lambda: UserIds(*2 * [None]))  # type: ignore[arg-type]  # numbers need neither
    api_keys: ApiKeys | None = None
    vault: Vault | None = None
    ledger: NoLog = field(default_factory=NoLog)
    audit_log: NothingRecorded = field(default_factory=NothingRecorded)

    @cached_property
    def watched(self) -> Watched:
        assert self.database is not None
        parts: Any = (self.alarms, self.switches, NothingVerified())
        return Watched(self.database, None, *parts)

    def check_database(self, within_seconds: float) -> HorizonHolder | None:
        assert within_seconds <= 1
        assert self.database is not None
        readiness = Readiness(self.database)
        try:
            return readiness.check(within_seconds)
        finally:
            readiness.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return local_settings(
        {
            "DAFTARI_DATA_DIR": str(tmp_path),
            "DAFTARI_JWT_SECRET": SECRET,
            "DAFTARI_RATE_PER_MINUTE": "400",
        }
    )


@pytest.fixture
def services() -> ProbeServices:
    return ProbeServices()


@pytest.fixture
def make_app(services: ProbeServices) -> Callable[[Settings], Flask]:
    def make(settings: Settings) -> Flask:
        app = create_app(settings, lambda: services, install_pages)  # type: ignore[arg-type,return-value]  # a part of them is enough here
        app.extensions[EXTENSION].register_blueprint(blueprint)
        return app

    return make


@pytest.fixture
def app(make_app: Callable[[Settings], Flask], settings: Settings) -> Flask:
    return make_app(settings)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def bearer(settings: Settings) -> Callable[..., dict[str, str]]:
    """Makes the header of a caller: `bearer(7, "analyst")`; a customer where no role is named."""

    def header(user: int = 7, *roles: str) -> dict[str, str]:
        token = make_token(settings, user, list(roles or [Role.CUSTOMER]), minutes=5)
        return {"Authorization": f"Bearer {token}"}

    return header

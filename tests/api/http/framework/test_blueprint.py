import gc
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun import freeze_time
from marshmallow import Schema, fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import LazyServices, current_services, install_services
from api.settings import Settings
from ledger.errors import Unavailable
from ledger.store.database import Database
from payments.request_leases import RequestLeases
from tests.api.http.conftest import ProbeServices

Bearer = Callable[..., dict[str, str]]


@freeze_time("2024-01-15T10:30:00Z")
def test_changes_beyond_the_rate_are_429_and_reading_is_free(
    client: FlaskClient, bearer: Bearer, services: ProbeServices, database: Database
) -> None:
    services.request_leases = RequestLeases(database)
    for _ in range(400):
        assert client.post("/api/probes/refusals/rejected/", headers=bearer()).status_code == 400
    refused = client.post("/api/probes/refusals/rejected/", headers=bearer())
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json is not None
    assert refused.json["error_code"] == "RATE_LIMITED"
    assert client.get("/api/probes/who/", headers=bearer()).status_code == 200


def test_one_callers_rate_is_not_anothers(
    client: FlaskClient, bearer: Bearer, services: ProbeServices, database: Database
) -> None:
    services.request_leases = RequestLeases(database)
    for _ in range(401):
        client.post("/api/probes/refusals/rejected/", headers=bearer(7))
    assert client.post("/api/probes/refusals/rejected/", headers=bearer(8)).status_code == 400


def test_callbacks_have_no_rate(client: FlaskClient) -> None:
    statuses = {client.post("/api/probes/callback/", json={}).status_code for _ in range(25)}
    assert statuses == {200}


def test_answers_carry_security_headers_and_no_leave_for_other_origins(
    client: FlaskClient, bearer: Bearer
) -> None:
    headers = client.get("/api/probes/who/", headers=bearer() | {"Origin": "https://other.example"}).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert not [name for name, _ in headers if name.startswith("Access-Control")]


def test_pages_load_nothing_from_elsewhere(client: FlaskClient) -> None:
    policy = client.get("/docs/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy


def test_refusals_carry_the_headers_too(client: FlaskClient) -> None:
    headers = client.get("/api/probes/who/").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-ID"]


def test_services_are_built_once_and_only_when_a_request_needs_them(app: Flask, settings: Settings) -> None:
    built: list[str] = []

    def build() -> Any:
        built.append("built")
        return ProbeServices()

    install_services(app, settings, build)
    app.test_client().get("/healthz")
    assert built == []
    with app.app_context():
        assert current_services() is current_services()
    assert built == ["built"]


def test_services_that_cannot_be_built_yet_are_tried_again() -> None:
    answers = iter([Unavailable(), ProbeServices()])

    def build() -> Any:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    lazy = LazyServices(build)
    with pytest.raises(Unavailable):
        lazy.get()
    assert isinstance(lazy.get(), ProbeServices)


def test_views_share_one_instance_of_a_schema_of_which_their_documentation_keeps_no_copies() -> None:
    class Named(Schema):
        name = fields.String()

    blueprint = ApiBlueprint("named", __name__, description="Names")

    def view(*names: Any) -> Any:
        return names

    views = [
        blueprint.arguments(Named)(
            blueprint.response(200, Named)(blueprint.alt_response(202, schema=Named)(view))
        )
        for _ in range(3)
    ]
    gc.collect()
    assert len(views) == 3
    assert len([each for each in gc.get_objects() if type(each) is Named]) == 1

"""Development is for one machine and the simulator: whoever forgets DAFTARI_MODE never opens a demo to others."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.http.app import create_app
from api.local.local_settings import local_settings
from api.local.preflight import Level, run_preflight_checks
from api.pages import install_pages
from api.pages.console.staff import COOKIE
from api.setting_rules import ConfigurationError
from api.wiring import build_services
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore
from shop.demo import demo_data
from tests.api.cli.support import daftari
from tests.api.pages.test_work import proof_in
from tests.security.test_database_roles import PRODUCTION
from tests.support.instance import SIMULATED

SAFARICOM = {
    "MPESA_CONSUMER_KEY": "of-the-portal",
    "MPESA_CONSUMER_SECRET": "of-the-portal",
    "MPESA_BUSINESS_SHORTCODE": "600123",
    "MPESA_PASSKEY": "of-the-portal",
}
DANGERS = [
    ({"DAFTARI_HOST": "0.0.0.0"}, "DAFTARI_HOST"),
    ({"DAFTARI_HOST": "::"}, "DAFTARI_HOST"),
    ({"DAFTARI_HOST": "192.0.2.7"}, "DAFTARI_HOST"),
    ({"DAFTARI_HOST": "pay.example.co.ke"}, "DAFTARI_HOST"),
    ({"DAFTARI_PUBLIC_URL": "https://pay.example.co.ke"}, "DAFTARI_PUBLIC_URL"),
    ({"MPESA_ENVIRONMENT": "production"}, "MPESA_ENVIRONMENT"),
    (SAFARICOM, "MPESA_BASE_URL"),
    ({**SAFARICOM, "MPESA_BASE_URL": "https://sandbox.safaricom.co.ke"}, "MPESA_BASE_URL"),
    ({**SAFARICOM, "MPESA_BASE_URL": "https://mpesa.example"}, "MPESA_BASE_URL"),
]
SIMULATOR = "http://127.0.0.1:9"


@pytest.mark.parametrize(("environ", "variable"), DANGERS)
def test_development_that_others_could_reach_or_that_takes_money_does_not_start(
    tmp_path: Path, environ: dict[str, str], variable: str
) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), **environ})
    with pytest.raises(ConfigurationError) as refused:
        settings.require_safe_mode()
    (problem,) = refused.value.problems
    assert problem.startswith(variable)
    assert "DAFTARI_MODE=production" in problem
    (finding,) = run_preflight_checks({"DAFTARI_DATA_DIR": str(tmp_path), **environ})
    assert (finding.part, finding.level, finding.message) == ("settings", Level.PROBLEM, problem)


@pytest.mark.parametrize("command", ["serve", "work", "up", "check"])
def test_every_start_up_says_so(command: str, tmp_path: Path) -> None:
    answer = daftari(
        command,
        DAFTARI_DATA_DIR=str(tmp_path),
        DAFTARI_HOST="0.0.0.0",
        MPESA_ENVIRONMENT="production",
        DATABASE_URL="postgresql://127.0.0.1:1/x",
    )
    assert answer.returncode == 3
    said = answer.stdout + answer.stderr
    assert "--network host" in said
    assert "takes real money" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_a_machine_of_its_own_starts(tmp_path: Path, host: str) -> None:
    settings = local_settings(
        {"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_HOST": host, "MPESA_BASE_URL": SIMULATOR, **SIMULATED}
    )
    settings.require_safe_mode()
    assert settings.has_demo


def test_the_simulator_that_is_started_alongside_makes_given_credentials_harmless(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), **SAFARICOM})
    settings.require_safe_mode(simulates=True)


def test_production_has_no_demo_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="DAFTARI_DEMO_OPERATOR would make anyone an operator"):
        local_settings(
            {
                "DAFTARI_DATA_DIR": str(tmp_path),
                "DAFTARI_MODE": "production",
                "DAFTARI_DEMO_OPERATOR": "on",
                "DAFTARI_JWT_SECRET": "7ae1f0c93b52d4886ac01f9e35b7d264",
                "DAFTARI_MASTER_KEY": "A" * 43 + "=",
                "DAFTARI_PUBLIC_URL": "https://pay.example.co.ke",
                "MPESA_CALLBACK_URL": "https://pay.example.co.ke/api/payments/callbacks/",
            }
        )


def test_stored_credentials_of_safaricom_start_nothing_in_development(
    database_url: str, tmp_path: Path
) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DATABASE_URL": database_url})
    with closing(Database(database_url, role="")) as database:
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        CredentialStore(database, vault).write(SAFARICOM)
    with pytest.raises(ConfigurationError, match="MPESA_BASE_URL"):
        build_services(settings)
    findings = list(run_preflight_checks({"DAFTARI_DATA_DIR": str(tmp_path), "DATABASE_URL": database_url}))
    assert ("stored credentials", Level.PROBLEM) in {(each.part, each.level) for each in findings}


def test_check_warns_of_webhooks_to_private_addresses_in_production(tmp_path: Path) -> None:
    environ = {**PRODUCTION, "DATABASE_URL": "postgresql://127.0.0.1:1/x", "DAFTARI_DATA_DIR": str(tmp_path)}
    allowed = run_preflight_checks({**environ, "DAFTARI_WEBHOOK_ALLOW_PRIVATE": "1"})
    found = [next(allowed), next(allowed)]
    assert [(each.part, each.level) for each in found] == [
        ("settings", Level.OK),
        ("webhooks", Level.WARNING),
    ]
    safe = run_preflight_checks(environ)
    assert [next(safe).part, next(safe).part] == ["settings", "database"]


@pytest.fixture
def client(database_url: str, tmp_path: Path) -> Iterator[FlaskClient]:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(tmp_path),
        "MPESA_BASE_URL": SIMULATOR,
        **SIMULATED,
    }
    settings = local_settings(environ)
    services = build_services(settings)
    demo_data(services.database, users=1)
    yield create_app(settings, lambda: services, install_pages).test_client()
    services.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "pay.example.co.ke"},
        {"Host": "192.0.2.7:8000"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Host": "localhost.example"},
        {"Host": "localhost", "X-Forwarded-For": "203.0.113.9"},
        {"Host": "localhost", "Forwarded": "for=203.0.113.9"},
        {"Host": "localhost", "Via": "1.1 proxy"},
    ],
)
def test_the_shop_page_is_not_there_for_whoever_comes_through_a_proxy_or_by_another_name(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    for path in ("/", "/shop/", "/shop/cart/", "/shop/sessions/", "/orders/1"):
        assert client.get(path, headers=headers).status_code == 404
    assert client.get("/shop/sessions/", headers={"Host": "127.0.0.1:8000"}).status_code == 200


def test_nobody_becomes_an_operator_by_one_post(client: FlaskClient) -> None:
    assert "demo operator" not in client.get("/console/").text
    answer = client.post(
        "/console/sign-in/", data={"demo": "1", "proof": proof_in(client.get("/console/").text)}
    )
    assert answer.status_code == 403
    assert COOKIE not in answer.headers.get("Set-Cookie", "")


def test_a_demo_operator_that_was_asked_for_is_for_this_machine_alone(client: FlaskClient) -> None:
    app = client.application
    app.extensions["daftari_settings"] = replace(
        app.extensions["daftari_settings"], daftari_demo_operator="on"
    )
    assert "demo operator" in client.get("/console/").text
    assert "demo operator" not in client.get("/console/", headers={"Host": "pay.example.co.ke"}).text
    form = {"demo": "1", "proof": proof_in(client.get("/console/").text)}
    refused = client.post("/console/sign-in/", data=form, headers={"X-Forwarded-For": "203.0.113.9"})
    assert refused.status_code == 403
    assert client.post("/console/sign-in/", data=form).status_code == 303

import json
import os
import socket
import stat
from pathlib import Path

import click
import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api.cli import MODULES, main
from api.cli.failures import FailureGroup
from api.local.databases import stored_credentials
from api.local.local_settings import local_settings
from tests.api.cli.support import daftari
from tests.api.http.middleware.key_set import KeySet
from tests.api.local.test_postgres import pretend_programs


def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run a command in this process, which is faster; return its exit code, output and errors."""
    result = CliRunner().invoke(main, arguments, env=dict(environ))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_every_command_and_the_exit_codes() -> None:
    answer = daftari("--help")
    assert answer.returncode == 0
    for name in MODULES:
        assert name in answer.stdout
    assert "3    configuration error" in answer.stdout


@pytest.mark.parametrize("name", MODULES)
def test_every_command_explains_itself(name: str) -> None:
    code, said, _ = run(name, "--help")
    assert code == 0
    assert len(said.splitlines()) > 5


def test_an_interrupted_command_has_its_own_exit_code() -> None:
    @click.command()
    def stopped() -> None:
        raise KeyboardInterrupt

    group = FailureGroup("group", {"stopped": stopped})
    result = CliRunner().invoke(group, ["stopped"])
    assert (result.exit_code, result.output) == (130, "")


def test_a_token_is_printed_and_nothing_else(tmp_path: Path) -> None:
    answer = daftari("token", "--user", "7", "--role", "customer", DAFTARI_DATA_DIR=str(tmp_path))
    assert answer.returncode == 0
    assert answer.stderr == ""
    secret = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)}).daftari_jwt_secret
    claims = jwt.decode(answer.stdout.strip(), secret, algorithms=["HS256"], audience="daftari")
    assert claims["sub"] == "7"
    assert claims["roles"] == ["customer"]


def test_a_token_can_have_several_roles_and_a_lifetime(tmp_path: Path) -> None:
    _, said, _ = run(
        "token",
        "--user",
        "1",
        "--role",
        "auditor",
        "--role",
        "analyst",
        "--minutes",
        "5",
        DAFTARI_DATA_DIR=str(tmp_path),
    )
    claims = jwt.decode(said.strip(), options={"verify_signature": False})
    assert claims["roles"] == ["auditor", "analyst"]
    assert 299 < claims["exp"] - claims["iat"] <= 300


def test_no_token_is_made_if_an_identity_provider_issues_them(tmp_path: Path) -> None:
    code, said, error = run(
        "token",
        "--user",
        "7",
        DAFTARI_DATA_DIR=str(tmp_path),
        DAFTARI_JWT_JWKS_URL="https://issuer.example/keys",
    )
    assert (code, said) == (3, "")
    assert "unset DAFTARI_JWT" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ("token",),
        ("token", "--user", "0"),
        ("token", "--user", "1", "--role", "king"),
        ("replay", os.fsdecode(b"\xff")),
        ("evidence", os.fsdecode(b"\xff"), "--by", "41"),
    ],
)
def test_a_usage_error_exits_with_2(arguments: tuple[str, ...]) -> None:
    code, _, error = run(*arguments)
    assert code == 2
    assert "Usage:" in error


def test_all_wrong_settings_are_reported_without_a_traceback() -> None:
    answer = daftari("token", "--user", "7", DAFTARI_PORT="x", DAFTARI_MODE="y")
    assert answer.returncode == 3
    assert answer.stderr.splitlines() == [
        "Error: DAFTARI_PORT must be a whole number from 1 to 65535, without separators.",
        "Error: DAFTARI_MODE must be one of: development, production.",
    ]


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_busy_port_is_reported_with_what_to_type(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        answer = daftari(
            command,
            DAFTARI_DATA_DIR=str(tmp_path),
            DAFTARI_PORT=str(port),
            DATABASE_URL="postgresql://127.0.0.1:1/x",
        )
    assert answer.returncode == 4
    assert f"Port {port} of 127.0.0.1 is in use" in answer.stderr
    assert f"DAFTARI_PORT={port + 10 if port < 60_000 else port - 10} daftari {command}" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", ["serve", "work", "migrate", "demo-data"])
def test_a_command_without_a_database_says_how_to_get_one(command: str, tmp_path: Path) -> None:
    code, _, error = run(command, DAFTARI_DATA_DIR=str(tmp_path))
    assert code == 4
    assert "type `daftari up`" in error


def test_a_database_that_does_not_answer_is_reported_without_its_password(
    tmp_path: Path, free_port: int
) -> None:
    url = f"postgresql://shop:hush@127.0.0.1:{free_port}/daftari"
    code, _, error = run("migrate", DAFTARI_DATA_DIR=str(tmp_path), DATABASE_URL=url)
    assert code == 4
    assert "PostgreSQL does not answer" in error
    assert "hush" not in error


def test_up_reports_a_postgresql_that_is_too_old(data_folder: Path, free_port: int) -> None:
    answer = daftari(
        "up",
        DAFTARI_DATA_DIR=str(data_folder / "data"),
        DAFTARI_POSTGRES_BIN=str(pretend_programs(data_folder, "14.9")),
        DAFTARI_PORT=str(free_port),
        MPESA_BASE_URL="http://127.0.0.1:9",
    )
    assert answer.returncode == 4
    assert "needs PostgreSQL 15 or newer, and there is only PostgreSQL 14" in answer.stderr


def test_migrate_says_what_it_applied_and_does_it_once(empty_database_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": empty_database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    _, first, _ = run("migrate", "--json", **environ)
    _, second, _ = run("migrate", "--json", **environ)
    assert any(name.startswith("shop/0001") for name in json.loads(first))
    assert json.loads(second) == []


def test_demo_data_writes_a_usable_token_for_each_buyer_into_a_private_file(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "buyers.jsonl"
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    code, _, _ = run("demo-data", "--users", "3", "--tokens-file", str(file), **environ)
    buyers = [json.loads(line) for line in file.read_text().splitlines()]
    assert code == 0
    assert [buyer["user"] for buyer in buyers] == [1, 2, 3]
    assert all(set(buyer) == {"auth", "user", "county_id", "subcounty_id"} for buyer in buyers)
    assert buyers[0]["auth"].startswith("Bearer ey")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", [["demo-data"], ["generate", "--sessions", "10"]])
def test_demo_and_sample_data_are_refused_in_production(
    database_url: str, tmp_path: Path, command: list[str]
) -> None:
    code, _, error = run(
        *command,
        DATABASE_URL=database_url,
        DAFTARI_DATA_DIR=str(tmp_path),
        DAFTARI_MODE="production",
        DAFTARI_JWT_SECRET="7ae1f0c93b52d4886ac01f9e35b7d264",
        DAFTARI_MASTER_KEY="A" * 43 + "=",
        MPESA_CALLBACK_URL="https://shop.example/api/payments/callbacks/",
        DAFTARI_PUBLIC_URL="https://shop.example",
    )
    assert code == 1
    assert "not for production" in error


def test_credentials_run_bare_change_nothing(database_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    run("set-mpesa-credentials", "--passkey", "kept", **environ)
    answer = daftari("set-mpesa-credentials", **environ)
    assert answer.returncode == 0
    assert "nothing has changed" in answer.stdout
    assert stored_credentials(local_settings(environ)) == {"MPESA_PASSKEY": "kept"}


def test_a_partial_update_keeps_the_rest_and_echoes_no_secret(database_url: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    run("set-mpesa-credentials", "--passkey", "hush-passkey", "--business-shortcode", "174379", **environ)
    code, said, error = run("set-mpesa-credentials", MPESA_CONSUMER_KEY="hush-key", **environ)
    assert code == 0
    assert "MPESA_CONSUMER_KEY" in said
    assert "hush" not in said + error
    assert stored_credentials(local_settings(environ)) == {
        "MPESA_BUSINESS_SHORTCODE": "174379",
        "MPESA_CONSUMER_KEY": "hush-key",
        "MPESA_PASSKEY": "hush-passkey",
    }


def test_a_database_of_another_master_key_is_left_alone(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    ours = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path / "ours")}
    run("set-mpesa-credentials", "--passkey", "ours", **ours)
    theirs = ours | {"DAFTARI_DATA_DIR": str(tmp_path / "theirs"), "DAFTARI_PORT": str(free_port)}
    for command in (["set-mpesa-credentials", "--passkey", "theirs"], ["work"], ["serve"]):
        answer = daftari(*command, **theirs)
        assert (answer.returncode, answer.stderr.count("DAFTARI_MASTER_KEY")) == (3, 1)
    code, said, _ = run("check", **theirs)
    assert code == 1
    assert "DAFTARI_MASTER_KEY" in said
    assert stored_credentials(local_settings(ours)) == {"MPESA_PASSKEY": "ours"}


@pytest.mark.parametrize(
    "command",
    [
        ["demo-data"],
        ["verify"],
        ["set-mpesa-credentials", "--passkey", "kept"],
        ["replay", "550e8400-e29b-41d4-a716-446655440000"],
    ],
)
def test_a_database_without_tables_is_named_with_what_to_type(
    empty_database_url: str, tmp_path: Path, command: list[str]
) -> None:
    answer = daftari(*command, DATABASE_URL=empty_database_url, DAFTARI_DATA_DIR=str(tmp_path))
    assert (answer.returncode, answer.stderr) == (
        4,
        "Error: The database has not got its tables yet, or not those of this release: type `daftari migrate`.\n",
    )


def test_a_credential_that_cannot_work_is_refused_and_nothing_is_stored(
    database_url: str, tmp_path: Path
) -> None:
    environ = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(tmp_path)}
    code, _, error = run(
        "set-mpesa-credentials", "--passkey", "two words", "--environment", "sandbox", **environ
    )
    assert code == 3
    assert "MPESA_PASSKEY has a blank" in error
    assert stored_credentials(local_settings(environ)) == {}


def findings_of(**environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    code, said, _ = run("check", "--json", **environ)
    return code, {finding["part"]: finding for finding in json.loads(said)}


def test_check_accepts_a_migrated_database(database_url: str, tmp_path: Path, free_port: int) -> None:
    code, found = findings_of(
        DATABASE_URL=database_url,
        DAFTARI_DATA_DIR=str(tmp_path),
        DAFTARI_PORT=str(free_port),
        MPESA_BASE_URL=f"http://127.0.0.1:{free_port}",
    )
    assert code == 0
    assert found["database"]["verdict"] == "ok"
    assert found["credentials"]["verdict"] == "warning"
    assert found["Daraja"]["verdict"] == "warning"


def test_check_finds_missing_migrations(empty_database_url: str, tmp_path: Path, free_port: int) -> None:
    code, found = findings_of(
        DATABASE_URL=empty_database_url,
        DAFTARI_DATA_DIR=str(tmp_path),
        MPESA_BASE_URL=f"http://127.0.0.1:{free_port}",
    )
    assert code == 1
    assert "daftari migrate" in found["database"]["sentence"]


def test_check_reads_the_key_that_verifies_tokens(tmp_path: Path, free_port: int) -> None:
    key = tmp_path / "key.pem"
    environ = {"DAFTARI_DATA_DIR": str(tmp_path), "MPESA_BASE_URL": f"http://127.0.0.1:{free_port}"}
    assert findings_of(**environ)[1]["tokens"]["verdict"] == "ok"
    key.write_text("hush")
    code, found = findings_of(**environ, DAFTARI_JWT_PUBLIC_KEY_FILE=str(key))
    assert (code, found["tokens"]["verdict"]) == (1, "problem")
    assert "DAFTARI_JWT_PUBLIC_KEY_FILE" in found["tokens"]["sentence"]
    issuer = KeySet(first=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    try:
        _, found = findings_of(**environ, DAFTARI_JWT_JWKS_URL=issuer.url)
        assert found["tokens"]["sentence"].endswith("with 1 published key.")
        issuer.publish()
        assert findings_of(**environ, DAFTARI_JWT_JWKS_URL=issuer.url)[1]["tokens"]["verdict"] == "problem"
    finally:
        issuer.close()
    assert findings_of(**environ, DAFTARI_JWT_JWKS_URL=issuer.url)[1]["tokens"]["verdict"] == "problem"


def test_check_warns_of_words_that_safaricom_forbids(tmp_path: Path, free_port: int) -> None:
    _, found = findings_of(
        DAFTARI_DATA_DIR=str(tmp_path),
        MPESA_BASE_URL=f"http://127.0.0.1:{free_port}",
        MPESA_CALLBACK_URL="https://shop.example/api/payments/transactions/mpesa_callback/",
    )
    assert found["callback URL"]["verdict"] == "warning"
    assert "mpesa" in found["callback URL"]["sentence"]


@pytest.mark.parametrize(
    ("given", "verdict", "says"),
    [
        ({}, "warning", "MPESA_INITIATOR_NAME"),
        ({"MPESA_INITIATOR_PASSWORD": "Safe#Word"}, "warning", "MPESA_INITIATOR_NAME"),
        (
            {"MPESA_INITIATOR_NAME": "testapi", "MPESA_INITIATOR_PASSWORD": "Safe#Word"},
            "problem",
            "MPESA_CERTIFICATE_FILE",
        ),
        (
            {"MPESA_INITIATOR_NAME": "testapi", "MPESA_SECURITY_CREDENTIAL": "A" * 344},
            "ok",
            "testapi is set",
        ),
    ],
)
def test_check_says_whether_refunds_can_be_sent(
    tmp_path: Path, free_port: int, given: dict[str, str], verdict: str, says: str
) -> None:
    _, found = findings_of(
        DAFTARI_DATA_DIR=str(tmp_path), MPESA_BASE_URL=f"http://127.0.0.1:{free_port}", **given
    )
    assert found["operator"]["verdict"] == verdict
    assert says in found["operator"]["sentence"]


def test_check_reads_the_certificate(tmp_path: Path, free_port: int) -> None:
    certificate = tmp_path / "certificate.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    environ = {
        "DAFTARI_DATA_DIR": str(tmp_path),
        "MPESA_BASE_URL": f"http://127.0.0.1:{free_port}",
        "MPESA_INITIATOR_NAME": "testapi",
        "MPESA_INITIATOR_PASSWORD": "Safe#Word",
        "MPESA_CERTIFICATE_FILE": str(certificate),
    }
    certificate.write_text("hush")
    _, found = findings_of(**environ)
    assert found["operator"]["verdict"] == "problem"
    assert "Daraja portal" in found["operator"]["sentence"]
    assert "hush" not in found["operator"]["sentence"]
    certificate.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _, found = findings_of(**environ)
    assert found["operator"]["verdict"] == "ok"


def test_check_has_an_exit_code_for_wrong_settings(tmp_path: Path) -> None:
    code, found = findings_of(DAFTARI_DATA_DIR=str(tmp_path), DAFTARI_PORT="x")
    assert code == 3
    assert "DAFTARI_PORT" in found["settings"]["sentence"]


def test_check_finds_a_database_whose_master_key_is_lost(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    environ = {
        "DATABASE_URL": database_url,
        "DAFTARI_DATA_DIR": str(tmp_path),
        "MPESA_BASE_URL": f"http://127.0.0.1:{free_port}",
    }
    run("set-mpesa-credentials", "--passkey", "sealed", **environ)
    (tmp_path / "master-key").unlink()
    code, found = findings_of(**environ)
    assert code == 1
    assert "DAFTARI_MASTER_KEY" in found["stored credentials"]["sentence"]

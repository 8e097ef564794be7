import base64
import random
import stat
from pathlib import Path

import pytest

from api import setting_values
from api.local.instances import hold_instance, publish_instance
from api.local.local_settings import local_settings
from api.local.local_simulator import SimulatorOptions
from api.local.local_stack import LocalStack
from api.setting_rules import STORED_NAMES, ConfigurationError
from api.setting_values import weakness_of
from api.settings import described_settings, load_settings
from ledger.money import Money

SECRET = "7ae1f0c93b52d4886ac01f9e35b7d264"
KEY = base64.b64encode(bytes(32)).decode()


def problems_of(**environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(environ, {"DAFTARI_DATA_DIR": "/nowhere"})
    return refused.value.problems


def test_a_machine_in_development_needs_no_setting_at_all(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    assert settings.daftari_port == 8000
    assert settings.daftari_delivery_fee == Money(50_00)
    assert settings.database_url == ""
    assert settings.mpesa_base_url == "https://sandbox.safaricom.co.ke"
    assert settings.mpesa_callback_url == "http://127.0.0.1:8000/api/payments/callbacks/"
    assert not settings.is_production


def test_secrets_that_were_made_are_kept_and_are_for_the_owner_alone(tmp_path: Path) -> None:
    first = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    second = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    assert first.daftari_jwt_secret == second.daftari_jwt_secret
    assert first.daftari_master_key == second.daftari_master_key
    assert len(first.daftari_master_key) == 32
    for name in ("jwt-secret", "master-key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9000",
        "http://127.0.0.2/daraja/",
        "http://[::1]:9000/",
        "http://LOCALHOST:9000",
        "https://a.example:8443/x/",
    ],
)
def test_usable_addresses_are_accepted(tmp_path: Path, address: str) -> None:
    environ = {"DAFTARI_DATA_DIR": str(tmp_path), "MPESA_BASE_URL": address, "MPESA_CALLBACK_URL": address}
    assert local_settings(environ).mpesa_callback_url == address


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://mpesa.example/", "https"),
        ("http://0.0.0.0:9000/", "https"),
        ("127.0.0.1:9000", "https"),
        ("https://", "https"),
        ("http://127.0.0.1:99999/", "https"),
        ("http://127.0.0.1:0/", "https"),
        ("http://127.0.0.1:port/", "https"),
        ("https://a.example:hush/", "https"),
        ("https://[a.example/", "https"),
        ("https://shop:hush@a.example/", "password"),
        ("https://a.example/#part", "#fragment"),
        ("https://a.example/callback?token=hush", "without ?"),
    ],
)
def test_unusable_addresses_are_refused_and_not_repeated(address: str, says: str) -> None:
    problems = problems_of(MPESA_BASE_URL=address, MPESA_CALLBACK_URL=address)
    assert [problem.split()[0] for problem in problems] == ["MPESA_CALLBACK_URL", "MPESA_BASE_URL"]
    assert all(says in problem and "hush" not in problem for problem in problems)


def test_the_stack_knows_a_simulator_whose_callbacks_go_elsewhere(tmp_path: Path) -> None:
    def goes_elsewhere(**environ: str) -> bool:
        settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), **environ})
        return LocalStack(settings, SimulatorOptions(), report=print, welcome=print).reports_elsewhere

    theirs = "https://shop.example/api/payments/callbacks/"
    assert not goes_elsewhere()
    assert goes_elsewhere(MPESA_CALLBACK_URL=theirs)
    assert not goes_elsewhere(MPESA_CALLBACK_URL=theirs, MPESA_BASE_URL="https://daraja.example")


def test_two_machines_do_not_make_the_same_secrets(tmp_path: Path) -> None:
    one = local_settings({"DAFTARI_DATA_DIR": str(tmp_path / "one")})
    other = local_settings({"DAFTARI_DATA_DIR": str(tmp_path / "other")})
    assert one.daftari_jwt_secret != other.daftari_jwt_secret
    assert one.daftari_master_key != other.daftari_master_key


def test_all_problems_are_reported_at_once_and_each_names_its_variable() -> None:
    problems = problems_of(
        DAFTARI_PORT="eighty",
        DAFTARI_MODE="test",
        DAFTARI_DELIVERY_FEE="-1",
        DATABASE_URL="mysql://root@localhost/shop",
        MPESA_BUSINESS_SHORTCODE="17 43 79",
    )
    assert problems == [
        "DAFTARI_DELIVERY_FEE must be zero or more, such as 50.00.",
        "DATABASE_URL must be an address of PostgreSQL, such as postgresql://user:password@host:5432/daftari.",
        "DAFTARI_PORT must be a whole number from 1 to 65535, without separators.",
        "DAFTARI_MODE must be one of: development, production.",
        "MPESA_BUSINESS_SHORTCODE must be 5 to 7 digits, such as 174379.",
    ]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DAFTARI_PORT", "0", "from 1 to 65535"),
        ("DAFTARI_PORT", "65536", "from 1 to 65535"),
        ("DAFTARI_NOTIFY", "http://hooks.example/", "https"),
        ("DAFTARI_NOTIFY", "smtp://mail.example/?from=a@b.example", "who gets the mail"),
        ("DAFTARI_NOTIFY", "smtp:///?from=a@b.example&to=c@d.example", "who gets the mail"),
        ("DAFTARI_NOTIFY", "smtp://mail.example/?from=shop&to=c@d.example", "email addresses"),
        ("DAFTARI_NOTIFY", "smtp://mail.example:0/?from=a@b.example&to=c@d.example", "who gets the mail"),
        ("DAFTARI_PORT", "8_000", "without separators"),
        ("DAFTARI_WEB_WORKERS", "0", "from 1 to 64"),
        ("DAFTARI_HOST", "http://0.0.0.0", "an address such as"),
        ("DAFTARI_JWT_SECRET", "short", "secrets.token_hex"),
        ("DAFTARI_MASTER_KEY", "c2hvcnQ=", "must be base64 of 32 bytes"),
        ("DAFTARI_MASTER_KEY", "not base64!", "must be base64 of 32 bytes"),
        ("DAFTARI_DELIVERY_FEE", "fifty", "an amount in shillings"),
        ("DAFTARI_DELIVERY_FEE", "0.001", "an amount in shillings"),
        ("DAFTARI_JWT_PUBLIC_KEY_FILE", "/nowhere/key.pem", "cannot be read"),
        ("DAFTARI_JWT_ISSUER", "two\nlines", "line break"),
        ("MPESA_CONSUMER_KEY", "abc def", "in one piece"),
        ("MPESA_CONSUMER_SECRET", "abc\ndef", "in one piece"),
        ("MPESA_CALLBACK_URL", "http://shop.example/x/", "must be an https address"),
        ("MPESA_BASE_URL", "api.safaricom.co.ke", "must be an https address"),
        ("MPESA_ENVIRONMENT", "live", "sandbox, production"),
        ("MPESA_CERTIFICATE_FILE", "/nowhere/cert.pem", "cannot be read"),
        ("DAFTARI_LOG_FORMAT", "xml", "json, console"),
        ("DAFTARI_SHOP", "own", "builtin, http, none"),
        ("DAFTARI_SHOP_URL", "http://shop.example/daftari", "must be an https address"),
        ("DAFTARI_SHOP_SECRET", "whsec_c2hvcnQ=", "the base64 of 32 bytes"),
        ("DAFTARI_SHOP_SECRET", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "must be whsec_"),
    ],
)
def test_an_unusable_value_is_refused_with_what_to_type(name: str, value: str, says: str) -> None:
    (problem,) = problems_of(**{name: value})
    assert problem.startswith(f"{name} ")
    assert says in problem


@pytest.mark.parametrize(
    "name",
    [
        "DAFTARI_NOTIFY",
        "DAFTARI_JWT_SECRET",
        "DAFTARI_MASTER_KEY",
        "MPESA_CONSUMER_KEY",
        "MPESA_PASSKEY",
        "DATABASE_URL",
    ],
)
def test_a_problem_never_repeats_the_value(name: str) -> None:
    assert "hush hush" not in problems_of(**{name: "hush hush"})[0]


def test_who_is_notified_is_a_list(tmp_path: Path) -> None:
    mail, hook = (
        "smtps://u:p%40s@mail.example/?from=a@b.example&to=c@d.example&to=e@f.example",
        "https://h.example/x?y=z",
    )
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_NOTIFY": f"{mail} ; {hook};"})
    assert settings.daftari_notify == (mail, hook)
    assert "p%40s" not in repr(settings)


def test_blanks_around_a_value_are_not_part_of_it(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "MPESA_CONSUMER_KEY": "  key \n"})
    assert settings.mpesa_consumer_key == "key"


def test_a_blank_value_is_no_value(tmp_path: Path) -> None:
    assert local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_PORT": " "}).daftari_port == 8000


def test_production_reports_everything_that_must_be_given() -> None:
    names = [problem.split()[0] for problem in problems_of(DAFTARI_MODE="production")]
    assert names == ["DAFTARI_JWT_SECRET", "DAFTARI_MASTER_KEY", "MPESA_CALLBACK_URL", "DAFTARI_PUBLIC_URL"]


def test_production_generates_nothing_in_the_data_folder(tmp_path: Path) -> None:
    settings = local_settings(
        {
            "DAFTARI_DATA_DIR": str(tmp_path),
            "DAFTARI_MODE": "production",
            "DAFTARI_JWT_SECRET": SECRET,
            "DAFTARI_MASTER_KEY": KEY,
            "DAFTARI_PUBLIC_URL": "https://shop.example",
            "MPESA_CALLBACK_URL": "https://shop.example/api/payments/callbacks/",
            "MPESA_ENVIRONMENT": "production",
        }
    )
    assert settings.is_production
    assert settings.daftari_log_format == "json"
    assert settings.mpesa_base_url == "https://api.safaricom.co.ke"
    assert list(tmp_path.iterdir()) == []


def test_two_ways_to_verify_tokens_exclude_each_other() -> None:
    (problem,) = problems_of(
        DAFTARI_JWT_SECRET=SECRET,
        DAFTARI_MASTER_KEY=KEY,
        DAFTARI_JWT_JWKS_URL="https://issuer.example/keys",
    )
    assert problem == "DAFTARI_JWT_SECRET and DAFTARI_JWT_JWKS_URL exclude each other: unset all but one."


def test_no_secret_is_generated_if_a_public_key_verifies_tokens(tmp_path: Path) -> None:
    settings = local_settings(
        {"DAFTARI_DATA_DIR": str(tmp_path), "DAFTARI_JWT_JWKS_URL": "https://issuer.example/keys"}
    )
    assert settings.daftari_jwt_secret == ""
    assert not (tmp_path / "jwt-secret").exists()


def test_secrets_are_not_in_the_repr(tmp_path: Path) -> None:
    settings = local_settings(
        {
            "DAFTARI_DATA_DIR": str(tmp_path),
            "DATABASE_URL": "postgresql://shop:hush-url@db/daftari",
            "DAFTARI_JWT_SECRET": "hush-jwt" * 4,
            "MPESA_CONSUMER_KEY": "hush-key",
            "MPESA_CONSUMER_SECRET": "hush-secret",
            "MPESA_PASSKEY": "hush-passkey",
            "MPESA_INITIATOR_PASSWORD": "hush-operator",
            "MPESA_SECURITY_CREDENTIAL": "hush-credential",
        }
    )
    assert "hush" not in repr(settings)
    assert repr(settings.daftari_master_key) not in repr(settings)


def test_variables_win_over_stored_credentials(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path), "MPESA_CONSUMER_KEY": "from-variable"})
    merged = settings.with_stored_credentials(
        {"MPESA_CONSUMER_KEY": "stored", "MPESA_PASSKEY": "stored", "DAFTARI_PORT": "1"}
    )
    assert merged.mpesa_consumer_key == "from-variable"
    assert merged.mpesa_passkey == "stored"
    assert merged.daftari_port == 8000


def test_a_running_instance_provides_variables_until_it_ends(tmp_path: Path) -> None:
    environ = {"DAFTARI_DATA_DIR": str(tmp_path)}
    with hold_instance(tmp_path):
        publish_instance(tmp_path, {"DATABASE_URL": "postgresql://running/daftari"})
        assert local_settings(environ).database_url == "postgresql://running/daftari"
        named = local_settings(environ | {"DATABASE_URL": "postgresql://named/other"})
        assert named.database_url == "postgresql://named/other"
    assert local_settings(environ).database_url == ""


def test_variables_of_a_killed_instance_are_ignored(tmp_path: Path) -> None:
    publish_instance(tmp_path, {"DATABASE_URL": "postgresql://gone/daftari"})
    (tmp_path / "instance.lock").touch()
    assert local_settings({"DAFTARI_DATA_DIR": str(tmp_path)}).database_url == ""


def test_a_stored_address_does_not_count(tmp_path: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(tmp_path)})
    merged = settings.with_stored_credentials(
        {"MPESA_BASE_URL": "https://attacker.example", "MPESA_CALLBACK_URL": "https://attacker.example"}
    )
    assert (merged.mpesa_base_url, merged.mpesa_callback_url) == (
        settings.mpesa_base_url,
        settings.mpesa_callback_url,
    )


@pytest.mark.parametrize(
    ("base_url", "own_host", "is_refused"),
    [
        ("https://api.safaricom.co.ke", "", False),
        ("http://api.safaricom.co.ke", "", True),
        ("https://safaricom.co.ke.attacker.example", "", True),
        ("https://notsafaricom.co.ke", "", True),
        ("http://127.0.0.1:8001", "", True),
        ("http://127.0.0.1:8001", "127.0.0.1", False),
    ],
)
def test_in_production_the_credentials_go_to_safaricom_alone(
    base_url: str, own_host: str, *, is_refused: bool
) -> None:
    problems = problems_of(DAFTARI_MODE="production", MPESA_BASE_URL=base_url, DAFTARI_MPESA_HOST=own_host)
    assert is_refused == any(problem.startswith("MPESA_BASE_URL") for problem in problems)


def test_every_stored_name_is_a_setting() -> None:
    assert set(STORED_NAMES) <= {name for name, _, _ in described_settings()}


def test_settings_of_an_environment_alone_make_up_no_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({"DAFTARI_DATA_DIR": str(tmp_path)}, {})
    assert [problem.split()[0] for problem in refused.value.problems] == [
        "DAFTARI_JWT_SECRET",
        "DAFTARI_MASTER_KEY",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_data_folder_with_a_line_break_is_refused_like_any_other_setting() -> None:
    (problem,) = problems_of(DAFTARI_DATA_DIR="/one\n/two")
    assert problem.startswith("DAFTARI_DATA_DIR has a line break")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("a" * 32, "repeats itself"),
        ("aB3$" * 8, "repeats itself"),
        ("changeme-changeme-changeme-0123456", "examples use"),
        ("my-super-Secret-0f1e2d3c4b5a6978", "examples use"),
        ("abcdefghijklmnopqrstuvwxyz012345", "follows the alphabet"),
        ("qwertyuiopasdfghjklzxcvbnm123456", "the keyboard"),
        ("ab1ab2ab1ba2ab2ba1ab1bb2aa1ab2ba", "fewer than 10 different"),
        ("this-is-our-very-own-signing-key-for-tokens", "made of words"),
        ("nairobi-tomatoes-and-onions-every-day", "made of words"),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused_in_production_alone(secret: str, why: str) -> None:
    given = {
        "DAFTARI_MASTER_KEY": KEY,
        "DAFTARI_PUBLIC_URL": "https://shop.example",
        "MPESA_CALLBACK_URL": "https://shop.example/api/payments/callbacks/",
    }
    (problem,) = problems_of(DAFTARI_MODE="production", DAFTARI_JWT_SECRET=secret, **given)
    assert problem.startswith("DAFTARI_JWT_SECRET can be guessed: it ")
    assert why in problem
    assert "secrets.token_hex" in problem
    assert secret not in problem
    load_settings(
        {**given, "DAFTARI_JWT_SECRET": secret, "DAFTARI_PUBLIC_URL": ""}, {"DAFTARI_DATA_DIR": "/x"}
    )


def test_secrets_that_were_drawn_by_chance_are_taken() -> None:
    drawn = random.Random(1)
    for _ in range(500):
        raw = drawn.randbytes(32)
        assert weakness_of(raw.hex()) is None
        assert weakness_of(base64.b64encode(raw).decode()) is None


def test_destinations_of_heads_are_files_addresses_and_commands() -> None:
    given = "/mnt/heads; https://notary.example/heads; command:notarise --log 'a b'"
    assert setting_values.destinations(given) == (
        "/mnt/heads",
        "https://notary.example/heads",
        "command:notarise --log 'a b'",
    )
    wrong = {
        "heads": "paths",
        "command:": "program",
        "command:a 'b": "quotation",
        "http://a.example/": "https",
    }
    for text, said in wrong.items():
        with pytest.raises(ValueError, match=said):
            setting_values.destinations(text)


def test_a_shop_of_ones_own_needs_its_address_and_that_a_secret(tmp_path: Path) -> None:
    here = {"DAFTARI_DATA_DIR": str(tmp_path)}
    with pytest.raises(ConfigurationError, match="DAFTARI_SHOP=http needs DAFTARI_SHOP_URL"):
        local_settings(here | {"DAFTARI_SHOP": "http"})
    url = {"DAFTARI_SHOP_URL": "https://shop.example/daftari"}
    with pytest.raises(ConfigurationError, match="echo whsec_"):
        local_settings(here | url)
    secrets = [f"whsec_{base64.b64encode(bytes(number)).decode()}" for number in (24, 64)]
    settings = local_settings(here | url | {"DAFTARI_SHOP_SECRET": ", ".join(secrets)})
    assert (settings.daftari_shop, settings.daftari_shop_secret) == ("builtin", tuple(secrets))
    assert secrets[0] not in repr(settings)

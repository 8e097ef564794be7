"""Every setting, read from environment variables at one place; what is wrong with them is told all at once."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from api import setting_values as values
from api.local.folders import default_data_folder, read_or_make_private_file
from api.local.instances import running_instance
from api.local.problems import LocalRuntimeError
from ledger.money import Money

DARAJA_URLS = {
    "sandbox": "https://sandbox.safaricom.co.ke",
    "production": "https://api.safaricom.co.ke",
}
CALLBACK_PATH = "/api/payments/callbacks/"
STORED_NAMES = (
    "MPESA_CONSUMER_KEY",
    "MPESA_CONSUMER_SECRET",
    "MPESA_BUSINESS_SHORTCODE",
    "MPESA_PASSKEY",
    "MPESA_CALLBACK_URL",
    "MPESA_ENVIRONMENT",
    "MPESA_BASE_URL",
    "MPESA_TRANSACTION_TYPE",
    "MPESA_PARTY_B",
    "MPESA_INITIATOR_NAME",
    "MPESA_INITIATOR_PASSWORD",
    "MPESA_SECURITY_CREDENTIAL",
)
"""The variables that `daftari set-mpesa-credentials` may keep in the database; the environment wins over it."""

_MIN_SECRET = 32
_MASTER_KEY_BYTES = 32
_MAX_CERTIFICATE_BYTES = 64 * 1024
_MAY_BE_NONE = {
    "daftari_postgres_bin",
    "daftari_jwt_public_key_file",
    "daftari_master_key",
    "mpesa_certificate_file",
}


class ConfigurationError(LocalRuntimeError):
    """Settings cannot be used; `problems` holds one sentence for each, every one with what to type."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(parse: values.Parser, default: str, meaning: str, *, secret: bool = False) -> Any:
    """Describe a field: how its text is read, its default as text ("" for none), and what it means."""
    described = {"parse": parse, "default": default, "meaning": meaning}
    return field(metadata=described, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a process. Each field is the lower-case name of its environment variable.

    `daftari_delivery_...` are Money, `daftari_master_key` is 32 bytes, folders and files are paths. Text that was
    not given is "". `environ` is what they were read from, blanks trimmed.
    """

    database_url: str = _setting(
        values.database_url,
        "",
        "The PostgreSQL to use, as a libpq URL. Without it, the embedded one of the data folder.",
        secret=True,
    )
    daftari_data_dir: Path = _setting(
        values.folder, "", "Where this machine keeps its data. Made when missing, for its owner alone."
    )
    daftari_postgres_bin: Path | None = _setting(
        values.folder,
        "",
        "A folder with `postgres` and `initdb` of version 15 or newer, instead of the wheel's.",
    )
    daftari_host: str = _setting(values.host, "127.0.0.1", "The address that the API listens on.")
    daftari_port: int = _setting(values.port, "8000", "The port that the API listens on.")
    daftari_simulator_port: int = _setting(values.port, "8001", "The port of the Daraja simulator.")
    daftari_public_url: str = _setting(
        values.base_url,
        "",
        "Where clients reach the API, for the links in lists. Without it they repeat the Host that was asked.",
    )
    daftari_trusted_proxies: int = _setting(
        values.whole(0, 8),
        "0",
        "How many proxies stand before the API and write X-Forwarded-For and X-Forwarded-Proto. "
        "Headers of others are not believed.",
    )
    daftari_mode: str = _setting(
        values.choice("development", "production"),
        "development",
        "In production nothing is made up: secrets and addresses must be given.",
    )
    daftari_jwt_secret: str = _setting(
        values.secret(_MIN_SECRET),
        "",
        "The HS256 secret of bearer tokens, 32 characters or more. In development one is made in the data folder.",
        secret=True,
    )
    daftari_jwt_public_key_file: Path | None = _setting(
        values.file, "", "A PEM file with the RS256 or EdDSA public key that bearer tokens are verified with."
    )
    daftari_jwt_jwks_url: str = _setting(
        values.url, "", "Where the key set of the token issuer is, instead of a public key file."
    )
    daftari_jwt_issuer: str = _setting(values.text, "", "The `iss` that a token must carry, where given.")
    daftari_jwt_audience: str = _setting(values.text, "", "The `aud` that a token must carry, where given.")
    daftari_master_key: bytes = _setting(
        values.key_bytes(_MASTER_KEY_BYTES),
        "",
        "Base64 of the 32 bytes that all other keys are encrypted with. In development made in the data folder. "
        "Lose it, and personal data and stored credentials are lost.",
        secret=True,
    )
    daftari_session_minutes: int = _setting(
        values.whole(1, 24 * 60), "15", "How long a session may be paid, and by how much it is extended."
    )
    daftari_max_extensions: int = _setting(values.whole(0, 100), "3", "How often a session may be extended.")
    daftari_delivery_fee: Money = _setting(values.money, "50.00", "The delivery fee, in shillings.")
    daftari_free_delivery_from: Money = _setting(
        values.money, "1000.00", "Goods worth this much are delivered free."
    )
    daftari_delivery_surcharge_10kg: Money = _setting(
        values.money, "15.00", "What is added to the fee above 10 kg."
    )
    daftari_delivery_surcharge_20kg: Money = _setting(
        values.money, "30.00", "What is added to the fee above 20 kg, instead of the former."
    )
    daftari_rate_per_minute: int = _setting(
        values.whole(1, 1_000_000),
        "6000",
        "How many writing requests a user may send in a minute, per process.",
    )
    daftari_web_workers: int = _setting(values.whole(1, 64), "2", "How many processes answer HTTP.")
    daftari_web_threads: int = _setting(
        values.whole(1, 256), "16", "How many requests each of them works on at once."
    )
    daftari_web_waiters: int = _setting(
        values.whole(1, 10_000), "1000", "How many clients may wait for news in each process; more get a 503."
    )
    daftari_stream_seconds: int = _setting(
        values.whole(1, 3600), "300", "How long a stream of a payment's status lasts at most."
    )
    daftari_database_connections: int = _setting(
        values.whole(2, 256), "16", "How many connections to PostgreSQL each process may hold."
    )
    daftari_log_format: str = _setting(
        values.choice("json", "console"), "", "How logs look: json in production, console in development."
    )
    daftari_max_waiting_pushes: int = _setting(
        values.whole(1, 1_000),
        "128",
        "How many requests of a process may wait for Daraja at once; more get a 503.",
    )
    daftari_check_after_seconds: int = _setting(
        values.whole(1, 3600), "12", "How long after a prompt the worker first asks Daraja what became of it."
    )
    daftari_queries_per_minute: int = _setting(
        values.whole(1, 100_000), "600", "How many status queries a minute the worker may send to Daraja."
    )
    daftari_c2b_unknown: str = _setting(
        values.choice("accept", "refuse"),
        "accept",
        "What M-Pesa is answered when it asks about a payment whose reference names no open payment of ours.",
    )
    daftari_verify_hours: int = _setting(
        values.whole(0, 24 * 365),
        "24",
        "After how many hours the worker checks every invariant again; 0 for never.",
    )
    daftari_seal_seconds: int = _setting(
        values.whole(1, 24 * 3600), "60", "Every how many seconds the worker signs what the log has gained."
    )
    daftari_refund_policy: str = _setting(
        values.choice("manual", "auto"),
        "manual",
        "Who approves money that must go back: an operator, or Daftari at once where M-Pesa's receipt is known.",
    )
    daftari_pull: str = _setting(
        values.choice("off", "on"),
        "off",
        "Whether the worker asks M-Pesa every hour for its list of payments; `daftari pull --register` comes first.",
    )
    daftari_prompt_seconds: int = _setting(
        values.whole(10, 3600), "120", "How long a prompt counts as live, so that no second one is sent."
    )
    daftari_max_amount_shillings: int = _setting(
        values.whole(1, 10_000_000), "250000", "The most that one payment may be, in whole shillings."
    )
    daftari_safaricom_addresses: str = _setting(
        values.choice("off", "warn", "enforce"),
        "off",
        "What to do with a callback from an address that is not Safaricom's: nothing, log it, or believe it "
        "only once a query confirms it.",
    )
    mpesa_consumer_key: str = _setting(
        values.key, "", "The app's consumer key, from the Daraja portal.", secret=True
    )
    mpesa_consumer_secret: str = _setting(values.key, "", "The app's consumer secret.", secret=True)
    mpesa_business_shortcode: str = _setting(
        values.digits(5, 7), "", "The paybill, or for buy goods the store number."
    )
    mpesa_passkey: str = _setting(values.key, "", "The passkey of Lipa na M-Pesa Online.", secret=True)
    mpesa_callback_url: str = _setting(
        values.base_url,
        "",
        "Where M-Pesa reports results; each attempt's token is added as the last path segment. In development "
        f"the API's own `{CALLBACK_PATH}`.",
    )
    mpesa_environment: str = _setting(
        values.choice("sandbox", "production"),
        "sandbox",
        "Which Daraja to use, where MPESA_BASE_URL is not given.",
    )
    mpesa_base_url: str = _setting(
        values.base_url, "", "Daraja's address. `daftari up` starts no simulator when it is given."
    )
    mpesa_transaction_type: str = _setting(
        values.choice("CustomerPayBillOnline", "CustomerBuyGoodsOnline"),
        "CustomerPayBillOnline",
        "Whether buyers pay a paybill or a till.",
    )
    mpesa_party_b: str = _setting(
        values.digits(5, 10), "", "The till number for buy goods; for a paybill, the shortcode itself."
    )
    mpesa_initiator_name: str = _setting(
        values.key, "", "The operator (initiator) who gives money back, from the organisation portal."
    )
    mpesa_initiator_password: str = _setting(
        values.text, "", "The operator's password. It ends after 90 days.", secret=True
    )
    mpesa_certificate_file: Path | None = _setting(
        values.file,
        "",
        "A PEM file from the Daraja portal with the certificate, or the public key, that seals the password.",
    )
    mpesa_security_credential: str = _setting(
        values.key,
        "",
        "The operator's password as sealed elsewhere, instead of password and certificate.",
        secret=True,
    )
    environ: dict[str, str] = field(repr=False, compare=False, default_factory=dict)

    @property
    def is_production(self) -> bool:
        """Whether nothing may be made up."""
        return self.daftari_mode == "production"

    def certificate(self) -> bytes | None:
        """Return what the certificate file says, or None where none is named; raise ConfigurationError."""
        path = self.mpesa_certificate_file
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                return file.read(_MAX_CERTIFICATE_BYTES)
        except OSError as error:
            raise ConfigurationError(
                [f"MPESA_CERTIFICATE_FILE names {path}, which cannot be read ({error.strerror})."]
            ) from error

    def with_stored_credentials(self, stored: Mapping[str, str]) -> "Settings":
        """Return these settings with stored credentials where the environment gives none; raise ConfigurationError."""
        known = {name: text for name, text in stored.items() if name in STORED_NAMES}
        return load_settings({**known, **self.environ})


def described_settings() -> list[tuple[str, str, str]]:
    """Return each variable's name, its default as text, and its meaning, in the order of the fields."""
    return [
        (item.name.upper(), item.metadata["default"], item.metadata["meaning"])
        for item in fields(Settings)
        if item.metadata
    ]


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; make the secrets that may be made; raise ConfigurationError with all that is wrong.

    Where an instance runs on the data folder, its variables fill the gaps. No sentence repeats a value, which
    might be a secret.
    """
    given = _given(environ)
    found: dict[str, Any] = {}
    problems: list[str] = []
    for item in fields(Settings):
        if item.metadata:
            name = item.name.upper()
            text = given.get(name, item.metadata["default"])
            try:
                found[item.name] = item.metadata["parse"](text) if text else None
            except ValueError as error:
                problems.append(f"{name} {error}")
    _fill_in(found)
    problems += [] if problems else _missing(found)
    if problems:
        raise ConfigurationError(problems)
    _make_secrets(found)
    return Settings(**found, environ=given)


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the environment says, and beneath it what an instance running on the data folder adds."""
    given = {name: text.strip() for name, text in environ.items() if text.strip()}
    folder = values.folder(given.get("DAFTARI_DATA_DIR", str(default_data_folder(environ))))
    return {**running_instance(folder), **given, "DAFTARI_DATA_DIR": str(folder)}


def _fill_in(found: dict[str, Any]) -> None:
    """Derive what was not given from what was."""
    for name, value in found.items():
        if value is None and name not in _MAY_BE_NONE:
            found[name] = ""
    development = found.get("daftari_mode") == "development"
    found["daftari_log_format"] = found.get("daftari_log_format") or ("console" if development else "json")
    found["mpesa_base_url"] = found.get("mpesa_base_url") or DARAJA_URLS.get(
        found.get("mpesa_environment", ""), ""
    )
    if development and not found.get("mpesa_callback_url"):
        found["mpesa_callback_url"] = f"http://127.0.0.1:{found.get('daftari_port')}{CALLBACK_PATH}"


def _missing(found: Mapping[str, Any]) -> list[str]:
    """Say what must not be left out, or not be given together."""
    problems = []
    ways = ("daftari_jwt_secret", "daftari_jwt_public_key_file", "daftari_jwt_jwks_url")
    given = [name.upper() for name in ways if found[name]]
    if len(given) > 1:
        problems.append(f"{' and '.join(given)} exclude each other: unset all but one.")
    if found["daftari_mode"] == "production":
        problems += _missing_in_production(found, given)
    return problems


def _missing_in_production(found: Mapping[str, Any], jwt_given: list[str]) -> list[str]:
    problems = []
    if not jwt_given:
        problems.append(
            "DAFTARI_JWT_SECRET must be given in production, or DAFTARI_JWT_PUBLIC_KEY_FILE, or "
            f"DAFTARI_JWT_JWKS_URL: type `export DAFTARI_JWT_SECRET=$({values.COMMAND_FOR_A_SECRET})`."
        )
    if not found["daftari_master_key"]:
        problems.append(
            "DAFTARI_MASTER_KEY must be given in production, and kept in a safe place: "
            f"type `export DAFTARI_MASTER_KEY=$({values.COMMAND_FOR_A_KEY})`."
        )
    if not found["mpesa_callback_url"].startswith("https://"):
        problems.append(
            "MPESA_CALLBACK_URL must be an https address in production: type "
            f"`export MPESA_CALLBACK_URL=https://your.domain{CALLBACK_PATH}`."
        )
    return problems


def _make_secrets(found: dict[str, Any]) -> None:
    """Read, or make once, the secrets of a machine in development; processes that race agree on one."""
    folder: Path = found["daftari_data_dir"]
    by_secret = not (found["daftari_jwt_public_key_file"] or found["daftari_jwt_jwks_url"])
    if by_secret and not found["daftari_jwt_secret"]:
        found["daftari_jwt_secret"] = read_or_make_private_file(folder / "jwt-secret", secrets.token_hex(32))
    if found["daftari_master_key"] is None:
        fresh = base64.b64encode(secrets.token_bytes(_MASTER_KEY_BYTES)).decode()
        kept = read_or_make_private_file(folder / "master-key", fresh)
        found["daftari_master_key"] = base64.b64decode(kept)

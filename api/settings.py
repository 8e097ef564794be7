"""Every setting, read from environment variables in one place; all wrong settings are reported at once."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, get_args

from api import setting_rules
from api import setting_values as values
from api.brand_settings import BrandSettings
from api.checkout_settings import CheckoutSettings
from api.setting_rules import CALLBACK_PATH, STORED_NAMES, ConfigurationError
from api.setting_values import setting as _setting
from api.shop_settings import ShopSettings
from api.web_settings import WebSettings
from ledger.money import Money
from ledger.store.role_names import Roles


@dataclass(frozen=True, kw_only=True)
class Settings(BrandSettings, CheckoutSettings, ShopSettings, WebSettings):
    """The settings of a process. Each field is the lower-case name of its environment variable.

    `daftari_delivery_...` are Money, `daftari_master_key` is 32 bytes, folders and files are paths. Text that was
    not given is "". `environ` is what they were read from, defaults included and blanks trimmed.
    """

    database_url: str = _setting(
        values.database_url,
        "",
        "The PostgreSQL to use, as a libpq URL: in production, as the login DAFTARI_APP_ROLE. Without it, the embedded "
        "one of the data folder.",
        secret=True,
    )
    daftari_migration_url: str = _setting(
        values.database_url,
        "",
        "The same database as the login DAFTARI_MIGRATOR_ROLE, for `daftari migrate` and what else changes the schema "
        "or stored credentials. Without it, DATABASE_URL.",
        secret=True,
    )
    daftari_owner_role: str = _setting(
        values.role, "daftari_owner", "The role that owns the tables. Nobody logs in as it."
    )
    daftari_migrator_role: str = _setting(
        values.role, "daftari_migrator", "The login that may become the owner, to migrate."
    )
    daftari_app_role: str = _setting(
        values.role, "daftari_app", "The login of the processes, which has rights and owns nothing."
    )
    daftari_database_tls: str = _setting(
        values.choice("verified", "any"),
        "verified",
        "What production asks of the way to another machine's PostgreSQL: sslmode=verify-full, or anything.",
    )
    daftari_data_dir: Path = _setting(
        values.folder,
        "",
        "Where this machine keeps its data. Created if missing, readable by its owner alone.",
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
        "Where clients reach the API: the links of lists begin with it, whatever Host a request names. Required in "
        "production.",
    )
    daftari_trusted_proxies: int = _setting(
        values.whole(0, 8),
        "0",
        "How many proxies stand in front of the API and write X-Forwarded-For and X-Forwarded-Proto. "
        "Such headers from others are ignored.",
    )
    daftari_mode: str = _setting(
        values.choice("development", "production"),
        "development",
        "In production nothing is generated: secrets and addresses must be given. Development is for this machine "
        "alone: its shop page makes anyone any buyer.",
    )
    daftari_demo_operator: str = _setting(
        values.choice("off", "on"),
        "off",
        "Whether the console in development has buttons that sign in anyone as operator, auditor or analyst.",
    )
    daftari_jwt_secret: str = _setting(
        values.secret,
        "",
        "The HS256 secret of bearer tokens, 32 characters or more. In development one is generated in the data folder.",
        secret=True,
    )
    daftari_jwt_previous_secret: str = _setting(
        values.secret,
        "",
        "The HS256 secret before the present one: its tokens are accepted too, until you unset it.",
        secret=True,
    )
    daftari_metrics_token: str = _setting(
        values.secret,
        "",
        "The bearer token that opens /metrics and nothing else, 32 characters or more.",
        secret=True,
    )
    daftari_jwt_public_key_file: Path | None = _setting(
        values.file,
        "",
        "A PEM file with the RS256 or EdDSA public key that bearer tokens are verified with; during a change of keys, "
        "with both.",
    )
    daftari_jwt_jwks_url: str = _setting(
        values.url, "", "The address of the token issuer's key set, instead of a public key file."
    )
    daftari_jwt_issuer: str = _setting(values.text, "", "The `iss` that a token must carry, if given.")
    daftari_jwt_audience: str = _setting(values.text, "", "The `aud` that a token must carry, if given.")
    daftari_master_key: bytes = _setting(
        values.master_key,
        "",
        "Base64 of the 32 bytes that all other keys are encrypted with. In development it is generated in the data "
        "folder. Lose it, and personal data and stored credentials are lost.",
        secret=True,
    )
    daftari_database_connections: int = _setting(
        values.whole(2, 256), "24", "How many connections to PostgreSQL each process may hold."
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
        values.whole(1, 3600), "12", "How long after a prompt the worker sends the first status query."
    )
    daftari_queries_per_minute: int = _setting(
        values.whole(1, 100_000), "600", "How many status queries a minute the worker may send to Daraja."
    )
    daftari_c2b_unknown: str = _setting(
        values.choice("accept", "refuse"),
        "accept",
        "How to answer M-Pesa's validation of a C2B payment whose reference matches no open session.",
    )
    daftari_verify_hours: int = _setting(
        values.whole(0, 24 * 365),
        "24",
        "How many hours between two whole verification runs, with hourly incremental ones between; 0 turns both off.",
    )
    daftari_publish_heads: tuple[str, ...] = _setting(
        values.destinations, "", "Where signed heads go: files, addresses, command:…; by semicolons."
    )
    daftari_notify: tuple[str, ...] = _setting(
        values.notified,
        "",
        "Who is notified of open cases: smtp(s)://user:password@host:port/?from=…&to=…, or addresses; by semicolons.",
        secret=True,
    )
    daftari_webhook_allow_private: str = _setting(
        values.choice("0", "1"),
        "0",
        "Whether webhooks may go to private addresses and by http: for development.",
    )
    daftari_seal_seconds: int = _setting(
        values.whole(1, 24 * 3600), "5", "How many seconds between two signed blocks of the log."
    )
    daftari_refund_policy: str = _setting(
        values.choice("manual", "auto"),
        "manual",
        "Who approves refunds: an operator, or Daftari at once if M-Pesa's receipt is known.",
    )
    daftari_four_eyes_from: Money | None = _setting(
        values.money,
        "",
        "From how many shillings on a decision about money needs a second person; without it, one decides.",
    )
    daftari_pull: str = _setting(
        values.choice("off", "on"),
        "off",
        "Whether the worker fetches M-Pesa's list of payments every hour; run `daftari pull --register` first.",
    )
    daftari_prompt_seconds: int = _setting(
        values.whole(10, 3600), "120", "How long a prompt counts as live; until then no second one is sent."
    )
    daftari_max_amount_shillings: int = _setting(
        values.whole(1, 10_000_000), "250000", "The most that one payment may be, in whole shillings."
    )
    daftari_retention_days: int = _setting(
        values.whole(0, 3_650), "0", "Days after a payment in which the law forbids to erase its customer."
    )
    daftari_retention_periods: str = _setting(
        values.periods, "", "How long kinds of data are kept: `kind=days, kind=never`."
    )
    daftari_safaricom_addresses: str = _setting(
        values.choice("off", "warn", "enforce"),
        "off",
        "What to do with a callback from an address that is not Safaricom's: nothing, log it, or treat it as "
        "unauthenticated until a status query confirms it.",
    )
    mpesa_consumer_key: str = _setting(values.key, "", "The app's consumer key, of the portal.", secret=True)
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
        "Which Daraja to use, if MPESA_BASE_URL is not given.",
    )
    mpesa_base_url: str = _setting(
        values.base_url, "", "Daraja's address. `daftari up` starts no simulator if it is given."
    )
    daftari_mpesa_host: str = _setting(
        str,
        "",
        "The one host beside Safaricom's that production may send M-Pesa's credentials to, as in `mpesa.internal`.",
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
        values.key, "", "The initiator who sends refunds, from the organisation portal."
    )
    mpesa_initiator_password: str = _setting(
        values.text, "", "The initiator's password. It expires after 90 days.", secret=True
    )
    daftari_initiator_password_set: date | None = _setting(
        values.day,
        "",
        "The day on which the initiator's password was set, such as 2026-11-27: it lasts 90 days. Needed where the "
        "variables give the password; a stored one is dated by itself.",
    )
    mpesa_certificate_file: Path | None = _setting(
        values.file,
        "",
        "A PEM file from the Daraja portal with the certificate, or the public key, that encrypts the password.",
    )
    mpesa_security_credential: str = _setting(
        values.key,
        "",
        "The initiator's password as encrypted elsewhere, instead of password and certificate.",
        secret=True,
    )
    environ: dict[str, str] = field(repr=False, compare=False, default_factory=dict)

    @property
    def is_production(self) -> bool:
        """Whether secrets and addresses must be given."""
        return self.daftari_mode == "production"

    @property
    def has_demo(self) -> bool:
        """Whether there is a shop page, on which anyone is any buyer: never where money or other machines are."""
        return (
            not self.is_production
            and values.is_near(self.mpesa_base_url)
            and values.is_loopback(self.daftari_host)
        )

    def require_safe_mode(self, *, simulates: bool = False) -> None:
        """Raise ConfigurationError where development would be open to other machines, or would take real money.

        `simulates`: M-Pesa is simulated, whatever address of it the settings hold.
        """
        if not self.is_production and (
            problems := list(setting_rules.dangers(vars(self), simulates=simulates))
        ):
            raise ConfigurationError(problems)

    @property
    def migration_url(self) -> str:
        """The database as the login that may change its schema, "" without a database."""
        return self.daftari_migration_url or self.database_url

    @property
    def roles(self) -> Roles:
        """The names of the database's roles."""
        return Roles(self.daftari_owner_role, self.daftari_migrator_role, self.daftari_app_role)

    def certificate(self) -> bytes | None:
        """Return the content of the certificate file, None without one; raise ConfigurationError."""
        try:
            return values.content(self.mpesa_certificate_file)
        except ValueError as error:
            raise ConfigurationError([f"MPESA_CERTIFICATE_FILE {error}"]) from error

    def with_stored_credentials(self, stored: Mapping[str, str]) -> "Settings":
        """Return these settings with stored credentials beneath them; raise ConfigurationError."""
        return load_settings(self.environ, {name: stored[name] for name in STORED_NAMES if name in stored})


def described_settings() -> list[tuple[str, str, str]]:
    """Return each variable's name, its default as text, and its meaning, in the order of the fields."""
    return [(item.name.upper(), item.metadata["default"], item.metadata["meaning"]) for item in _described()]


def load_settings(environ: Mapping[str, str], defaults: Mapping[str, str]) -> Settings:
    """Return the settings of an environment, with `defaults` by the names of variables beneath it.

    A blank variable counts as not given. Raises ConfigurationError with a sentence for each problem; no sentence
    repeats a value, which might be a secret.
    """
    named = {name: text.strip() for name, text in environ.items() if text.strip()}
    given = {**defaults, **named}
    found: dict[str, Any] = {}
    problems = []
    for item in _described():
        text = given.get(item.name.upper(), item.metadata["default"])
        try:
            found[item.name] = item.metadata["parse"](text) if text else _nothing(item)
        except ValueError as error:
            problems.append(f"{item.name.upper()} {error}")
    if not problems:
        setting_rules.derive(found)
        problems = list(setting_rules.missing(found))
    if problems:
        raise ConfigurationError(problems)
    return Settings(**found, environ=given)


def _described() -> list[Field[Any]]:
    return [item for item in fields(Settings) if item.metadata]


def _nothing(item: Field[Any]) -> str | None:
    """Return what a field holds that was not given."""
    return None if type(None) in get_args(item.type) else ""

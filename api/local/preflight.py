"""The preflight check: the settings and all that they point to, each with what is wrong and what to type."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

import psycopg
import requests

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from api.local.databases import server_major, stored_credentials
from api.local.local_settings import local_settings
from api.local.ports import answers_http, http_url, require_free_port
from api.local.problems import LocalRuntimeError
from api.safe_database import database_problems
from api.setting_rules import STORED_NAMES, ConfigurationError, weak_secrets
from api.setting_values import is_near
from api.settings import Settings
from api.shop_wiring import shop_calls
from daraja import InvalidConfig, forbidden_words_in, security_credential
from ledger.errors import LedgerError, Unavailable
from ledger.store.logins import statements_lacking
from ledger.store.migrate import all_names, pending
from shop.http import HttpShop

_DARAJA_ANSWERS_WITHIN_SECONDS = 5
_NEEDED = ("mpesa_consumer_key", "mpesa_consumer_secret", "mpesa_business_shortcode", "mpesa_passkey")


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What was found out about one part; the message holds no secret and no personal data."""

    part: str
    level: Level
    message: str


def run_preflight_checks(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the settings and, if they are valid, everything they point to. Changes nothing, except that development
    generates missing secrets.
    """
    try:
        settings = local_settings(environ)
        settings.require_safe_mode()
    except ConfigurationError as error:
        yield from (Finding("settings", Level.PROBLEM, problem) for problem in error.problems)
        return
    yield Finding("settings", Level.OK, f"The settings are valid; the mode is {settings.daftari_mode}.")
    if settings.is_production and settings.daftari_webhook_allow_private == "1":
        told = "Unset DAFTARI_WEBHOOK_ALLOW_PRIVATE: it lets who has a server's key make Daftari call this network."
        yield Finding("webhooks", Level.WARNING, told)
    database = _finding("database", _check_database, settings)
    yield database
    if settings.database_url and database.level is Level.OK:
        yield _finding("database roles", _check_roles, settings)
        try:
            stored = stored_credentials(settings)
            settings = settings.with_stored_credentials(stored)
            settings.require_safe_mode()
        except (LedgerError, ConfigurationError) as error:
            yield Finding("stored credentials", Level.PROBLEM, error.message)
        else:
            ignored = sorted(stored.keys() - set(STORED_NAMES))
            if ignored:
                told = f"Stored {' and '.join(ignored)} no longer counts: set it as a variable."
                yield Finding("stored credentials", Level.WARNING, told)
    yield _finding("tokens", _check_tokens, settings)
    yield _finding("address", _check_address, settings)
    yield _finding("credentials", _check_credentials, settings)
    yield _finding("operator", _check_initiator, settings)
    yield _finding("callback URL", _check_callback_url, settings)
    yield _finding("Daraja", _check_daraja, settings)
    if settings.daftari_shop_url:
        yield _finding("shop", _check_shop, settings)


def _finding(part: str, check: Callable[[Settings], tuple[Level, str]], settings: Settings) -> Finding:
    """Return what a check finds; an error is a finding too."""
    try:
        return Finding(part, *check(settings))
    except (ConfigurationError, LocalRuntimeError) as problem:
        return Finding(part, Level.PROBLEM, problem.message)


def _check_database(settings: Settings) -> tuple[Level, str]:
    folder = settings.daftari_data_dir
    if not settings.database_url:
        binaries = find_binaries(account_for(folder / "postgres"), settings.daftari_postgres_bin)
        return Level.OK, f"Not running; `daftari up` starts PostgreSQL {binaries.major} on {folder}."
    major = server_major(settings.database_url)
    try:
        missing = pending(settings.database_url)
    except psycopg.Error:
        return Level.PROBLEM, "Its tables cannot be read: give DATABASE_URL a user who can read them."
    if missing:
        return (
            Level.PROBLEM,
            f"PostgreSQL {major} answers, but {len(missing)} migrations are missing: type `daftari migrate`.",
        )
    return Level.OK, f"PostgreSQL {major} answers, and the database is up to date."


def _check_roles(settings: Settings) -> tuple[Level, str]:
    """Look at the login and its way to the database; where something lacks, print the SQL that mends it."""
    problems = database_problems(settings)
    statements = statements_lacking(settings.database_url, settings.roles, all_names())
    if not problems and not statements:
        return (
            Level.OK,
            f"Processes log in as {settings.daftari_app_role}'s kind: with rights, owning nothing.",
        )
    if statements:
        problems.append("A person who may create roles types, in this database:\n" + "\n".join(statements))
        problems.append("Then `daftari migrate`, with DAFTARI_MIGRATION_URL as the migrator.")
    return Level.PROBLEM if settings.is_production else Level.WARNING, "\n".join(problems)


def _check_tokens(settings: Settings) -> tuple[Level, str]:
    from api.http.middleware.auth import TokenVerifier  # noqa: PLC0415 - Flask comes with it; the other commands do without

    TokenVerifier(settings, int)
    url = settings.daftari_jwt_jwks_url
    if url:
        return _check_published_keys(url)
    if settings.daftari_jwt_public_key_file:
        return Level.OK, "Bearer tokens are verified with the public key of the file."
    weak = list(weak_secrets(vars(settings)))
    if weak:
        return Level.WARNING, " ".join(weak)
    return Level.OK, "Bearer tokens are verified with the HS256 secret."


def _check_published_keys(url: str) -> tuple[Level, str]:
    from api.http.middleware.published_keys import PublishedKeys  # noqa: PLC0415 - as above

    try:
        count = PublishedKeys(url).count()
    except Unavailable:
        return (
            Level.PROBLEM,
            f"{url} returns no key set: check DAFTARI_JWT_JWKS_URL and the identity provider.",
        )
    if not count:
        return Level.PROBLEM, f"{url} holds no usable key: RSA of 2048 bits or more, or Ed25519."
    return (
        Level.OK,
        f"Bearer tokens are verified with {count} published {'key' if count == 1 else 'keys'}.",
    )


def _check_address(settings: Settings) -> tuple[Level, str]:
    host, port = settings.daftari_host, settings.daftari_port
    if answers_http(host, port, "/healthz"):
        return Level.OK, f"The API answers at {http_url(host, port)}."
    require_free_port(host, port, "DAFTARI_PORT", "daftari up")
    return Level.OK, f"Port {port} of {host} is free for the API."


def _check_credentials(settings: Settings) -> tuple[Level, str]:
    missing = [name.upper() for name in _NEEDED if not getattr(settings, name)]
    if missing:
        level = Level.PROBLEM if settings.is_production else Level.WARNING
        return level, f"{', '.join(missing)} are missing: type `daftari set-mpesa-credentials`."
    if settings.mpesa_transaction_type == "CustomerBuyGoodsOnline" and not settings.mpesa_party_b:
        return Level.PROBLEM, "Buy goods needs a till: set MPESA_PARTY_B to its number."
    return Level.OK, f"All credentials of shortcode {settings.mpesa_business_shortcode} are set."


def _check_initiator(settings: Settings) -> tuple[Level, str]:
    ready = settings.mpesa_security_credential
    if not settings.mpesa_initiator_name or not (ready or settings.mpesa_initiator_password):
        return (
            Level.WARNING,
            "M-Pesa sends no refunds without an initiator: set MPESA_INITIATOR_NAME, and "
            "MPESA_SECURITY_CREDENTIAL or MPESA_INITIATOR_PASSWORD with MPESA_CERTIFICATE_FILE.",
        )
    certificate = settings.certificate()
    if not ready and certificate is None:
        return Level.PROBLEM, "The initiator's password needs a certificate: set MPESA_CERTIFICATE_FILE."
    if not ready and certificate is not None:
        try:
            security_credential(settings.mpesa_initiator_password, certificate)
        except InvalidConfig as error:
            return Level.PROBLEM, f"MPESA_CERTIFICATE_FILE cannot be used: {error.message}"
    return Level.OK, f"M-Pesa's initiator {settings.mpesa_initiator_name} is set."


def _check_callback_url(settings: Settings) -> tuple[Level, str]:
    url = settings.mpesa_callback_url
    words = forbidden_words_in(url)
    if words:
        return (
            Level.WARNING,
            f"Safaricom forbids the words {', '.join(words)} in callback URLs: prefer one that ends in "
            "/api/payments/callbacks/, which serves the same purpose.",
        )
    if not url.startswith("https://") and not is_near(settings.mpesa_base_url):
        return Level.WARNING, "Safaricom cannot reach this machine's own address: set MPESA_CALLBACK_URL."
    return Level.OK, "The callback URL is usable."


def _check_daraja(settings: Settings) -> tuple[Level, str]:
    url = settings.mpesa_base_url
    try:
        requests.head(url, timeout=_DARAJA_ANSWERS_WITHIN_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        level = Level.PROBLEM if settings.is_production else Level.WARNING
        return (
            level,
            f"{url} does not answer ({type(error).__name__}): check the network and MPESA_BASE_URL.",
        )
    return Level.OK, f"{url} answers."


def _check_shop(settings: Settings) -> tuple[Level, str]:
    shop = HttpShop(shop_calls(settings), lambda *_: None, str)
    try:
        shop.order_by_session(uuid4())
    except Unavailable:
        return (
            Level.PROBLEM if settings.is_production else Level.WARNING,
            f"{settings.daftari_shop_url} does not answer as docs/http-shop.md says: type `daftari shop-check` "
            "for what is wrong.",
        )
    return Level.OK, f"{settings.daftari_shop_url} answers, and knows the secret."

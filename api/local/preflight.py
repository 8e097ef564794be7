"""Look at everything that a deployment needs, and say of each part in one sentence whether it is well."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import psycopg
import requests

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from api.local.databases import server_major
from api.local.ports import answers_http, http_url, require_free_port
from api.local.problems import LocalRuntimeError
from api.local.stored_credentials import stored_credentials
from api.setting_values import is_near
from api.settings import ConfigurationError, Settings, load_settings
from daraja import InvalidConfig, forbidden_words_in, security_credential
from ledger.errors import LedgerError, Unavailable
from ledger.store.migrate import pending

_DARAJA_ANSWERS_WITHIN_SECONDS = 5
_NEEDED = ("mpesa_consumer_key", "mpesa_consumer_secret", "mpesa_business_shortcode", "mpesa_passkey")


class Verdict(StrEnum):
    """How a part is."""

    WELL = "ok"
    DOUBTFUL = "warning"
    ILL = "problem"


@dataclass(frozen=True)
class Finding:
    """A part, how it is, and a sentence about it; no secret and no personal data is in it."""

    part: str
    verdict: Verdict
    description: str


def run_preflight_checks(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the settings, and with good ones all that they point to. Nothing is changed, save that a secret which a
    machine in development lacks is made.
    """
    try:
        settings = load_settings(environ)
    except ConfigurationError as error:
        yield from (Finding("settings", Verdict.ILL, problem) for problem in error.problems)
        return
    yield Finding("settings", Verdict.WELL, f"The settings can be used; the mode is {settings.daftari_mode}.")
    database = _told("database", _look_at_database, settings)
    yield database
    if settings.database_url and database.verdict is Verdict.WELL:
        try:
            settings = settings.with_stored_credentials(stored_credentials(settings))
        except LedgerError as error:
            yield Finding("stored credentials", Verdict.ILL, error.message)
    yield _told("tokens", _look_at_tokens, settings)
    yield _told("address", _look_at_address, settings)
    yield _told("credentials", _look_at_credentials, settings)
    yield _told("operator", _look_at_operator, settings)
    yield _told("callback URL", _look_at_callback_url, settings)
    yield _told("Daraja", _look_at_daraja, settings)


def _told(part: str, look: Callable[[Settings], tuple[Verdict, str]], settings: Settings) -> Finding:
    """Take a look, and turn what it refuses into a finding."""
    try:
        return Finding(part, *look(settings))
    except LocalRuntimeError as problem:
        return Finding(part, Verdict.ILL, problem.message)


def _look_at_database(settings: Settings) -> tuple[Verdict, str]:
    folder = settings.daftari_data_dir
    if not settings.database_url:
        binaries = find_binaries(account_for(folder / "postgres"), settings.daftari_postgres_bin)
        return Verdict.WELL, f"None runs now; `daftari up` starts PostgreSQL {binaries.major} on {folder}."
    major = server_major(settings.database_url)
    try:
        missing = pending(settings.database_url)
    except psycopg.Error:
        return Verdict.ILL, "Its tables cannot be read: give DATABASE_URL a user who may read them."
    if missing:
        return (
            Verdict.ILL,
            f"PostgreSQL {major} answers, but {len(missing)} migrations are missing: `daftari migrate`.",
        )
    return Verdict.WELL, f"PostgreSQL {major} answers, and the database has its shape."


def _look_at_tokens(settings: Settings) -> tuple[Verdict, str]:
    from api.http.middleware.auth import Verifier  # noqa: PLC0415 - Flask comes with it; the other commands do without

    Verifier(settings)
    url = settings.daftari_jwt_jwks_url
    if url:
        return _look_at_published_keys(url)
    if settings.daftari_jwt_public_key_file:
        return Verdict.WELL, "Bearer tokens are verified with the public key of the file."
    return Verdict.WELL, "Bearer tokens are verified with the HS256 secret."


def _look_at_published_keys(url: str) -> tuple[Verdict, str]:
    from api.http.middleware.published_keys import PublishedKeys  # noqa: PLC0415 - as above

    try:
        count = PublishedKeys(url).count()
    except Unavailable:
        return Verdict.ILL, f"{url} gives no key set: check DAFTARI_JWT_JWKS_URL and the identity provider."
    if not count:
        return Verdict.ILL, f"{url} holds no key that we can use: RSA of 2048 bits or more, or Ed25519."
    return (
        Verdict.WELL,
        f"Bearer tokens are verified with {count} published {'key' if count == 1 else 'keys'}.",
    )


def _look_at_address(settings: Settings) -> tuple[Verdict, str]:
    host, port = settings.daftari_host, settings.daftari_port
    if answers_http(host, port, "/healthz"):
        return Verdict.WELL, f"The API answers at {http_url(host, port)}."
    require_free_port(host, port, "DAFTARI_PORT", "daftari up")
    return Verdict.WELL, f"Port {port} of {host} is free for the API."


def _look_at_credentials(settings: Settings) -> tuple[Verdict, str]:
    missing = [name.upper() for name in _NEEDED if not getattr(settings, name)]
    if missing:
        verdict = Verdict.ILL if settings.is_production else Verdict.DOUBTFUL
        return verdict, f"{', '.join(missing)} are missing: type `daftari set-mpesa-credentials`."
    if settings.mpesa_transaction_type == "CustomerBuyGoodsOnline" and not settings.mpesa_party_b:
        return Verdict.ILL, "Buy goods is paid to a till: set MPESA_PARTY_B to its number."
    return Verdict.WELL, f"All credentials of shortcode {settings.mpesa_business_shortcode} are there."


def _look_at_operator(settings: Settings) -> tuple[Verdict, str]:
    ready = settings.mpesa_security_credential
    if not settings.mpesa_initiator_name or not (ready or settings.mpesa_initiator_password):
        return (
            Verdict.DOUBTFUL,
            "Nothing can be given back through M-Pesa without its operator: set MPESA_INITIATOR_NAME, and "
            "MPESA_SECURITY_CREDENTIAL or MPESA_INITIATOR_PASSWORD with MPESA_CERTIFICATE_FILE.",
        )
    certificate = settings.certificate()
    if not ready and certificate is None:
        return Verdict.ILL, "The operator's password needs a certificate: set MPESA_CERTIFICATE_FILE."
    if not ready and certificate is not None:
        try:
            security_credential(settings.mpesa_initiator_password, certificate)
        except InvalidConfig as error:
            return Verdict.ILL, f"MPESA_CERTIFICATE_FILE cannot be used: {error.message}"
    return Verdict.WELL, f"M-Pesa's operator {settings.mpesa_initiator_name} is set."


def _look_at_callback_url(settings: Settings) -> tuple[Verdict, str]:
    url = settings.mpesa_callback_url
    words = forbidden_words_in(url)
    if words:
        return (
            Verdict.DOUBTFUL,
            f"Safaricom forbids the words {', '.join(words)} in callback URLs: prefer one that ends in "
            "/api/payments/callbacks/, which serves the same purpose.",
        )
    if not url.startswith("https://") and not is_near(settings.mpesa_base_url):
        return Verdict.DOUBTFUL, "Safaricom cannot reach this machine's own address: set MPESA_CALLBACK_URL."
    return Verdict.WELL, "M-Pesa's results are expected at the address that is set."


def _look_at_daraja(settings: Settings) -> tuple[Verdict, str]:
    url = settings.mpesa_base_url
    try:
        requests.head(url, timeout=_DARAJA_ANSWERS_WITHIN_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        verdict = Verdict.ILL if settings.is_production else Verdict.DOUBTFUL
        return (
            verdict,
            f"{url} does not answer ({type(error).__name__}): check the network and MPESA_BASE_URL.",
        )
    return Verdict.WELL, f"{url} answers."

"""What settings say together: what follows from others, what must not be left out, and what does not go together."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from api import setting_values as values

DARAJA_URLS = {
    "sandbox": "https://sandbox.safaricom.co.ke",
    "production": "https://api.safaricom.co.ke",
}
_SAFARICOM = "safaricom.co.ke"
CALLBACK_PATH = "/api/payments/callbacks/"
TOKEN_KEY_NAMES = ("DAFTARI_JWT_SECRET", "DAFTARI_JWT_PUBLIC_KEY_FILE", "DAFTARI_JWT_JWKS_URL")
"""The variables of which exactly one says how bearer tokens are verified."""

STORED_NAMES = (
    "MPESA_CONSUMER_KEY",
    "MPESA_CONSUMER_SECRET",
    "MPESA_BUSINESS_SHORTCODE",
    "MPESA_PASSKEY",
    "MPESA_ENVIRONMENT",
    "MPESA_TRANSACTION_TYPE",
    "MPESA_PARTY_B",
    "MPESA_INITIATOR_NAME",
    "MPESA_INITIATOR_PASSWORD",
    "MPESA_SECURITY_CREDENTIAL",
)
"""The variables that `daftari set-mpesa-credentials` may store in the database; the environment wins over it.

No address is among them: who can write to the database must not choose where the consumer secret goes.
"""


class ConfigurationError(Exception):
    """Settings that cannot be used: `problems` holds a sentence for each, `message` a line for each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self.message = "\n".join(problems)
        super().__init__(self.message)


def derive(found: dict[str, Any]) -> None:
    """Derive what was not given from what was."""
    development = found["daftari_mode"] == "development"
    found["daftari_log_format"] = found["daftari_log_format"] or ("console" if development else "json")
    found["mpesa_base_url"] = found["mpesa_base_url"] or DARAJA_URLS[found["mpesa_environment"]]
    if development and not found["mpesa_callback_url"]:
        found["mpesa_callback_url"] = f"http://127.0.0.1:{found['daftari_port']}{CALLBACK_PATH}"


def missing(found: Mapping[str, Any]) -> Iterator[str]:
    """Say what must not be left out, or not be given together."""
    keys = [name for name in TOKEN_KEY_NAMES if found[name.lower()]]
    if len(keys) > 1:
        yield f"{' and '.join(keys)} exclude each other: unset all but one."
    if not keys:
        yield (
            "DAFTARI_JWT_SECRET must be given in production, or DAFTARI_JWT_PUBLIC_KEY_FILE, or "
            f"DAFTARI_JWT_JWKS_URL: type `export DAFTARI_JWT_SECRET=$({values.COMMAND_FOR_A_SECRET})`."
        )
    if found["daftari_jwt_previous_secret"] and not found["daftari_jwt_secret"]:
        yield "DAFTARI_JWT_PREVIOUS_SECRET needs DAFTARI_JWT_SECRET beside it."
    if not found["daftari_master_key"]:
        yield (
            "DAFTARI_MASTER_KEY must be given in production, and kept in a safe place: "
            f"type `export DAFTARI_MASTER_KEY=$({values.COMMAND_FOR_A_KEY})`."
        )
    yield from _missing_of_shop(found)
    if not found["daftari_data_dir"]:
        yield "DAFTARI_DATA_DIR must name a folder for the data of this machine."
    if found["daftari_mode"] == "production":
        yield from _wrong_in_production(found)


def _missing_of_shop(found: Mapping[str, Any]) -> Iterator[str]:
    if found["daftari_shop"] == "http" and not found["daftari_shop_url"]:
        yield "DAFTARI_SHOP=http needs DAFTARI_SHOP_URL, the address of your shop."
    if found["daftari_shop_url"] and not found["daftari_shop_secret"]:
        yield (
            "DAFTARI_SHOP_URL needs DAFTARI_SHOP_SECRET, which signs the requests to it: type "
            f"`export DAFTARI_SHOP_SECRET=$({values.COMMAND_FOR_A_SIGNING_SECRET})`."
        )


def _wrong_in_production(found: Mapping[str, Any]) -> Iterator[str]:
    """Say what production must have, and must not."""
    yield from weak_secrets(found)
    if not found["mpesa_callback_url"].startswith("https://"):
        yield (
            "MPESA_CALLBACK_URL must be an https address in production: type "
            f"`export MPESA_CALLBACK_URL=https://your.domain{CALLBACK_PATH}`."
        )
    if not _may_have_credentials(found["mpesa_base_url"], found["daftari_mpesa_host"]):
        yield (
            "MPESA_BASE_URL must be an https address of Safaricom in production, because M-Pesa's credentials go "
            "there: unset it, or name its host in DAFTARI_MPESA_HOST if it is yours."
        )
    if not found["daftari_public_url"]:
        yield (
            "DAFTARI_PUBLIC_URL must be given in production, as the address where clients reach the API: type "
            "`export DAFTARI_PUBLIC_URL=https://your.domain`."
        )
    if found["daftari_demo_operator"] == "on":
        yield "DAFTARI_DEMO_OPERATOR would make anyone an operator: unset it in production."


def _may_have_credentials(base_url: str, own_host: str) -> bool:
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    if own_host and host == own_host.lower():
        return True
    return parts.scheme == "https" and (host == _SAFARICOM or host.endswith(f".{_SAFARICOM}"))


def weak_secrets(found: Mapping[str, Any]) -> Iterator[str]:
    """Say of each secret that can be guessed, why and what to type."""
    for name in ("DAFTARI_JWT_SECRET", "DAFTARI_JWT_PREVIOUS_SECRET", "DAFTARI_METRICS_TOKEN"):
        text = found[name.lower()]
        if text and (why := values.weakness_of(text)):
            yield f"{name} can be guessed: {why}. Type `{values.COMMAND_FOR_A_SECRET}` to make one."


def dangers(found: Mapping[str, Any], *, simulates: bool) -> Iterator[str]:
    """Say why development must not run with these settings: it has demo buyers and secrets made up on the spot."""
    production = "set DAFTARI_MODE=production"
    if not values.is_loopback(found["daftari_host"]):
        yield (
            "DAFTARI_HOST lets other machines in, and in development anyone who reaches the API can act as any buyer: "
            f"{production}, or unset DAFTARI_HOST. A container in development needs the network of its host "
            "(`docker run --network host`)."
        )
    if found["daftari_public_url"] and not values.is_near(found["daftari_public_url"]):
        yield f"DAFTARI_PUBLIC_URL says that others reach the API, which needs production: {production}."
    if found["mpesa_environment"] == "production":
        yield f"MPESA_ENVIRONMENT=production takes real money, which needs production: {production}."
    elif not simulates and found["mpesa_consumer_key"] and not values.is_near(found["mpesa_base_url"]):
        yield (
            f"MPESA_BASE_URL is Safaricom's, or another's, and development is for the simulator: {production}, or "
            "name the simulator, as in `export MPESA_BASE_URL=http://127.0.0.1:8001`."
        )

"""The client of M-Pesa, made from the settings."""

import requests

from api.setting_rules import DARAJA_URLS
from api.settings import Settings
from api.tracing import TracedAdapter
from daraja import DarajaClient, DarajaConfig
from daraja.wire import new_session
from ledger import clock
from ledger.store.counters import MPESA_CALLS
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.shared_token_store import SharedTokenStore, consumer_name

PAYBILL = "CustomerPayBillOnline"


def daraja_client(
    settings: Settings, database: Database, vault: Vault, http: requests.Session | None = None
) -> DarajaClient:
    """Return the M-Pesa client of the settings, on the token that all processes share; `http` as it takes it."""
    config = DarajaConfig(
        base_url=base_url(settings),
        consumer_key=settings.mpesa_consumer_key,
        consumer_secret=settings.mpesa_consumer_secret,
        shortcode=settings.mpesa_business_shortcode,
        passkey=settings.mpesa_passkey,
        transaction_type=settings.mpesa_transaction_type,
        party_b=settings.mpesa_party_b or None,
        initiator_name=settings.mpesa_initiator_name or None,
        initiator_password=settings.mpesa_initiator_password or None,
        certificate=settings.certificate(),
        security_credential=settings.mpesa_security_credential or None,
        pool_size=settings.daftari_max_waiting_pushes,
        max_amount_shillings=settings.daftari_max_amount_shillings,
    )
    tokens = SharedTokenStore(database, vault, app_name(settings))
    http = http or traced_session(config.pool_size)
    return DarajaClient(config, tokens, clock.now, http, MPESA_CALLS.add)


def traced_session(pool_size: int) -> requests.Session:
    """Return what sends requests to M-Pesa, with the trace context of what they are for."""
    session = new_session(pool_size)
    for scheme, adapter in list(session.adapters.items()):
        session.mount(scheme, TracedAdapter(adapter))
    return session


def base_url(settings: Settings) -> str:
    """Return where Daraja is, without a slash at the end."""
    return (settings.mpesa_base_url or DARAJA_URLS[settings.mpesa_environment]).rstrip("/")


def app_name(settings: Settings) -> str:
    """Return the name of what M-Pesa counts and gives tokens to: one app of one environment."""
    return consumer_name(base_url(settings), settings.mpesa_consumer_key)


def paybill(settings: Settings) -> str:
    """Return where buyers can pay by hand and name an account, "" for a till, which takes money without a name."""
    if settings.mpesa_transaction_type != PAYBILL:
        return ""
    return settings.mpesa_party_b or settings.mpesa_business_shortcode

"""Builds what tells shops' own servers of events."""

from api.settings import Settings
from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.webhooks.deliveries import WebhookDeliveries
from payments.webhooks.endpoints import WebhookEndpoints
from payments.webhooks.sender import WebhookSender
from payments.webhooks.session_messages import SessionMessages


def build_webhook_endpoints(settings: Settings, database: Database, vault: Vault) -> WebhookEndpoints:
    """Return what knows the webhook endpoints."""
    return WebhookEndpoints(
        database,
        vault,
        AuditLog(database, vault.keys),
        allows_private=settings.daftari_webhook_allow_private == "1",
    )


def build_webhook_sender(database: Database, vault: Vault, endpoints: WebhookEndpoints) -> WebhookSender:
    """Return what delivers."""
    messages = SessionMessages(Ledger(database, vault.keys), vault)
    return WebhookSender(database, endpoints, WebhookDeliveries(database), messages)

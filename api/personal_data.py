"""Builds what erases customers, gives them an account, and ends what is kept for a time only."""

from datetime import timedelta

from api.setting_rules import ConfigurationError
from api.settings import Settings
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.erasure.customer_export import CustomerExport
from payments.erasure.erasures import Erasures
from payments.erasure.retention import Retention
from payments.erasure.retention_kinds import parse_periods


def build_erasures(settings: Settings, database: Database, vault: Vault) -> Erasures:
    """Return what erases customers."""
    retention = timedelta(days=settings.daftari_retention_days)
    return Erasures(database, vault, AuditLog(database, vault.keys), retention)


def build_retention(settings: Settings, database: Database, vault: Vault) -> Retention:
    """Return what purges and reports what is kept for a time only; raise ConfigurationError."""
    try:
        periods = parse_periods(settings.daftari_retention_periods)
    except ValueError as error:
        raise ConfigurationError([f"DAFTARI_RETENTION_PERIODS {error}"]) from error
    return Retention(database, build_erasures(settings, database, vault), periods)


def build_customer_export(settings: Settings, database: Database, vault: Vault) -> CustomerExport:
    """Return what writes down for a person all that is held about them."""
    kinds = build_retention(settings, database, vault).kinds()
    return CustomerExport(
        database, vault, AuditLog(database, vault.keys), {kind.name: kind.kept for kind in kinds}
    )

"""Builds what imports M-Pesa's statements, in this process and in one of its own."""

from functools import partial

from api.http.middleware.logging import configure_logging
from api.settings import Settings
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.prompts.prompt_limits import PromptLimits
from payments.reconciliation.import_process import ImportProcess, import_uploads, open_reconciler
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.statement_uploads import StatementUploads
from payments.reconciliation.statements import Reconciler


def build_reconciler(settings: Settings, database: Database, vault: Vault, matcher: Matcher) -> Reconciler:
    """Return what imports statements."""
    return open_reconciler(shortcodes_of(settings), database, vault, prompt_limits(settings), matcher)


def build_import_process(settings: Settings, uploads: StatementUploads) -> ImportProcess:
    """Return what imports the statements that are uploaded, in a process of its own."""
    import_apart = partial(
        import_uploads,
        settings.database_url,
        settings.daftari_app_role,
        settings.daftari_master_key,
        shortcodes_of(settings),
        prompt_limits(settings),
        partial(configure_logging, settings.daftari_log_format),
    )
    return ImportProcess(uploads, import_apart)


def prompt_limits(settings: Settings) -> PromptLimits:
    """Return the limits on prompts."""
    return PromptLimits(
        prompts_an_hour=settings.daftari_prompts_per_hour,
        numbers_a_day=settings.daftari_numbers_per_day,
        prompts_a_number=settings.daftari_prompts_per_number,
    )


def shortcodes_of(settings: Settings) -> frozenset[str]:
    """Return the numbers that our payments go to: the paybill, or the store and its till."""
    return frozenset({settings.mpesa_business_shortcode, settings.mpesa_party_b}) - {""}

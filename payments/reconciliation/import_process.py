"""The imports of uploaded statements, in a process of their own: the worker's threads go on while a file is read."""

import os
import sys
from collections.abc import Callable, Collection

import structlog

from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.child_process import NICENESS, ChildProcess
from payments.prompts.phone_locks import PhoneLocks
from payments.prompts.prompt_limits import PromptLimits
from payments.reconciliation.import_log import Reconciliations
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statement_uploads import StatementUploads
from payments.reconciliation.statements import Reconciler

LOCK_NAME = "statement import"
"""Another name than the job's: the worker that starts the process holds that one."""

_log = structlog.get_logger(__name__)


class ImportFailed(Exception):
    """The process of an import ended with this exit code; its upload still waits, and is tried again."""


class ImportProcess:
    """Starts the process where an upload waits, and sees to its end. `import_apart` is what it runs.

    After a worker that was killed it goes on to its end, and LOCK_NAME keeps another from the same work.
    """

    def __init__(self, uploads: StatementUploads, import_apart: Callable[[], None]) -> None:
        self._uploads = uploads
        self._process = ChildProcess(import_apart)

    def run(self) -> int:
        """Look after the process under way, or start one; return how many ended well. Raises ImportFailed."""
        if not self._process.is_started:
            if self._uploads.is_waiting():
                self._process.start()
            return 0
        exit_code = self._process.take_exit_code()
        if exit_code:
            raise ImportFailed(exit_code)
        return int(exit_code == 0)

    def wait(self) -> int:
        """Wait for the end of the process under way, if there is one; see to it as `run` does."""
        self._process.join()
        return self.run() if self._process.is_started else 0


def import_uploads(
    database_url: str,
    role: str,
    master_key: bytes,
    shortcodes: Collection[str],
    limits: PromptLimits,
    configure_logging: Callable[[], object],
) -> None:
    """Import every upload that waits in this process, unless another is doing so; exit with 1 where one fails."""
    os.nice(NICENESS)
    configure_logging()
    database = Database(database_url, name="daftari statement", role=role)
    lock = ActiveLock(LockConnection(database_url), LOCK_NAME)
    try:
        uploads = _open_uploads(database, master_key, shortcodes, limits)
        with caused_by(Cause.SWEEP, process="statement_uploads", actor="system"):
            while lock.try_acquire() and uploads.import_next():
                pass
    except Exception as error:  # noqa: BLE001 - it is logged here, where personal data are hidden, and tried again
        _log.error("statement_import_failed", exc_info=error)
        sys.exit(1)
    finally:
        lock.release()
        database.close()


def open_reconciler(
    shortcodes: Collection[str], database: Database, vault: Vault, limits: PromptLimits, matcher: Matcher
) -> Reconciler:
    """Return what imports statements of the account of these shortcodes."""
    missing = MissingPayments(Ledger(database, vault.keys), PhoneLocks(database, limits))
    progress, reconciliations = PullProgressStore(database), Reconciliations(database, vault.keys)
    return Reconciler(shortcodes, database, matcher, progress, reconciliations, missing)


def _open_uploads(
    database: Database, master_key: bytes, shortcodes: Collection[str], limits: PromptLimits
) -> StatementUploads:
    vault = Vault(database, master_key)
    ledger, movements = Ledger(database, vault.keys), Movements(database, vault)
    matcher = Matcher(ledger, PhoneLocks(database, limits), movements)
    reconciler = open_reconciler(shortcodes, database, vault, limits, matcher)
    return StatementUploads(database, vault, AuditLog(database, vault.keys), reconciler)

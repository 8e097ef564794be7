"""A look over the whole store from the command line: the parts it needs, and no more."""

from collections.abc import Iterable
from datetime import timedelta

from api.local.databases import server_major
from api.settings import Settings
from ledger.store.blocks import Block, Blocks, KeptName
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.verification.verifier import Verifier
from projections.integrity.verification_runs import VerificationRun


def verify(settings: Settings, kept_blocks: Iterable[KeptName]) -> tuple[VerificationRun, Block | None]:
    """Check every invariant of a running system's database, and keep the run; raise DatabaseProblem.

    Return the run, and the last signed block of the log, None before the first.
    """
    server_major(settings.database_url)
    database = Database(settings.database_url, max_connections=4)
    try:
        vault = Vault(database, settings.daftari_master_key)
        prompt_seconds = settings.daftari_prompt_seconds
        last = Blocks(database).last()
        verifier = Verifier(database, vault, prompt_seconds=prompt_seconds, every=timedelta())
        return verifier.run(kept_blocks), last
    finally:
        database.close()

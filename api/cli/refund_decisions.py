"""Decisions about refunds from the command line: the parts they need, and no more."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.local.databases import server_major
from ledger.application import Ledger
from ledger.store.database import Database
from payments.refunds.decisions import RefundService


@contextmanager
def refund_service(database_url: str) -> Iterator[RefundService]:
    """Lend the service of a database's refunds; raise DatabaseProblem."""
    server_major(database_url)
    database = Database(database_url, max_connections=2)
    try:
        yield RefundService(Ledger(database))
    finally:
        database.close()

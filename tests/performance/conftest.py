"""A PostgreSQL of its own, because other tests write into the shared one: its WAL would be theirs too."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.local.postgres import ClusterOptions, EmbeddedPostgres
from ledger.store.migrate import migrate
from tests.support.database import reachable_folder


@pytest.fixture(scope="module")
def own_database_url() -> Iterator[str]:
    """The URL of a migrated database that is the only one of its server, as its superuser."""
    folder = reachable_folder()
    bin_folder = os.environ.get("DAFTARI_POSTGRES_BIN")
    options = ClusterOptions(bin_folder=Path(bin_folder) if bin_folder else None)
    try:
        with EmbeddedPostgres(folder, options) as server:
            migrate(server.database_url)
            yield server.database_url
    finally:
        shutil.rmtree(folder)

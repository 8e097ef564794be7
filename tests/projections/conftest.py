"""The fixtures of the tests of followers."""

import pytest

from ledger.store.database import Database
from tests.projections.recording import Notebook


@pytest.fixture
def notebook(database: Database) -> Notebook:
    """A notebook whose table is there."""
    return Notebook.opened(database)

from collections.abc import Iterator

import pytest

from payments.sample.generation import Store
from tests.support.database import new_database
from tests.support.keys import MASTER_KEY


@pytest.fixture
def another_store(server_url: str, template_database: str) -> Iterator[Store]:
    """A store beside the test's own."""
    with new_database(server_url, template_database) as url:
        yield Store(url, MASTER_KEY)

"""A login of an analyst, made as `daftari create-analyst` makes it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.local.database_logins import url_of_login
from ledger.store import analysts
from ledger.store.role_names import DEFAULT_ROLES

PASSWORD = "0123456789abcdef"
# Tests beside this one may make it at the same moment.
_MAKE_GROUP = """
DO $$ BEGIN CREATE ROLE {} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$
"""


def make_group(administrator: "psycopg.Connection[psycopg.rows.TupleRow]") -> None:
    """Make the group of the analysts' logins, if the cluster lacks it."""
    administrator.execute(_MAKE_GROUP.format(DEFAULT_ROLES.analysts).encode())


@contextmanager
def new_analyst(database_url: str) -> Iterator[str]:
    """Yield the URL of a new analyst's login, and remove the login afterwards."""
    with psycopg.connect(database_url, autocommit=True) as administrator:
        make_group(administrator)
        name = f"analyst_{administrator.info.dbname.removeprefix('test_')}"
        statements = analysts.create_statements(administrator, DEFAULT_ROLES, name, PASSWORD)
        closing = analysts.superuser_statements(DEFAULT_ROLES, name)
        assert analysts.execute(administrator, [*statements, *closing], id)
        try:
            yield url_of_login(database_url, name, PASSWORD)
        finally:
            if analysts.is_analyst(administrator, DEFAULT_ROLES, name):
                dropping = analysts.drop_statements(administrator, DEFAULT_ROLES, name)
                assert analysts.execute(administrator, dropping, id)

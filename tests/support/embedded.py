"""An instance whose embedded PostgreSQL runs with the logins of `daftari up`, and nothing else of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.local.database_logins import prepare_logins
from api.local.instances import hold_instance, publish_instance
from api.local.postgres import EmbeddedPostgres
from ledger.store.migrate import migrate
from ledger.store.role_names import DEFAULT_ROLES


@contextmanager
def embedded_instance(folder: Path) -> Iterator[str]:
    """Run it in a folder, migrated, so that `daftari` finds it there; yield the URL of its superuser."""
    with EmbeddedPostgres(folder) as server, hold_instance(folder):
        logins = prepare_logins(server.database_url, folder, DEFAULT_ROLES)
        migrate(logins.migration_url)
        variables = {"DATABASE_URL": logins.database_url, "DAFTARI_MIGRATION_URL": logins.migration_url}
        publish_instance(folder, variables)
        yield server.database_url

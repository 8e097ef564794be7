"""The database of `daftari up`: PostgreSQL if it is embedded, logins, migrations and demo data.

The stack imports this module once its programs run, which import the same meanwhile.
"""

from collections import deque
from collections.abc import Callable, Mapping

from api.local.database_logins import prepare_logins
from api.local.databases import claim_database, migrate_database, open_database
from api.local.postgres import ClusterOptions, EmbeddedPostgres
from api.local.supervisor import Supervisor
from api.settings import Settings
from shop.demo import make_buyers

_FIRST_MIGRATION_OF_THE_SHOP = "shop/0001"


class PostgresService:
    """The embedded PostgreSQL as a service."""

    name = "PostgreSQL"

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def start(self) -> None:
        """Start it, after clearing up what a dead one left."""
        self._server.stop()
        self._server.start()

    def stop(self) -> None:
        """Stop it by a fast shutdown."""
        self._server.stop()

    def is_running(self) -> bool:
        """Return whether the postmaster runs."""
        return self._server.pid is not None

    def is_ready(self) -> bool:
        """Return whether it answers, which start() waits for."""
        return self.is_running()


def start_postgres(
    settings: Settings, supervisor: Supervisor, report: Callable[[str], None]
) -> dict[str, str]:
    """Start the embedded PostgreSQL; return the variables by which processes and migrations reach it."""
    options = ClusterOptions(bin_folder=settings.daftari_postgres_bin)
    server = EmbeddedPostgres(settings.daftari_data_dir, options)
    if server.is_new:
        report(f"Creating a database in {settings.daftari_data_dir}, which takes some seconds.")
    supervisor.start(PostgresService(server), stop_last=True)
    logins = prepare_logins(server.database_url, settings.daftari_data_dir, settings.roles)
    return {"DATABASE_URL": logins.database_url, "DAFTARI_MIGRATION_URL": logins.migration_url}


def prepare_database(settings: Settings, variables: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Migrate the database of `variables`, bind it to the master key, and fill a new one with demo data."""
    url = variables["DATABASE_URL"]
    applied = migrate_database(variables.get("DAFTARI_MIGRATION_URL", url), settings.roles)
    claim_database(url, settings.daftari_master_key)
    is_new = any(name.startswith(_FIRST_MIGRATION_OF_THE_SHOP) for name in applied)
    if is_new and not settings.is_production:
        report("Filling the shop with demo data.")
        with open_database(url, max_connections=2) as database:
            deque(make_buyers(database, 1, 1), maxlen=0)

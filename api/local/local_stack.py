"""The local stack of `daftari up`: PostgreSQL, migrations, demo data, the simulator, the API and the worker."""

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from api.local.database_logins import prepare_logins
from api.local.databases import claim_database, migrate_database, open_database
from api.local.instances import hold_instance, publish_instance
from api.local.local_simulator import STATE_FILE, SimulatorOptions, simulator_credentials
from api.local.ports import answers_http, http_url, require_free_port
from api.local.postgres import ClusterOptions, EmbeddedPostgres
from api.local.supervisor import PostgresService, Program, Supervisor
from api.setting_rules import STORED_NAMES
from api.setting_values import is_near
from api.settings import Settings, load_settings
from shop.demo import make_buyers

_FIRST_MIGRATION_OF_THE_SHOP = "shop/0001"


class LocalStack:
    """All of Daftari in one terminal. `report` prints a sentence; `welcome` prints what to try once all is ready."""

    def __init__(
        self,
        settings: Settings,
        options: SimulatorOptions,
        report: Callable[[str], None],
        welcome: Callable[[Settings], None],
    ) -> None:
        self._settings = settings
        self._habits = options
        self._report = report
        self._welcome = welcome
        self._variables = dict(settings.environ)

    @property
    def simulates(self) -> bool:
        """Whether M-Pesa is simulated: in development, unless an address of Daraja is given."""
        return not self._settings.is_production and "MPESA_BASE_URL" not in self._settings.environ

    @property
    def reports_elsewhere(self) -> bool:
        """Whether the simulator would call back another machine, which knows nothing of its payments."""
        return self.simulates and not is_near(self._settings.mpesa_callback_url)

    def run(self, stopping: threading.Event) -> None:
        """Run until `stopping` is set, then stop everything; raise ConfigurationError, LocalRuntimeError, WrongKey."""
        settings = self._settings
        settings.require_safe_mode(simulates=self.simulates)
        with hold_instance(settings.daftari_data_dir):
            self._require_ports()
            supervisor = Supervisor(stopping, self._report)
            try:
                for step in (self._start_simulator, self._prepare_database, self._start_programs):
                    if not stopping.is_set():
                        step(supervisor)
                supervisor.wait_until_ready()
                if not stopping.is_set():
                    self._publish()
                    supervisor.watch()
            finally:
                supervisor.stop()

    def _require_ports(self) -> None:
        settings = self._settings
        require_free_port(settings.daftari_host, settings.daftari_port, "DAFTARI_PORT", "daftari up")
        if self.simulates:
            require_free_port(
                settings.daftari_host, settings.daftari_simulator_port, "DAFTARI_SIMULATOR_PORT", "daftari up"
            )

    def _prepare_database(self, supervisor: Supervisor) -> None:
        settings = self._settings
        if not settings.database_url:
            options = ClusterOptions(bin_folder=settings.daftari_postgres_bin)
            server = EmbeddedPostgres(settings.daftari_data_dir, options)
            if server.is_new:
                self._report(f"Creating a database in {settings.daftari_data_dir}, which takes some seconds.")
            supervisor.start(PostgresService(server))
            logins = prepare_logins(server.database_url, settings.daftari_data_dir, settings.roles)
            self._variables["DATABASE_URL"] = logins.database_url
            self._variables["DAFTARI_MIGRATION_URL"] = logins.migration_url
        url = self._variables["DATABASE_URL"]
        applied = migrate_database(self._variables.get("DAFTARI_MIGRATION_URL", url), settings.roles)
        claim_database(url, settings.daftari_master_key)
        is_new = any(name.startswith(_FIRST_MIGRATION_OF_THE_SHOP) for name in applied)
        if is_new and not settings.is_production:
            self._report("Filling the shop with demo data.")
            with open_database(url, max_connections=2) as database:
                deque(make_buyers(database, 1, 1), maxlen=0)

    def _start_simulator(self, supervisor: Supervisor) -> None:
        """Start it first: it depends on nothing, and is ready by the time that the database is."""
        if not self.simulates:
            return
        if self.reports_elsewhere:
            self._report(
                "MPESA_CALLBACK_URL is not this machine's, so the simulator's callbacks are lost and only status "
                "queries find payments. Unset it to try payments here."
            )
        host, port = self._settings.daftari_host, self._settings.daftari_simulator_port
        self._variables = simulator_credentials(self._variables)
        self._variables["MPESA_BASE_URL"] = http_url(host, port)
        options = self._habits
        if options.state_file is None:
            # A refund of yesterday's payment must find the payment, as it does at M-Pesa.
            options = replace(options, state_file=self._settings.daftari_data_dir / STATE_FILE)
        command = [*_daftari("simulator"), *options.arguments()]
        supervisor.start(
            Program("The simulator", command, self._variables, partial(answers_http, host, port, "/"))
        )

    def _start_programs(self, supervisor: Supervisor) -> None:
        host, port = self._settings.daftari_host, self._settings.daftari_port
        ready = partial(answers_http, host, port, "/readyz")
        environ = {name: text for name, text in self._variables.items() if name != "DAFTARI_MIGRATION_URL"}
        supervisor.start(Program("The API", _daftari("serve"), environ, ready))
        supervisor.start(Program("The worker", _daftari("work"), environ))

    def _publish(self) -> None:
        names = {
            "DATABASE_URL",
            "DAFTARI_MIGRATION_URL",
            "DAFTARI_PORT",
            "DAFTARI_SIMULATOR_PORT",
            "MPESA_BASE_URL",
            "MPESA_CALLBACK_URL",
            *STORED_NAMES,
        }
        published = {name: text for name, text in self._variables.items() if name in names}
        publish_instance(self._settings.daftari_data_dir, published)
        self._welcome(load_settings(self._variables, {}))


def _daftari(command: str) -> list[str]:
    return [sys.executable, "-m", "api.cli", command]

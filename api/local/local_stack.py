"""The local stack of `daftari up`: PostgreSQL, migrations, demo data, the simulator, the API and the worker."""

import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from api.local.instances import hold_instance, publish_instance
from api.local.local_simulator import STATE_FILE, SimulatorOptions, simulator_credentials
from api.local.ports import answers_http, http_url, require_free_port
from api.local.supervisor import Program, Supervisor
from api.setting_rules import STORED_NAMES
from api.setting_values import METRICS_FOLDER, is_near
from api.settings import Settings, load_settings

WAIT = "--variables-from-stdin"
"""The option of a program that waits for the rest of its variables."""


class LocalStack:
    """All of Daftari in one terminal. `report` prints a sentence; `welcome` prints what to try once all is ready, given
    the settings and whether M-Pesa is simulated.
    """

    def __init__(
        self,
        settings: Settings,
        options: SimulatorOptions,
        report: Callable[[str], None],
        welcome: Callable[[Settings, bool], None],
    ) -> None:
        self._settings = settings
        self._habits = options
        self._report = report
        self._welcome = welcome
        self._variables = dict(settings.environ)
        self._programs: list[Program] = []

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
        with (
            hold_instance(settings.daftari_data_dir),
            tempfile.TemporaryDirectory(prefix="daftari-metrics-", ignore_cleanup_errors=True) as folder,
        ):
            self._variables[METRICS_FOLDER] = folder  # From the start: the programs read it when they import.
            self._require_ports()
            supervisor = Supervisor(stopping, self._report)
            try:
                for step in (
                    self._start_simulator,
                    self._start_programs,
                    self._prepare_database,
                    self._let_programs_go_on,
                ):
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
        # It takes long to import, as the programs do that were started before.
        from api.local.local_database import prepare_database, start_postgres  # noqa: PLC0415 - as said above

        if not self._settings.database_url:
            self._variables |= start_postgres(self._settings, supervisor, self._report)
        prepare_database(self._settings, self._variables, self._report)

    def _start_simulator(self, supervisor: Supervisor) -> None:
        """Start it first: it depends on nothing, and the programs are told its address."""
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
        command = [*daftari("simulator"), *options.arguments()]
        supervisor.start(
            Program("The simulator", command, self._variables, partial(answers_http, host, port, "/"))
        )

    def _start_programs(self, supervisor: Supervisor) -> None:
        """Start API and worker, which import what they need while the database is prepared."""
        host, port = self._settings.daftari_host, self._settings.daftari_port
        ready = partial(answers_http, host, port, "/readyz")
        self._programs = [
            Program("The API", [*daftari("serve"), WAIT], self._of_programs(), ready, waits=True),
            Program("The worker", [*daftari("work"), WAIT], self._of_programs(), waits=True),
        ]
        for program in self._programs:
            supervisor.start(program)

    def _let_programs_go_on(self, _supervisor: Supervisor) -> None:
        for program in self._programs:
            program.go_on(self._of_programs())

    def _of_programs(self) -> dict[str, str]:
        return {name: text for name, text in self._variables.items() if name != "DAFTARI_MIGRATION_URL"}

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
        self._welcome(load_settings(self._variables, {}), self.simulates)


def daftari(command: str) -> list[str]:
    """Return the words that run a command of the installed Daftari, whatever the current folder holds."""
    return [sys.executable, "-P", "-m", "api.cli", command]

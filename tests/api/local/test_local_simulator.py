"""The simulator's options, and the credentials that it shares with the API."""

from pathlib import Path

from api.cli.failures import NOT_AVAILABLE
from api.local.local_settings import local_settings
from api.local.local_simulator import SimulatorOptions, simulator_credentials, simulator_settings
from tests.api.cli.support import daftari


def test_options_that_are_not_given_have_the_simulators_defaults(data_folder: Path) -> None:
    settings = local_settings({"DAFTARI_DATA_DIR": str(data_folder)})
    assert SimulatorOptions().arguments() == []
    assert simulator_settings(settings, SimulatorOptions()).chaos_longest_delay_seconds == 60


def test_options_survive_the_trip_through_the_command_line(data_folder: Path) -> None:
    options = SimulatorOptions(0, 3, 7, 30.5, Path("/books"), 1000, strict=False)
    assert options.arguments() == [
        "--lax",
        *("--auto-approve", "0", "--seed", "3", "--chaos", "7"),
        *("--chaos-longest-delay", "30.5", "--state-file", "/books", "--opening-balance", "1000"),
    ]
    settings = simulator_settings(local_settings({"DAFTARI_DATA_DIR": str(data_folder)}), options)
    assert (settings.auto_approve_seconds, settings.seed, settings.chaos_seed) == (0, 3, 7)
    assert (settings.chaos_longest_delay_seconds, settings.state_file) == (30.5, Path("/books"))
    assert (settings.organisation_shillings, settings.strict) == (1000, False)


def test_an_initiator_password_replaces_the_ready_made_credential() -> None:
    assert "MPESA_SECURITY_CREDENTIAL" in simulator_credentials({})
    given = {"MPESA_INITIATOR_PASSWORD": "secret"}
    assert "MPESA_SECURITY_CREDENTIAL" not in simulator_credentials(given)
    ready = given | {"MPESA_SECURITY_CREDENTIAL": "A" * 344}
    assert simulator_credentials(ready)["MPESA_SECURITY_CREDENTIAL"] == "A" * 344


def test_a_state_file_that_cannot_be_used_is_one_sentence(data_folder: Path) -> None:
    missing = data_folder / "missing" / "books"
    tried = daftari("simulator", "--state-file", str(missing), DAFTARI_DATA_DIR=str(data_folder))
    assert tried.returncode == NOT_AVAILABLE
    assert "cannot be used" in tried.stderr
    assert "Traceback" not in tried.stderr

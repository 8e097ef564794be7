"""The simulated M-Pesa of a machine in development: what it and the API agree on."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.settings import Settings

if TYPE_CHECKING:
    from daraja.simulator import SimulatorSettings

SIMULATOR_CREDENTIALS = {
    "MPESA_CONSUMER_KEY": "simulator-key",
    "MPESA_CONSUMER_SECRET": "simulator-secret",
    "MPESA_BUSINESS_SHORTCODE": "174379",
    "MPESA_PASSKEY": "simulator-passkey",
    "MPESA_INITIATOR_NAME": "testapi",
    "MPESA_SECURITY_CREDENTIAL": base64.b64encode(bytes(256)).decode(),
}
"""What the simulator and the API agree on where the environment says nothing; they guard nothing."""

_READY_CREDENTIAL = "MPESA_SECURITY_CREDENTIAL"
_PASSWORD = "MPESA_INITIATOR_PASSWORD"  # noqa: S105 - a variable's name

STATE_FILE = "simulator.jsonl"
"""Where `daftari up` lets the simulator keep its books, in the data folder."""


def simulator_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the simulator and the API agree on: the environment's word first.

    A password of the operator there is checked by the simulator, so nothing ready-made may take its place.
    """
    agreed = {**SIMULATOR_CREDENTIALS, **environ}
    if _PASSWORD in environ and _READY_CREDENTIAL not in environ:
        del agreed[_READY_CREDENTIAL]
    return agreed


@dataclass(frozen=True)
class Habits:
    """What the simulator is told on the command line; None is the simulator's own habit.

    Seconds until it pays by itself (None: people do), its seed, the seed of chaos (None: none), and how many seconds
    late chaos may be. `state_file` is where it keeps its books over a kill.
    """

    auto_approve_seconds: float | None = None
    seed: int | None = None
    chaos_seed: int | None = None
    chaos_longest_delay_seconds: float | None = None
    state_file: Path | None = None

    def options(self) -> list[str]:
        """Return them as options of `daftari simulator`."""
        given = {
            "--auto-approve": self.auto_approve_seconds,
            "--seed": self.seed,
            "--chaos": self.chaos_seed,
            "--chaos-longest-delay": self.chaos_longest_delay_seconds,
            "--state-file": self.state_file,
        }
        return [text for name, value in given.items() if value is not None for text in (name, f"{value}")]


def simulator_settings(settings: Settings, habits: Habits) -> "SimulatorSettings":
    """Return what the simulator must know so that the API, with the same settings, can talk to it."""
    from daraja.simulator import SimulatorSettings  # noqa: PLC0415 - others need only the credentials, and quickly

    credentials = simulator_credentials(settings.environ)
    return SimulatorSettings(
        consumer_key=credentials["MPESA_CONSUMER_KEY"],
        consumer_secret=credentials["MPESA_CONSUMER_SECRET"],
        shortcode=credentials["MPESA_BUSINESS_SHORTCODE"],
        passkey=credentials["MPESA_PASSKEY"],
        till=settings.mpesa_party_b or None,
        initiator_name=credentials["MPESA_INITIATOR_NAME"],
        initiator_password=settings.mpesa_initiator_password or None,
        **{name: value for name, value in asdict(habits).items() if value is not None},
        host=settings.daftari_host,
        port=settings.daftari_simulator_port,
    )

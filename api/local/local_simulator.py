"""The simulated M-Pesa of a machine in development, and the credentials that it shares with the API."""

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
"""The credentials that the simulator and the API share by default; they guard nothing."""

_READY_CREDENTIAL = "MPESA_SECURITY_CREDENTIAL"
_PASSWORD = "MPESA_INITIATOR_PASSWORD"  # noqa: S105 - a variable's name

STATE_FILE = "simulator.jsonl"
"""Where the simulator of `daftari up` keeps its books, in the data folder."""


def simulator_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment completed by the simulator's credentials.

    The simulator checks an initiator password that is given, so the ready-made credential must not override it.
    """
    completed = {**SIMULATOR_CREDENTIALS, **environ}
    if _PASSWORD in environ and _READY_CREDENTIAL not in environ:
        del completed[_READY_CREDENTIAL]
    return completed


@dataclass(frozen=True)
class SimulatorOptions:
    """The options of the simulator on the command line; None stands for the simulator's own default.

    `auto_approve_seconds`: how soon a prompt is paid, None for people to do it. `chaos_seed`: None for no faults.
    `state_file`: where the books survive a kill. `strict`: False to take what Daraja is not known to refuse.
    """

    auto_approve_seconds: float | None = None
    seed: int | None = None
    chaos_seed: int | None = None
    chaos_longest_delay_seconds: float | None = None
    state_file: Path | None = None
    organisation_shillings: int | None = None
    strict: bool | None = None

    def arguments(self) -> list[str]:
        """Return them as arguments of `daftari simulator`."""
        given = {
            "--auto-approve": self.auto_approve_seconds,
            "--seed": self.seed,
            "--chaos": self.chaos_seed,
            "--chaos-longest-delay": self.chaos_longest_delay_seconds,
            "--state-file": self.state_file,
            "--opening-balance": self.organisation_shillings,
        }
        flags = ["--lax"] if self.strict is False else []
        return flags + [
            text for name, value in given.items() if value is not None for text in (name, f"{value}")
        ]


def simulator_settings(settings: Settings, options: SimulatorOptions) -> "SimulatorSettings":
    """Return the simulator's settings, so that an API with the same settings can call it."""
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
        **{name: value for name, value in asdict(options).items() if value is not None},
        host=settings.daftari_host,
        port=settings.daftari_simulator_port,
    )

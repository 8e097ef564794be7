"""Fixtures for the tests of any project that calls Daraja; pytest finds them where Daftari is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daraja.simulator import Simulator, SimulatorSettings


@pytest.fixture
def daraja_simulator_settings() -> "SimulatorSettings":
    """The settings of `daraja_simulator`; override this fixture to change them."""
    from daraja.simulator import SimulatorSettings  # noqa: PLC0415 - each run of pytest loads this file

    return SimulatorSettings()


@pytest.fixture
def daraja_simulator(daraja_simulator_settings: "SimulatorSettings") -> Iterator["Simulator"]:
    """A simulated Daraja that serves on a free port of 127.0.0.1, at its `base_url`, until the test ends."""
    from daraja.simulator import create_simulator  # noqa: PLC0415 - each run of pytest loads this file

    simulator = create_simulator(daraja_simulator_settings)
    simulator.start("127.0.0.1", 0)
    try:
        yield simulator
    finally:
        simulator.stop()

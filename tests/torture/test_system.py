"""A short version of the long runs, with real processes."""

from pathlib import Path

import pytest

from tests.torture.callback_flood import count_believed, forgeries
from tests.torture.result import Result
from tests.torture.retries import retries
from tests.torture.storm import SETTINGS, stops
from tests.torture.system import SimulatorOptions, running_system
from tests.torture.wind_down import wind_down_and_audit

PAID_AFTER_SECONDS = 2.0


@pytest.mark.system
def test_a_short_run_of_every_kind_finds_no_violation(data_folder: Path) -> None:
    pays_after_a_restart = SimulatorOptions(auto_approve_seconds=PAID_AFTER_SECONDS)
    with running_system(pays_after_a_restart, SETTINGS, parent=data_folder) as system:
        buyers, result = system.make_buyers(90), Result()
        retries(system, buyers[:10], result, lost=24, at_once=4, seed=1)
        stops(system, buyers[10:60], result, times=1, at_once=4, say=print)
        system.restart_simulator(SimulatorOptions(auto_approve_seconds=None))
        forgeries(system, buyers[60:], result, count=300, at_once=4, seed=1)
        wind_down_and_audit(system, result)
        count_believed(system, result)
    assert result.violations == []
    assert result.more["forged"] == 300
    assert result.more["believed"] == 0
    assert result.more["answers_lost"] >= 24
    assert result.counts.kills.total() == 1
    assert result.orders > 10

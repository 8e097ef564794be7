"""The database goes away under the load of buyers, with real processes: nothing is lost, and all heals by itself."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.torture.outages import outages, running_for
from tests.torture.result import Result
from tests.torture.wind_down import wind_down_and_audit

pytestmark = pytest.mark.system

BUYERS = 1_000


@pytest.mark.parametrize(
    "names",
    [
        ["failover"],
        ["silent-primary"],
        ["replica-away"],
        ["fast-restart", "immediate-restart"],
        ["read-only", "idle-cuts", "migration"],
        ["disk-full"],
    ],
    ids="+".join,
)
def test_nothing_acknowledged_is_lost_and_all_is_well_again_in_time(
    data_folder: Path, names: Sequence[str]
) -> None:
    with running_for(names, parent=data_folder) as system:
        result = Result()
        outages(system, system.make_buyers(BUYERS), result, names=names, at_once=4, say=print)
        wind_down_and_audit(system, result)
    assert result.violations == []
    assert result.acknowledged.counts["gave up"] == 0

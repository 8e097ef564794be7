"""A small version of the long runs: real processes, in seconds."""

from pathlib import Path

from tests.torture.callback_flood import count_believed, forgeries
from tests.torture.result import Result
from tests.torture.retries import retries
from tests.torture.storm import SETTINGS, stops
from tests.torture.system import Habits, running_machine
from tests.torture.wind_down import settle

LONGER_THAN_A_RESTART_SECONDS = 2.0


def test_a_little_of_everything_loses_nothing(data_folder: Path) -> None:
    pay_a_little_later = Habits(auto_approve_seconds=LONGER_THAN_A_RESTART_SECONDS)
    with running_machine(pay_a_little_later, SETTINGS, parent=data_folder) as machine:
        carts, result = machine.make_buyers(90), Result()
        retries(machine, carts[:10], result, lost=24, at_once=4, seed=1)
        stops(machine, carts[10:60], result, times=1, at_once=4, say=print)
        machine.let_simulator(Habits(auto_approve_seconds=None))
        forgeries(machine, carts[60:], result, count=300, at_once=4, seed=1)
        settle(machine, result)
        count_believed(machine, result)
    assert result.violations == []
    assert result.more["forged"] == 300
    assert result.more["believed"] == 0
    assert result.more["answers_lost"] >= 24
    assert result.counts.kills.total() == 1
    assert result.orders > 10

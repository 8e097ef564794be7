"""`python -m tests.torture`: load and faults for some minutes, then the audit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tests.torture.callback_flood import count_believed, forgeries
from tests.torture.mpesa import Mpesa
from tests.torture.report import figures, table
from tests.torture.result import Result
from tests.torture.retries import FEWEST_LOST_OF_A_BUYER, retries
from tests.torture.storm import SETTINGS, stops, storm
from tests.torture.system import Habits, Machine, kept_machine, running_machine
from tests.torture.wind_down import settle

CARTS_A_MINUTE = 600
"""More than a storm of two cores gets through."""

MIN_CARTS = 200
FORGERIES_A_CART = 50


Command = Callable[..., None]


def _options(command: Command) -> Command:
    """Give a command what all of them have."""
    for option in (
        click.option(
            "--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the data lie."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
        click.option(
            "--buyers", type=click.IntRange(1), default=16, show_default=True, help="How many at once."
        ),
    ):
        command = option(command)
    return command


@click.group()
def torture() -> None:
    """Try to lose money."""


@torture.command(name="storm")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="How long.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Chooses troubles, buyers and M-Pesa's chaos."
)
@_options
def run_storm(minutes: float, seed: int, buyers: int, as_json: bool, folder: Path | None) -> None:
    """Buy under load while everything is killed and cut, then see that nothing was lost.

    Exit code 1 where something was; the data folder is kept then.
    """
    with running_machine(Habits(chaos_seed=seed), SETTINGS, parent=folder, has_small_disk=True) as machine:
        carts = machine.make_buyers(int(CARTS_A_MINUTE * minutes) + buyers)
        result = Result()
        result.by_hand.append(Mpesa(machine.simulator_port).pay_by_hand())
        storm(machine, carts, result, seed=seed, seconds=minutes * 60, at_once=buyers, say=_say)
        _finish(machine, result, as_json=as_json)


@torture.command(name="stops")
@click.option("--times", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option(
    "--forgetful", is_flag=True, help="Let PostgreSQL confirm what it has not written: this must fail."
)
@_options
def run_stops(times: int, forgetful: bool, buyers: int, as_json: bool, folder: Path | None) -> None:
    """Stop PostgreSQL at once, again and again, under load; then look for every command that was acknowledged."""
    with running_machine(Habits(), SETTINGS, parent=folder, is_durable=not forgetful) as machine:
        carts = machine.make_buyers(CARTS_A_MINUTE * (1 + times // 10))
        result = Result()
        stops(machine, carts, result, times=times, at_once=buyers, say=_say)
        _finish(machine, result, as_json=as_json)


@torture.command(name="retries")
@click.option(
    "--lost", type=click.IntRange(1), default=10_000, show_default=True, help="How many answers are lost."
)
@_options
def run_retries(lost: int, buyers: int, as_json: bool, folder: Path | None) -> None:
    """Lose answers after the command was carried out, and retry: the first comes again, and nothing is done twice."""
    with running_machine(Habits(), parent=folder) as machine:
        carts = machine.make_buyers(lost // FEWEST_LOST_OF_A_BUYER + buyers)
        result = Result()
        retries(machine, carts, result, lost=lost, at_once=buyers, seed=1)
        _finish(machine, result, as_json=as_json)


@torture.command(name="forgeries")
@click.option(
    "--count", type=click.IntRange(1), default=100_000, show_default=True, help="How many are posted."
)
@_options
def run_forgeries(count: int, buyers: int, as_json: bool, folder: Path | None) -> None:
    """Post forged callbacks by the thousand beside buyers who pay: none is believed, and the payments go on."""
    with running_machine(Habits(auto_approve_seconds=None), parent=folder) as machine:
        carts = machine.make_buyers(MIN_CARTS + count // FORGERIES_A_CART)
        result = Result()
        forgeries(machine, carts, result, count=count, at_once=buyers, seed=1)
        _finish(machine, result, as_json=as_json, also=count_believed)


@torture.command(name="look", context_settings={"ignore_unknown_options": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("command", nargs=-1, required=True)
def look(folder: Path, command: tuple[str, ...]) -> None:
    """Run a command of daftari on the data that a run kept.

    \b
    Example
      python -m tests.torture look /tmp/daftari-torture-x3k9q1 replay SESSION
    """
    with kept_machine(folder) as variables:
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", *command], env={**os.environ, **variables}, check=False
        )
    sys.exit(done.returncode)


def _finish(
    machine: Machine, result: Result, *, as_json: bool, also: Callable[[Machine, Result], None] | None = None
) -> None:
    """Settle everything and show what came of it; keep the data and end with 1 where something is wrong."""
    _say("Calm. Waiting until nothing is under way.")
    settle(machine, result)
    if also is not None:
        also(machine, result)
    shown = figures(result)
    click.echo(json.dumps(shown, indent=2) if as_json else table(shown))
    if result.violations:
        _keep(machine)
        sys.exit(1)


def _keep(machine: Machine) -> None:
    machine.is_kept = True
    _say(f"Look at a session: python -m tests.torture look {machine.folder} replay SESSION")
    _say(f"What each process said is in {machine.folder}/*.log, M-Pesa's last statement in statement.csv.")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    torture()

"""`python -m tests.torture`: load and faults for some minutes, then the audit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tests.torture.callback_flood import count_believed, forgeries
from tests.torture.outages import OUTAGES, outages, running_for
from tests.torture.result import Result, figures, table
from tests.torture.retries import MIN_LOST_PER_BUYER, retries
from tests.torture.simulator_control import SimulatorControl
from tests.torture.storm import SETTINGS, stops, storm
from tests.torture.system import SimulatorOptions, System, kept_database, running_system
from tests.torture.wind_down import wind_down_and_audit

BUYERS_A_MINUTE = 3_000
"""More than two cores get through."""

MIN_BUYERS = 200
FORGERIES_A_BUYER = 50


Command = Callable[..., None]


def _options(command: Command) -> Command:
    """Give a command the options that all have."""
    for option in (
        click.option(
            "--folder",
            type=click.Path(file_okay=False, path_type=Path),
            help="The parent of the data folder.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
        click.option(
            "--buyers",
            "at_once",
            type=click.IntRange(1),
            default=16,
            show_default=True,
            help="Buyers at once.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def torture() -> None:
    """Inject crashes and faults under load, then audit every payment."""


@torture.command(name="storm")
@click.option(
    "--minutes", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Minutes of load."
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of faults, buyers and M-Pesa's chaos."
)
@_options
def run_storm(minutes: float, seed: int, at_once: int, as_json: bool, folder: Path | None) -> None:
    """Kill processes and cut connections under load, then audit that nothing was lost.

    Exit code 1 on any violation; the data folder is kept then.
    """
    with running_system(
        SimulatorOptions(chaos_seed=seed), SETTINGS, parent=folder, has_small_disk=True
    ) as system:
        buyers = system.make_buyers(int(BUYERS_A_MINUTE * minutes) + at_once)
        result = Result()
        result.by_hand.append(SimulatorControl(system.simulator_port).pay_by_hand())
        storm(system, buyers, result, seed=seed, seconds=minutes * 60, at_once=at_once, say=_say)
        _finish(system, result, as_json=as_json)


@torture.command(name="stops")
@click.option("--times", type=click.IntRange(1), default=20, show_default=True, help="Number of stops.")
@click.option("--forgetful", is_flag=True, help="Run PostgreSQL without durable commits: this must fail.")
@_options
def run_stops(times: int, forgetful: bool, at_once: int, as_json: bool, folder: Path | None) -> None:
    """Stop PostgreSQL immediately, again and again, under load; then look for every acknowledged command."""
    with running_system(SimulatorOptions(), SETTINGS, parent=folder, is_durable=not forgetful) as system:
        buyers = system.make_buyers(BUYERS_A_MINUTE * (1 + times // 10))
        result = Result()
        stops(system, buyers, result, times=times, at_once=at_once, say=_say)
        _finish(system, result, as_json=as_json)


@torture.command(name="outages")
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(OUTAGES)))
@_options
def run_outages(names: tuple[str, ...], at_once: int, as_json: bool, folder: Path | None) -> None:
    """Take the database away under load, in one way after another, and measure how soon all is well again."""
    with running_for(names, parent=folder) as system:
        buyers = system.make_buyers(BUYERS_A_MINUTE * (1 + len(names) // 2))
        result = Result()
        outages(system, buyers, result, names=names, at_once=at_once, say=_say)
        _finish(system, result, as_json=as_json)


@torture.command(name="retries")
@click.option("--lost", type=click.IntRange(1), default=10_000, show_default=True, help="Answers to lose.")
@_options
def run_retries(lost: int, at_once: int, as_json: bool, folder: Path | None) -> None:
    """Lose answers of commands that took effect, and retry: the first answer comes again, and nothing is done twice."""
    with running_system(SimulatorOptions(), parent=folder) as system:
        buyers = system.make_buyers(lost // MIN_LOST_PER_BUYER + at_once)
        result = Result()
        retries(system, buyers, result, lost=lost, at_once=at_once, seed=1)
        _finish(system, result, as_json=as_json)


@torture.command(name="forgeries")
@click.option(
    "--count", type=click.IntRange(1), default=100_000, show_default=True, help="Forged callbacks to post."
)
@_options
def run_forgeries(count: int, at_once: int, as_json: bool, folder: Path | None) -> None:
    """Post forged callbacks by the thousand while buyers pay: none is believed, and the payments go on."""
    with running_system(SimulatorOptions(auto_approve_seconds=None), parent=folder) as system:
        buyers = system.make_buyers(MIN_BUYERS + count // FORGERIES_A_BUYER)
        result = Result()
        forgeries(system, buyers, result, count=count, at_once=at_once, seed=1)
        _finish(system, result, as_json=as_json, also=count_believed)


@torture.command(name="look", context_settings={"ignore_unknown_options": True})
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("command", nargs=-1, required=True)
def look(folder: Path, command: tuple[str, ...]) -> None:
    """Run a `daftari` command on the database that a failed run kept.

    \b
    Example
      python -m tests.torture look /tmp/daftari-torture-x3k9q1 replay SESSION
    """
    with kept_database(folder) as variables:
        done = subprocess.run(
            [sys.executable, "-m", "api.cli", *command], env={**os.environ, **variables}, check=False
        )
    sys.exit(done.returncode)


def _finish(
    system: System, result: Result, *, as_json: bool, also: Callable[[System, Result], None] | None = None
) -> None:
    """Wind down, audit and print the result; on violations keep the data and exit with 1."""
    _say("Faults are over. Waiting until no payment is under way.")
    wind_down_and_audit(system, result)
    if also is not None:
        also(system, result)
    shown = figures(result)
    click.echo(json.dumps(shown, indent=2) if as_json else table(shown))
    if result.violations:
        _keep(system)
        sys.exit(1)


def _keep(system: System) -> None:
    system.is_kept = True
    _say(f"Replay a session: python -m tests.torture look {system.folder} replay SESSION")
    _say(f"The logs of the processes are {system.folder}/*.log, M-Pesa's last statement is statement.csv.")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    torture()

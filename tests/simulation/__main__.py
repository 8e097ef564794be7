"""`python -m tests.simulation --seeds 1-1000`: simulate many days of payments, and say what went wrong."""

import sys

import click

from tests.simulation.fault_odds import FAULTS
from tests.simulation.report import default_processes, run_all
from tests.simulation.run import SESSIONS, Outcome, Plan, run
from tests.simulation.shrinking import shrink

MAX_TOLD = 5


def parse_seeds(text: str) -> range:
    """Read a number of seeds ("1000": 1 to 1000) or a range of them ("7-9")."""
    first, dash, last = text.partition("-")
    seeds = range(int(first), int(last) + 1) if dash else range(1, int(first) + 1)
    if not seeds:
        raise ValueError(text)
    return seeds


class _Seeds(click.ParamType[range]):
    name = "N or FIRST-LAST"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> range:
        try:
            return parse_seeds(str(value))
        except ValueError:
            self.fail("Write how many seeds there shall be, as in 1000, or which, as in 7-9.", param, ctx)


@click.command()
@click.option(
    "--seeds", type=_Seeds(), default="200", show_default=True, help="How many seeds to run, or which."
)
@click.option(
    "--sessions",
    type=click.IntRange(1),
    default=SESSIONS,
    show_default=True,
    help="How many checkouts there are in a run.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=default_processes,
    show_default="one a core",
    help="How many run at once.",
)
@click.option(
    "--spare", multiple=True, type=click.Choice(FAULTS), help="A fault that shall not happen. Repeatable."
)
@click.option("--log", is_flag=True, help="Print everything that happens; for a single seed.")
def main(seeds: range, sessions: int, processes: int, spare: tuple[str, ...], *, log: bool) -> None:
    """Run whole days of payments in memory, each named by its seed, with every kind of fault.

    After each run the invariants of the ledger are checked, and the truth that only the simulated M-Pesa knows. A seed
    that fails is printed with a smaller run that fails as well. Ends with 1 where anything is wrong.
    """
    if len(seeds) == 1:
        outcome = run(Plan(seeds[0], sessions, frozenset(spare)))
        _tell_one(outcome, log=log)
        sys.exit(1 if outcome.violations else 0)
    summary, seconds = run_all(seeds, sessions, processes)
    for line in summary.lines(seconds, processes):
        click.echo(line)
    for seed, violations in sorted(summary.failed.items())[:MAX_TOLD]:
        click.echo(f"\nseed {seed} fails, with {len(violations)} violations:")
        _tell_one(shrink(Plan(seed, sessions)), log=False)
    sys.exit(1 if summary.failed else 0)


def _tell_one(outcome: Outcome, *, log: bool) -> None:
    if log:
        click.echo(outcome.log_text(), nl=False)
    for violation in outcome.violations[:MAX_TOLD]:
        click.echo(f"  {violation}")
    plan = outcome.plan
    spared = "".join(f" --spare {fault}" for fault in sorted(plan.spared))
    click.echo(
        f"{outcome.sessions} sessions, {outcome.events} events, {len(outcome.violations)} violations; "
        f"SHA-256 of the log: {outcome.log_digest()}"
    )
    click.echo(
        f"again, with all that happens: .venv/bin/python -m tests.simulation --seeds {plan.seed}-{plan.seed}"
        f" --sessions {plan.checkouts}{spared} --log"
    )


if __name__ == "__main__":
    main()

"""`python -m tests.simulation --seeds 1-1000`: simulate days of payments with faults, and report violations."""

import sys

import click

from tests.simulation.fault_odds import FAULTS
from tests.simulation.run import SESSIONS, Outcome, Plan, run
from tests.simulation.shrinking import shrink
from tests.simulation.summary import default_processes, run_all

MAX_PRINTED = 5


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
            self.fail("Give a number of seeds, such as 1000, or a range, such as 7-9.", param, ctx)


@click.command()
@click.option("--seeds", type=_Seeds(), default="200", show_default=True, help="Number or range of seeds.")
@click.option(
    "--sessions",
    type=click.IntRange(1),
    default=SESSIONS,
    show_default=True,
    help="Checkouts in a run.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=default_processes,
    show_default="one a core",
    help="Runs in parallel.",
)
@click.option(
    "--disable", multiple=True, type=click.Choice(FAULTS), help="A fault to switch off. Repeatable."
)
@click.option("--log", is_flag=True, help="Print the log of the run; for a single seed.")
def main(seeds: range, sessions: int, processes: int, disable: tuple[str, ...], *, log: bool) -> None:
    """Run whole days of payments in memory with injected faults, one run a seed.

    After each run the ledger's invariants are checked, and its books against those of the simulated M-Pesa. A failing
    seed is printed with a smaller run that fails too. Exit code 1 on any violation.
    """
    if len(seeds) == 1:
        outcome = run(Plan(seeds[0], sessions, frozenset(disable)))
        _print_outcome(outcome, log=log)
        sys.exit(1 if outcome.violations else 0)
    summary, seconds = run_all(seeds, sessions, processes)
    for line in summary.lines(seconds, processes):
        click.echo(line)
    for seed, violations in sorted(summary.failed.items())[:MAX_PRINTED]:
        click.echo(f"\nseed {seed} fails, with {len(violations)} violations:")
        _print_outcome(shrink(Plan(seed, sessions)), log=False)
    sys.exit(1 if summary.failed else 0)


def _print_outcome(outcome: Outcome, *, log: bool) -> None:
    if log:
        click.echo(outcome.log_text(), nl=False)
    for violation in outcome.violations[:MAX_PRINTED]:
        click.echo(f"  {violation}")
    plan = outcome.plan
    disabled = "".join(f" --disable {fault}" for fault in sorted(plan.disabled))
    click.echo(
        f"{outcome.sessions} sessions, {outcome.events} events, {len(outcome.violations)} violations; "
        f"SHA-256 of the log: {outcome.log_digest()}"
    )
    click.echo(
        f"repeat it with its log: .venv/bin/python -m tests.simulation --seeds {plan.seed}-{plan.seed}"
        f" --sessions {plan.checkouts}{disabled} --log"
    )


if __name__ == "__main__":
    main()

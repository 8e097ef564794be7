"""`daftari verify`: check every invariant of the log and of everything derived from it."""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from time import monotonic

import click

from api.cli.failures import IMPOSSIBLE

MOST_BY_DEFAULT = 8
"""Each process takes two of PostgreSQL's connections, which payments need too."""


@click.command(short_help="Check every invariant over the whole database.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as a JSON object, violations included.")
@click.option(
    "--kept-block",
    "kept",
    multiple=True,
    metavar="NAME",
    help="The name of a signed block that an earlier run printed, to check that it is unchanged. Can be repeated.",
)
@click.option(
    "--incremental",
    is_flag=True,
    help="Read only sessions with events since the last run that found nothing wrong, and compare older events with "
    "the signed blocks.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: min(MOST_BY_DEFAULT, len(os.sched_getaffinity(0))),
    show_default=f"one for each core, {MOST_BY_DEFAULT} at most",
    help="How many processes share the work.",
)
@click.pass_context
def verify(
    context: click.Context, as_json: bool, kept: tuple[str, ...], incremental: bool, processes: int
) -> None:
    """Fold the log and compare it with everything derived from it.

    Checks receipts, amounts, orders, transitions, inbound messages, projections, metrics, refunds, cases, hashes,
    signed blocks, phone locks, personal data and stock. Changes no payment data and can run beside a live system; the
    run is recorded for auditors (`GET /api/audit/invariants/`). Prints one line for each violation. Exits with 0 if
    every invariant holds, with 1 if one does not.

    With --incremental, events below the last signed block of an earlier run are compared with the blocks: one that was
    added, removed, moved or given another hash is found. What only a whole run finds: content of an old event that
    was changed under its hash, a changed row of an old session that leaves the sums and the figures of its hour as
    they were, personal data in other tables than the log, and two prompts on one phone around the block.

    The last line names the last signed block. Keep it where those who can write to the database cannot change it:
    passed back as --kept-block, it proves that everything up to that block is unchanged.

    \b
    Example: verify every night
      daftari verify || mail -s "Daftari: an invariant is violated" you@example.co.ke
    """
    from api.cli.opened import open_database
    from ledger.store.blocks import Blocks, KeptName
    from ledger.store.vault import Vault
    from payments.verification.verifier import Verifier, open_store
    from projections.integrity.processes import Processes
    from projections.integrity.verification_runs import Form

    names = [KeptName.parse(name) for name in kept]
    with open_database(logging.CRITICAL) as (settings, database):
        last = Blocks(database).last()
        vault, prompt_seconds = Vault(database, settings.daftari_master_key), settings.daftari_prompt_seconds
        opened = partial(
            open_store, settings.database_url, settings.daftari_app_role, settings.daftari_master_key
        )
        run = Verifier(database, vault, prompt_seconds=prompt_seconds, every=timedelta()).run(
            names,
            form=Form.INCREMENTAL if incremental else Form.WHOLE,
            processes=Processes(processes, opened) if processes > 1 else None,
            on_progress=_progress(),
        )
    last_name = last.name if last else None
    if as_json:
        click.echo(json.dumps(asdict(run) | {"last_block": last_name}, indent=2, default=str))
    else:
        for violation in run.violations:
            session = f"session {violation['session_id']}: " if violation["session_id"] else ""
            click.echo(f"{violation['rule']}: {session}{violation['told']}")
        if not run.violations:
            held = f"All invariants hold, over {run.events} events."
            click.echo(held if run.events else "Nothing was checked: the log has no event yet.")
        if last_name:
            click.echo(f"The last signed block: {last_name}")
    if run.violations:
        context.exit(IMPOSSIBLE)


def _progress() -> Callable[[int], None]:
    """Return what shows on a terminal, once a second, how many events were read."""
    shown_at = monotonic()

    def show(events: int) -> None:
        nonlocal shown_at
        if sys.stderr.isatty() and monotonic() - shown_at >= 1:
            shown_at = monotonic()
            click.echo(f"\r{events:,} events are read.\x1b[K", nl=False, err=True)

    return show

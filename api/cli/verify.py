"""`daftari verify`: check every invariant of the log and of everything derived from it."""

import json
import logging
from dataclasses import asdict
from datetime import timedelta

import click

from api.cli.failures import IMPOSSIBLE


@click.command(short_help="Check every invariant over the whole database.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as a JSON object, violations included.")
@click.option(
    "--kept-block",
    "kept",
    multiple=True,
    metavar="NAME",
    help="The name of a signed block that an earlier run printed, to check that it is unchanged. Can be repeated.",
)
@click.pass_context
def verify(context: click.Context, as_json: bool, kept: tuple[str, ...]) -> None:
    """Fold the whole log and compare it with everything derived from it.

    Checks receipts, amounts, orders, transitions, inbound messages, projections, metrics, refunds, cases, hashes,
    signed blocks, phone locks, personal data and stock. Changes no payment data and can run beside a live system; the
    run is recorded for auditors (`GET /api/audit/invariants/`). Prints one line for each violation. Exits with 0 if
    every invariant holds, with 1 if one does not.

    The last line names the last signed block. Keep it where those who can write to the database cannot change it:
    passed back as --kept-block, it proves that everything up to that block is unchanged.

    \b
    Example: verify every night
      daftari verify || mail -s "Daftari: an invariant is violated" you@example.co.ke
    """
    from api.cli.opened import open_database
    from ledger.store.blocks import Blocks, KeptName
    from ledger.store.vault import Vault
    from payments.verification.verifier import Verifier

    names = [KeptName.parse(name) for name in kept]
    with open_database(logging.CRITICAL) as (settings, database):
        last = Blocks(database).last()
        vault, prompt_seconds = Vault(database, settings.daftari_master_key), settings.daftari_prompt_seconds
        run = Verifier(database, vault, prompt_seconds=prompt_seconds, every=timedelta()).run(names)
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

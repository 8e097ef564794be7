"""`daftari verify`: do the books agree with one another?"""

import json
import logging
from dataclasses import asdict

import click

from api.cli.failures import IMPOSSIBLE, read_settings


@click.command(short_help="Check every invariant over the whole store.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as a JSON object, violations included.")
@click.option(
    "--kept-block",
    "kept",
    multiple=True,
    metavar="NAME",
    help="The name of a signed block that an earlier run printed: is it still there? May be repeated.",
)
@click.pass_context
def verify(context: click.Context, as_json: bool, kept: tuple[str, ...]) -> None:
    """Fold the whole log and compare it with everything made of it.

    Receipts, money, orders, transitions, letters, rows, metrics, refunds, cases, hashes, signed blocks, prompts,
    personal data and stock. Changes nothing of the books, and may run beside a working system; the run is kept for
    auditors (`GET /api/audit/invariants/`). Each counter-example is one line. Exit code 0 where all is well, 1 where
    something is not.

    It ends with the name of the last signed block. Keep that line where whoever can write to the database cannot: given
    back as --kept-block, it shows that everything up to that block is still as it was.

    \b
    Example: look every night
      daftari verify || mail -s "Daftari: the books do not agree" you@example.co.ke
    """
    from api.cli.verification import verify as verify_everything
    from api.http.middleware.logging import configure_logging
    from ledger.store.blocks import KeptName

    settings = read_settings()
    configure_logging(
        settings.daftari_log_format, lowest_level=logging.CRITICAL
    )  # What was found is the output.
    run, last_block = verify_everything(settings, [KeptName.parse(name) for name in kept])
    last_name = last_block.name if last_block else None
    if as_json:
        click.echo(json.dumps(asdict(run) | {"last_block": last_name}, indent=2, default=str))
    else:
        for violation in run.violations:
            of = f"session {violation['session_id']}: " if violation["session_id"] else ""
            click.echo(f"{violation['rule']}: {of}{violation['told']}")
        if not run.violations:
            click.echo(f"All invariants hold, over {run.events} events.")
        if last_name:
            click.echo(f"The last signed block: {last_name}")
    if run.violations:
        context.exit(IMPOSSIBLE)

"""`daftari verify`: do the books agree with one another?"""

import json
import logging
from dataclasses import asdict

import click

from api.cli.failures import IMPOSSIBLE, read_settings


@click.command(short_help="Check every invariant over the whole store.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as a JSON object, violations included.")
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Fold the whole log and compare it with everything made of it.

    Receipts, money, orders, transitions, letters, rows, metrics, refunds, cases, hashes, prompts, personal data and
    stock. Changes nothing of the books, and may run beside a working system; the run is kept for auditors
    (`GET /api/audit/invariants/`). Each counter-example is one line. Exit code 0 where all is well, 1 where something
    is not.

    \b
    Example: look every night
      daftari verify || mail -s "Daftari: the books do not agree" you@example.co.ke
    """
    from api.http.logging import configure_logging
    from api.machine.verifying import verify as verify_everything

    settings = read_settings()
    configure_logging(
        settings.daftari_log_format, lowest_level=logging.CRITICAL
    )  # What was found is the output.
    run = verify_everything(settings)
    if as_json:
        click.echo(json.dumps(asdict(run), indent=2, default=str))
    else:
        for violation in run.violations:
            of = f"session {violation['session_id']}: " if violation["session_id"] else ""
            click.echo(f"{violation['rule']}: {of}{violation['told']}")
        if not run.violations:
            click.echo(f"All invariants hold, over {run.events} events.")
    if run.violations:
        context.exit(IMPOSSIBLE)

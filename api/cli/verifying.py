"""`daftari verify`: do the books agree with one another?"""

import json

import click

from api.cli.failures import IMPOSSIBLE, read_settings


@click.command(short_help="Check every invariant over the whole store.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print what is wrong as a JSON list, empty where all is well."
)
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Fold the whole log and compare it with everything made of it: receipts, rows, metrics, orders, stock, hashes.

    Changes nothing, and may run beside a working system. Each counter-example is one line. Exit code 0 where all is
    well, 1 where something is not.

    \b
    Example: look every night
      daftari verify || mail -s "Daftari: the books do not agree" you@example.co.ke
    """
    from api.machine.verification import verify as verify_everything

    found = verify_everything(read_settings())
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for sentence in found or ["All invariants hold."]:
            click.echo(sentence)
    if found:
        context.exit(IMPOSSIBLE)

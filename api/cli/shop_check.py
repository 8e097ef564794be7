"""`daftari shop-check`: contract tests for a shop of one's own."""

import os
from collections.abc import Callable
from typing import TypeVar

import click

from api.cli.failures import IMPOSSIBLE, WRONG_SETTINGS, Failure

Value = TypeVar("Value")


@click.command(name="shop-check", short_help="Check your own shop against the contract.")
@click.argument("url")
@click.option("--user", default="1", show_default=True, help="A user of the shop with something in the cart.")
@click.pass_context
def shop_check(context: click.Context, url: str, user: str) -> None:
    """Check the shop that answers at URL, rule by rule, with the secret of DAFTARI_SHOP_SECRET.

    It makes a few orders there and returns their goods: name a shop for tests. Ends with 1 if a rule is broken. The
    rules are in docs/http-shop.md.

    \b
    Example
      DAFTARI_SHOP_SECRET=whsec_... daftari shop-check http://127.0.0.1:8100/daftari --user 7
    """
    from api.setting_values import signing_secrets
    from api.setting_values import url as parse_url
    from api.shop_wiring import contract_check

    secrets = _read("DAFTARI_SHOP_SECRET", signing_secrets, os.environ.get("DAFTARI_SHOP_SECRET", ""))
    broken = 0
    for checked in contract_check(_read("URL", parse_url, url), secrets, user).run():
        broken += checked.problem is not None
        mark = click.style("✓", fg="green") if checked.problem is None else click.style("✗", fg="red")
        click.echo(f"{mark} {checked.rule}" + (f" But {checked.problem}." if checked.problem else ""))
    if broken:
        context.exit(IMPOSSIBLE)


def _read(name: str, parse: Callable[[str], Value], text: str) -> Value:
    try:
        return parse(text)
    except ValueError as error:
        raise Failure(f"{name} {error}", WRONG_SETTINGS) from error

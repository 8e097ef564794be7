"""`daftari token`: a bearer token for a user."""

import click

from api.cli.failures import read_settings

ROLES = ("customer", "auditor", "analyst", "operator")
MAX_MINUTES = 366 * 24 * 60


@click.command()
@click.option(
    "--user", type=click.IntRange(min=1), required=True, help="The user's number, the `sub` of the token."
)
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    default=("customer",),
    show_default=True,
    help="What the user may do; can be repeated.",
)
@click.option(
    "--minutes",
    type=click.IntRange(1, MAX_MINUTES),
    default=60,
    show_default=True,
    help="How long the token is valid.",
)
def token(user: int, roles: tuple[str, ...], minutes: int) -> None:
    """Print a bearer token for a user, and nothing else.

    \b
    Example: show the cart of user 7
      curl -H "Authorization: Bearer $(daftari token --user 7 --role customer)" localhost:8000/api/cart/
    """
    from api.issued_tokens import make_token

    click.echo(make_token(read_settings(), user, list(roles), minutes))

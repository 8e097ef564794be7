"""`daftari migrate` and `daftari demo-data`: the schema of a database, and a shop to try."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from api.cli.failures import Failure, read_settings

MAX_USERS = 1_000_000


@click.command(short_help="Migrate the database to this version.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the names of the applied migrations as a JSON list."
)
def migrate(as_json: bool) -> None:
    """Apply the migrations that this version needs.

    Migrations go forward only, and are safe while the previous version is running, unless the changelog says that it
    must be restarted. Each run gives the application's role its rights anew; running it again changes nothing else.

    \b
    Example
      DAFTARI_MIGRATION_URL=postgresql://daftari_migrator:secret@db/daftari daftari migrate
    """
    from api.local.databases import migrate_database

    settings = read_settings()
    applied = migrate_database(settings.migration_url, settings.roles)
    if as_json:
        click.echo(json.dumps(applied))
    elif applied:
        click.echo("\n".join(f"applied {name}" for name in applied))
    else:
        click.echo("The database is up to date.")


@click.command(name="demo-data", short_help="Fill the shop with demo data.")
@click.option(
    "--users",
    type=click.IntRange(1, MAX_USERS),
    default=1,
    show_default=True,
    help="How many buyers get a filled cart: users 1 to N.",
)
@click.option(
    "--tokens-file",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="Where to write one line of JSON for each buyer, with a token; - for standard output.",
)
@click.option(
    "--minutes",
    type=click.IntRange(min=1),
    default=24 * 60,
    show_default=True,
    help="How long the tokens are valid.",
)
def demo_data(users: int, tokens_file: Path | None, minutes: int) -> None:
    """Fill the shop with farms, listings, and buyers with filled carts.

    Fills empty carts and leaves the others alone. A line of the tokens file is
    {"auth": "Bearer ...", "user": 7, "county_id": 1, "subcounty_id": 5}.

    \b
    Example: a thousand buyers for a load test
      daftari demo-data --users 1000 --tokens-file buyers.jsonl
    """
    from api.cli.opened import open_database
    from api.issued_tokens import make_token
    from shop.demo import make_buyers

    if read_settings().is_production:
        raise Failure("Demo data is not for production: unset DAFTARI_MODE, or use another database.")
    with open_database() as (settings, database), _opened(tokens_file) as file:
        for buyer in make_buyers(database, 1, users):
            if file is not None:
                line = {
                    "auth": f"Bearer {make_token(settings, buyer.user_id, ['customer'], minutes)}",
                    "user": buyer.user_id,
                    "county_id": buyer.county_id,
                    "subcounty_id": buyer.subcounty_id,
                }
                file.write(json.dumps(line) + "\n")
    click.echo(f"The database has {users} buyers with filled carts.", err=True)


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    """Open the tokens file for its owner alone: a token lets anyone buy as its user."""
    if path is None:
        yield None
    elif str(path) == "-":
        yield sys.stdout
    else:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file

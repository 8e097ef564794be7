"""`daftari export-customer`: all that is held about a person, for that person."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from api.cli.erasure import USER
from api.cli.failures import Failure
from api.cli.users import number_of, user_argument


@click.command(name="export-customer", short_help="Write down for a person all that is held about them.")
@user_argument
@click.option("--by", type=USER, metavar="USER", required=True, help="The number of the person who does it.")
@click.option("--reason", required=True, help="Why. It is kept for ever: give no phone number and no name.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to make, which must not exist; customer-NUMBER.zip without it.",
)
def export_customer(user: str, by: int, reason: str, output: Path | None) -> None:
    """Write all that is held about USER into a zip: account.txt to read, and data.json.

    USER is a number, or the text by which the shop's tokens name the person. With each kind of data it says what they
    are, how long they are kept and why. Other people are left out. It is recorded in the audit log. After an erasure it
    says what is left and that it cannot be read any more. The file is readable by its owner alone; give it to the
    person in a safe way, then delete it.

    \b
    Examples
      daftari export-customer 7 --by 41 --reason "The customer asked by letter."
      daftari export-customer 7 --by 41 --reason "The customer asked by letter." -o /media/stick/7.zip
    """
    from api.cli.opened import open_database
    from api.personal_data import build_customer_export
    from ledger.store.vault import Vault

    with open_database() as (settings, database):
        vault = Vault(database, settings.daftari_master_key)
        user_id = number_of(user, database, vault)
        export, path = (
            build_customer_export(settings, database, vault),
            output or Path(f"customer-{user_id}.zip"),
        )
        with new_file(path) as file:
            counts = export.write(user_id, file, by=f"cli:user:{by}", reason=reason)
    held = ", ".join(f"{table} {count}" for table, count in counts.items() if count)
    click.echo(f"Written to {path}: {held or 'nothing is held'}")


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Create a file that its owner alone may read, and remove it if it does not become whole."""
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise Failure(f"{path} exists already; name another file with -o.") from None
    except OSError as error:
        raise Failure(f"{path} cannot be made: {error.strerror}.") from error
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise

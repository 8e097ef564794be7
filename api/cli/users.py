"""Users on the command line: by number, or by the text that the shop's tokens name them by."""

from typing import TYPE_CHECKING

import click

from api.cli.failures import Failure, is_text

if TYPE_CHECKING:
    from ledger.store.database import Database
    from ledger.store.vault import Vault

user_argument = click.argument("user", callback=is_text)
"""A number, or a text as in the `sub` of the user's tokens."""


def number_of(user: str, database: "Database", vault: "Vault") -> int:
    """Return the number of a user. Raises InvalidValue, and Failure if no token or checkout has named them."""
    from payments.users.user_ids import UserIds

    found = UserIds(database, vault).find(user)
    if found is None:
        raise Failure("There is no such user: no token and no checkout has named them, or they were erased.")
    return found

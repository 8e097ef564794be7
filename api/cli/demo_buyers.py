"""Demo data in a database that has the tables already."""

from collections.abc import Iterator

from ledger.store.database import Database
from shop.demo import Buyer, make_buyers


def make_demo_buyers(database_url: str, users: int) -> Iterator[Buyer]:
    """Stock the demo shop, give the users 1 to `users` a filled cart each, and yield them; take them all."""
    database = Database(database_url, max_connections=2)
    try:
        yield from make_buyers(database, 1, users)
    finally:
        database.close()

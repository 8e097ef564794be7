"""The invariants of the whole store, ledger, read side and shop together."""

from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection

from api.machine.databases import server_major
from api.settings import Settings
from ledger.store.database import Database
from ledger.store.vault import Vault
from projections.invariants import SHORTEST_PROMPT_SECONDS, ShopOrder, check
from shop import invariants as shop_invariants

ORDERS = "SELECT session_id, order_id, total_cents FROM shop_orders"


def verify(settings: Settings) -> list[str]:
    """Return a sentence for each invariant that a running system's database breaks; raise DatabaseProblem."""
    server_major(settings.database_url)
    database = Database(settings.database_url, most_connections=4)
    try:
        vault = Vault(database, settings.daftari_master_key)
        return violations(database, vault, at_rest=False, prompt_seconds=settings.daftari_prompt_seconds)
    finally:
        database.close()


def violations(
    database: Database,
    vault: Vault | None = None,
    *,
    known_texts: Iterable[str] = (),
    at_rest: bool = True,
    prompt_seconds: int = SHORTEST_PROMPT_SECONDS,
) -> list[str]:
    """Return a sentence for each thing that is wrong in ledger, read side and shop; see projections.invariants."""
    of_ledger = check(
        database,
        vault,
        known_texts=known_texts,
        orders_of=orders_of_shop,
        at_rest=at_rest,
        prompt_seconds=prompt_seconds,
    )
    with database.transaction() as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        of_shop = shop_invariants.check(connection)
    return [str(violation) for violation in of_ledger] + of_shop


def orders_of_shop(connection: Connection[Any]) -> Iterator[ShopOrder]:
    """Read the orders of the built-in shop."""
    for row in connection.execute(ORDERS):
        yield ShopOrder(row["session_id"], row["order_id"], row["total_cents"])

"""Faults of the shop: a trigger by which it refuses every order, and listings that somebody holds."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

REFUSES_ORDERS = """
CREATE FUNCTION refuse_to_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the shop is broken' USING ERRCODE = '{code}';
END
$$;
CREATE TRIGGER breaks BEFORE INSERT ON shop_orders FOR EACH ROW EXECUTE FUNCTION refuse_to_work()
"""


@contextmanager
def listings_held(database_url: str) -> Iterator[None]:
    """Hold all listings: a callback that comes meanwhile does not wait for them, and leaves its order to the worker."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT FROM shop_listings ORDER BY listing_id FOR NO KEY UPDATE")
        yield
        connection.rollback()

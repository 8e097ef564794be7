"""The shop's orders are what the events say, and no order is made without its money."""

from uuid import UUID

import psycopg

from ledger.application import Ledger
from ledger.store.database import Database
from payments.verification.verifier import violations
from tests.support.checkouts import Checkout

PLACE = """
INSERT INTO shop_orders (order_id, order_number, session_id, user_id, items_cents, delivery_fee_cents, rounding_cents,
                         total_cents, sealed_delivery_details, placed_at)
OVERRIDING SYSTEM VALUE VALUES (%s, 'ORD-20240115-' || %s, %s, 7, %s, 0, 0, %s, 'v2.', '2024-01-15T10:31:00Z')
"""


def place(database: Database, order_id: int, session_id: UUID, total_cents: int = 350_00) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(PLACE, (order_id, order_id, session_id, total_cents, total_cents))


def of_orders(database: Database) -> list[tuple[UUID | None, str]]:
    return [(each.session_id, each.detail) for each in violations(database) if each.rule == "orders"]


def test_an_order_without_its_money_is_reported(ledger: Ledger, database: Database) -> None:
    ordered, unpaid = Checkout(ledger).prompt().pay().order(789), Checkout(ledger).prompt()
    place(database, 789, ordered.session_id)
    assert of_orders(database) == []
    place(database, 790, unpaid.session_id)
    assert of_orders(database) == [(unpaid.session_id, "order 790 was made without its money")]


def test_an_order_of_no_session_is_reported(database: Database) -> None:
    place(database, 790, UUID(int=1))
    assert of_orders(database) == [(UUID(int=1), "order 790 was made without its money")]


def test_an_order_that_the_shop_lost_is_reported(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).prompt().pay().order(789).session_id
    assert of_orders(database) == [(session_id, "its order is not in the shop")]


def test_an_order_that_is_not_what_its_events_say_is_reported(ledger: Ledger, database: Database) -> None:
    other_total, other_id = (
        Checkout(ledger).prompt().pay(receipt).order(789) for receipt in ("NLJ1", "NLJ2")
    )
    place(database, 789, other_total.session_id, 349_00)
    place(database, 790, other_id.session_id)
    assert sorted(detail for _, detail in of_orders(database)) == [
        "order 789 is not what its events say",
        "order 790 is not what its events say",
    ]


def test_a_paid_session_may_wait_for_the_record_of_its_order(ledger: Ledger, database: Database) -> None:
    place(database, 1, Checkout(ledger).prompt().pay().session_id)
    assert of_orders(database) == []

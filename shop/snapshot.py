"""A line of a cart, as the shop says it and as the ledger writes it down."""

from ledger.session.cart import SnapshotLine
from shop.port import CartLine


def snapshot(line: CartLine) -> SnapshotLine:
    """Return a line of the shop's cart as the ledger writes it down."""
    return SnapshotLine(
        line.cart_item_id,
        line.listing_id,
        line.product_name,
        line.farm_name,
        line.quantity_thousandths,
        line.price_cents,
        line.subtotal_cents,
        line.unit_of_measure,
    )


def cart_line(line: SnapshotLine) -> CartLine:
    """Return a line of the ledger as the shop knows it."""
    return CartLine(
        line.cart_item_id,
        line.listing_id,
        line.product_name,
        line.farm_name,
        line.quantity_thousandths,
        line.price_cents,
        line.unit_of_measure,
    )

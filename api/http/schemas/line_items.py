"""Goods as they are shown everywhere: in the catalogue's carts, in sessions, in orders."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from marshmallow import fields

from api.http.framework.json import amount, quantity
from api.http.schemas.fields import ResponseSchema
from ledger.money import THOUSANDTHS_PER_UNIT
from ledger.session.cart import SnapshotLine
from shop.port import CartLine, OrderItem

LineItems = CartLine | SnapshotLine | OrderItem


class CartItem(ResponseSchema):
    """A line of the cart as it stood."""

    cart_item_id = fields.Integer()
    listing_id = fields.Integer()
    product_name = fields.String()
    farm_name = fields.String()
    quantity = fields.Decimal()
    price_at_addition = fields.Decimal()
    subtotal = fields.Decimal()
    unit_of_measure = fields.String()


def show_item(line: CartLine | SnapshotLine) -> dict[str, Any]:
    """Return a line of a cart in the guide's shape."""
    return {"cart_item_id": line.cart_item_id, **show_line_items(line)}


def show_line_items(line: LineItems) -> dict[str, Any]:
    """Return so much of one listing at its price, as the guide shows it."""
    return {
        "listing_id": line.listing_id,
        "product_name": line.product_name,
        "farm_name": line.farm_name,
        "quantity": quantity(line.quantity_thousandths),
        "price_at_addition": amount(line.price_cents),
        "subtotal": amount(line.subtotal_cents),
        "unit_of_measure": line.unit_of_measure,
    }


def count_items(lines: Sequence[LineItems]) -> Decimal:
    """Return the sum of the quantities, without decimals where it is whole: 2 kg and 1.5 kg are 3.5."""
    thousandths = sum(line.quantity_thousandths for line in lines)
    units, rest = divmod(thousandths, THOUSANDTHS_PER_UNIT)
    return quantity(thousandths) if rest else Decimal(units)

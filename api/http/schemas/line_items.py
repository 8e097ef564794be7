"""Line items as carts, sessions and orders show them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from marshmallow import fields

from api.http.framework.json import amount, quantity
from api.http.schemas.fields import ResponseSchema
from ledger.money import THOUSANDTHS_PER_UNIT
from ledger.session.cart import SnapshotLine
from ledger.store.caller_texts import LineTexts
from shop.port import CartLine, OrderItem

LineItem = CartLine | SnapshotLine | OrderItem


class CartItem(ResponseSchema):
    """A line of a cart, or of a checkout of a server, which has neither item nor listing."""

    cart_item_id = fields.Integer(allow_none=True)
    listing_id = fields.Integer(allow_none=True)
    product_name = fields.String()
    farm_name = fields.String()
    quantity = fields.Decimal()
    price_at_addition = fields.Decimal()
    subtotal = fields.Decimal()
    unit_of_measure = fields.String()


def show_item(line: CartLine | SnapshotLine, texts: LineTexts | None = None) -> dict[str, Any]:
    """Return a line of a cart in the contract's form, by its caller's `texts` if there are any."""
    shown = {"cart_item_id": line.cart_item_id, **show_line_item(line)}
    if texts is not None:
        names = {"product_name": texts.name, "unit_of_measure": texts.unit or ""}
        shown |= {**names, "product_id": texts.product_id}
    return shown


def show_line_item(line: LineItem) -> dict[str, Any]:
    """Return a line item in the contract's form, amounts in shillings."""
    return {
        "listing_id": line.listing_id,
        "product_name": line.product_name,
        "farm_name": line.farm_name,
        "quantity": quantity(line.quantity_thousandths),
        "price_at_addition": amount(line.price_cents),
        "subtotal": amount(line.subtotal_cents),
        "unit_of_measure": line.unit_of_measure,
    }


def count_items(lines: Sequence[LineItem]) -> Decimal:
    """Return the sum of the quantities, without decimals if it is whole: 2 kg and 1.5 kg are 3.5."""
    thousandths = sum(line.quantity_thousandths for line in lines)
    units, rest = divmod(thousandths, THOUSANDTHS_PER_UNIT)
    return quantity(thousandths) if rest else Decimal(units)

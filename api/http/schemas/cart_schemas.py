"""The schemas of a cart, with the keys that the checkout contract gives a cart in a session."""

from decimal import Decimal
from typing import Any

from marshmallow import fields

from api.http.framework.json import amount, amount_text
from api.http.schemas.decimals import DecimalField
from api.http.schemas.fields import RequestSchema, ResponseSchema
from api.http.schemas.line_items import CartItem, count_items, show_item
from ledger.money import Money
from shop.port import Cart
from shop.quantities import MAX_UNITS


class CartItemRequest(RequestSchema):
    """How much of a listing the cart is to hold."""

    quantity = DecimalField(
        required=True,
        decimals=3,
        least=Decimal("0.001"),
        most=Decimal(MAX_UNITS),
        metadata={
            "example": "2",
            "description": "In the listing's unit; fractions only of what is weighed or poured.",
        },
    )


class ShownCart(ResponseSchema):
    """A cart and what it would cost now. `rounding` is what rounding to the shilling adds."""

    items = fields.List(fields.Nested(CartItem))
    total_items = fields.Decimal()
    total_cost = fields.Decimal(metadata={"example": Decimal("300.00")})
    delivery_fee = fields.String(metadata={"example": "50.00"})
    rounding = fields.Decimal(metadata={"example": Decimal("0.00")})
    total_amount = fields.String(metadata={"example": "350.00"})


def show_cart(cart: Cart, delivery_fee_cents: int) -> dict[str, Any]:
    """Return a cart with its total in whole shillings, as a session created now would charge it."""
    exact = Money(cart.goods_cents + delivery_fee_cents)
    total = exact.to_whole_shilling()
    return {
        "items": [show_item(line) for line in cart.lines],
        "total_items": count_items(cart.lines),
        "total_cost": amount(cart.goods_cents),
        "delivery_fee": amount_text(delivery_fee_cents),
        "rounding": amount((total - exact).cents),
        "total_amount": amount_text(total.cents),
    }

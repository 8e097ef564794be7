"""Orders of the caller. Payments create them; they are read-only here."""

from typing import Any

from marshmallow import fields

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.json import amount, amount_text
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.schemas.fields import Moment, ResponseSchema
from api.http.schemas.line_items import count_items, show_line_item
from api.http.schemas.money_schemas import MoneyFields, show_money
from api.http.schemas.session_schemas import ShownDelivery
from api.issued_tokens import Role
from ledger.errors import NotFound
from ledger.session.status_row import money_of_order
from shop.port import Order

blueprint = ApiBlueprint("orders", __name__, description="The orders that were paid for.")


class OrderedItem(ResponseSchema):
    """One line of an order, as it was bought."""

    listing_id = fields.Integer(metadata={"example": 123})
    product_name = fields.String(metadata={"example": "Fresh Tomatoes"})
    farm_name = fields.String(metadata={"example": "Green Valley Farm"})
    quantity = fields.Decimal()
    price_at_addition = fields.Decimal()
    subtotal = fields.Decimal()
    unit_of_measure = fields.String(metadata={"example": "kg"})


class ShownOrder(MoneyFields):
    """An order. `delivery_details` is null once the buyer's personal data have been erased."""

    order_id = fields.Integer(metadata={"example": 789})
    order_number = fields.String(metadata={"example": "ORD-20240115-001"})
    order_status = fields.String(metadata={"example": "confirmed"})
    payment_status = fields.String(metadata={"example": "paid"})
    session_id = fields.UUID()
    items = fields.List(fields.Nested(OrderedItem))
    total_items = fields.Decimal()
    total_cost = fields.Decimal()
    delivery_fee = fields.String(metadata={"example": "50.00"})
    rounding = fields.Decimal()
    total_amount = fields.String(metadata={"example": "350.00"})
    delivery_details = fields.Nested(ShownDelivery, allow_none=True)
    created_at = Moment()


@blueprint.route("/api/orders/<int:order_id>/", methods=["GET"])
@require_role(Role.CUSTOMER)
@blueprint.refuses("NO_BUILTIN_SHOP")
@blueprint.response(200, ShownOrder)
def show_own_order(order_id: int) -> dict[str, Any]:
    """Show an order of the caller."""
    services = current_services()
    order = services.builtin_shop.order_of(caller().user_id, order_id)
    if order is None:  # One from before the shop was another's stays its buyer's to read.
        services.require_builtin_shop()
        raise NotFound("You have no such order.")
    session = services.ledger.session(order.session_id)
    receipt = session.paid.receipt if session.paid else None
    return _shown(order) | show_money(receipt, money_of_order(session))


def _shown(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "order_number": order.order_number,
        "order_status": order.order_status,
        "payment_status": order.payment_status,
        "session_id": order.session_id,
        "items": [show_line_item(item) for item in order.items],
        "total_items": count_items(order.items),
        "total_cost": amount(order.items_cents),
        "delivery_fee": amount_text(order.delivery_fee_cents),
        "rounding": amount(order.rounding_cents),
        "total_amount": amount_text(order.total_cents),
        "delivery_details": order.delivery_details,
        "created_at": order.placed_at,
    }

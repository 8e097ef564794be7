"""The caller's cart. Adding to it reserves no stock."""

from decimal import Decimal
from typing import Any

from api.http.framework.blueprint import ApiBlueprint
from api.http.framework.services import current_services
from api.http.middleware.auth import caller, require_role
from api.http.schemas.cart_schemas import CartItemRequest, ShownCart, show_cart
from api.issued_tokens import Role
from shop.port import Cart

blueprint = ApiBlueprint("cart", __name__, description="The caller's cart.")


@blueprint.route("/api/cart/", methods=["GET"])
@require_role(Role.CUSTOMER)
@blueprint.refuses("NO_BUILTIN_SHOP")
@blueprint.response(200, ShownCart)
def show_own_cart() -> dict[str, Any]:
    """Show the caller's cart, and what it would cost."""
    return _shown(current_services().shop.cart_of(caller().user_id))


@blueprint.route("/api/cart/items/<int:listing_id>/", methods=["PUT"])
@require_role(Role.CUSTOMER)
@blueprint.arguments(CartItemRequest)
@blueprint.refuses("LISTING_NOT_FOUND", "CART_FULL", "NO_BUILTIN_SHOP")
@blueprint.response(200, ShownCart)
def put_item(item: dict[str, Any], listing_id: int) -> dict[str, Any]:
    """Put a product into the cart, or change how much of it.

    The cart then holds exactly this quantity, at today's price. Answers with the whole cart.
    """
    quantity: Decimal = item["quantity"]
    return _shown(current_services().shop.carts.put_line(caller().user_id, listing_id, str(quantity)))


@blueprint.route("/api/cart/items/<int:listing_id>/", methods=["DELETE"])
@require_role(Role.CUSTOMER)
@blueprint.refuses("NO_BUILTIN_SHOP")
@blueprint.response(200, ShownCart)
def delete_item(listing_id: int) -> dict[str, Any]:
    """Take a product out of the cart.

    Answers with the rest of the cart, also where there was no such product in it.
    """
    return _shown(current_services().shop.carts.delete_line(caller().user_id, listing_id))


def _shown(cart: Cart) -> dict[str, Any]:
    return show_cart(cart, current_services().shop.delivery_fee_cents(cart))

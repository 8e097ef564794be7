"""The cart as it stood when its payment session was created, and its totals."""

from dataclasses import dataclass

from ledger.errors import InvalidValue, Rejected
from ledger.money import CENTS_PER_SHILLING, Money


@dataclass(frozen=True)
class SnapshotLine:
    """One line of a cart: amounts in cents, the quantity in thousandths of `unit_of_measure`.

    A line that did not come from a cart of the shop has neither item nor listing, and the name that its caller gave
    it, encrypted, in place of those of product and farm, which are empty.
    """

    cart_item_id: int | None
    listing_id: int | None
    product_name: str
    farm_name: str
    quantity_thousandths: int
    price_cents: int
    subtotal_cents: int
    unit_of_measure: str
    name_sealed: str | None = None


@dataclass(frozen=True)
class Totals:
    """What a session asks for, in cents; goods + delivery fee + rounding = total, a whole number of shillings."""

    goods_cents: int
    delivery_fee_cents: int
    rounding_cents: int
    total_cents: int


def subtotal_cents(price_cents: int, quantity_thousandths: int) -> int:
    """Return price times quantity, rounded half up to the cent."""
    return Money(price_cents).times_thousandths(quantity_thousandths).cents


def add_up(lines: tuple[SnapshotLine, ...], delivery_fee_cents: int, max_shillings: int) -> Totals:
    """Return the totals of a cart, rounded half up to the shilling because M-Pesa takes whole shillings.

    Raises Rejected CART_EMPTY without lines, and InvalidValue AMOUNT_OUT_OF_RANGE if the goods cost nothing or the
    total is not a payment of 1 to `max_shillings` shillings.
    """
    if not lines:
        raise Rejected("CART_EMPTY", "Your cart is empty. Put something in it before you check out.")
    goods_cents = sum(line.subtotal_cents for line in lines)
    if goods_cents <= 0:  # A delivery alone is no order: the shop would refuse it once it was paid.
        raise InvalidValue(
            "The goods in your cart come to 0.00 shillings, and cannot be ordered. Please take more of them.",
            code="AMOUNT_OUT_OF_RANGE",
        )
    exact = Money(goods_cents + delivery_fee_cents)
    total = exact.to_whole_shilling()
    if not CENTS_PER_SHILLING <= total.cents <= max_shillings * CENTS_PER_SHILLING:
        raise InvalidValue(
            f"The total of {total} shillings cannot be paid at once by M-Pesa, which takes 1 to {max_shillings:,}."
            " Please change your cart.",
            code="AMOUNT_OUT_OF_RANGE",
        )
    return Totals(goods_cents, delivery_fee_cents, (total - exact).cents, total.cents)

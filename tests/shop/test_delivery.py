import pytest

from shop.delivery import DeliveryRates
from shop.port import Cart, CartLine


def cart(price_cents: int, thousandths: int, unit_weight_grams: int = 1_000) -> Cart:
    return Cart(
        (CartLine(1, 123, "Fresh Tomatoes", "A Farm", thousandths, price_cents, "kg", unit_weight_grams),)
    )


@pytest.mark.parametrize(
    ("items", "fee_cents"),
    [
        (cart(150_00, 2_000), 50_00),
        (cart(999_99, 1_000), 50_00),
        (cart(1_000_00, 1_000), 0),
        (cart(10_00, 10_000), 50_00),
        (cart(10_00, 10_001), 65_00),
        (cart(10_00, 20_000), 65_00),
        (cart(10_00, 20_001), 80_00),
        (cart(100_00, 100_000), 0),
        (cart(10_00, 50_000, unit_weight_grams=0), 50_00),
    ],
)
def test_the_fee_follows_value_first_and_then_weight(items: Cart, fee_cents: int) -> None:
    assert DeliveryRates().fee_cents(items) == fee_cents


def test_the_delivery_of_an_empty_cart_is_free() -> None:
    assert DeliveryRates().fee_cents(Cart()) == 0


def test_the_delivery_rates_are_settings() -> None:
    rates = DeliveryRates(free_from_cents=500_00, base_cents=100_00, heavy_above_grams=1_000)
    assert rates.fee_cents(cart(150_00, 2_000)) == 115_00
    assert rates.fee_cents(cart(250_00, 2_000)) == 0


def test_a_subtotal_is_rounded_half_up_to_the_cent() -> None:
    assert [cart(99_99, thousandths).goods_cents for thousandths in (50, 150, 250)] == [5_00, 15_00, 25_00]
    assert cart(1, 500).goods_cents == 1
    assert cart(1, 499).goods_cents == 0

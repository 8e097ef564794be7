"""What delivery costs: a flat fee, a surcharge for weight, nothing for a large enough order."""

from dataclasses import dataclass

from shop.port import Cart

MILLIGRAMS_PER_GRAM = 1_000


@dataclass(frozen=True, slots=True)
class DeliveryRates:
    """The rates of delivery, each of them a setting."""

    free_from_cents: int = 1_000_00
    base_cents: int = 50_00
    heavy_above_grams: int = 10_000
    heavy_surcharge_cents: int = 15_00
    very_heavy_above_grams: int = 20_000
    very_heavy_surcharge_cents: int = 30_00

    def fee_cents(self, cart: Cart) -> int:
        """Return the fee for this cart; the delivery of an empty one is free."""
        if not cart.lines or cart.goods_cents >= self.free_from_cents:
            return 0
        return self.base_cents + self._surcharge_cents(cart.weight_milligrams)

    def _surcharge_cents(self, weight_milligrams: int) -> int:
        if weight_milligrams > self.very_heavy_above_grams * MILLIGRAMS_PER_GRAM:
            return self.very_heavy_surcharge_cents
        if weight_milligrams > self.heavy_above_grams * MILLIGRAMS_PER_GRAM:
            return self.heavy_surcharge_cents
        return 0

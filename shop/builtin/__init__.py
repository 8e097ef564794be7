"""The built-in shop: catalogue, carts, places and orders in the ledger's own PostgreSQL."""

from ledger.store.database import Database
from ledger.store.parts import Part
from ledger.store.vault import Vault
from shop.builtin import carts
from shop.builtin.carts import Carts
from shop.builtin.catalogue import Catalogue
from shop.builtin.ordering import Orders
from shop.builtin.places import Places
from shop.delivery import DeliveryRates
from shop.port import Cart, Quote, Shortage, UnknownPlace


class BuiltinShop(Orders):
    """Implements `shop.port.Shop` on tables; `catalogue`, `carts` and `places` serve the shop's pages."""

    def __init__(self, database: Database, vault: Vault, rates: DeliveryRates | None = None) -> None:
        super().__init__(database, vault)
        self._rates = rates or DeliveryRates()
        self.catalogue = Catalogue(database)
        self.carts = Carts(database)
        self.places = Places(database)

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Quote the user's cart, empty if there is none, to a place."""
        return self._quote(*self.carts.with_shortages(user_id), county_id, subcounty_id)

    def cart_part(self, user_id: int) -> Part:
        """Return the part of a statement that reads the user's cart; `quote_of` knows its value."""
        return carts.cart_part(user_id)

    def quote_of(self, cart: str | None, county_id: int, subcounty_id: int) -> Quote:
        """Quote the cart that a `cart_part` read, to a place."""
        return self._quote(*carts.cart_of(cart), county_id, subcounty_id)

    def _quote(self, cart: Cart, shortages: tuple[Shortage, ...], county_id: int, subcounty_id: int) -> Quote:
        place = self.places.unknown(county_id, subcounty_id)
        lines = tuple(line.snapshot for line in cart.lines)
        return Quote(lines, self._rates.fee_cents(cart), place, shortages)

    def cart_of(self, user_id: int) -> Cart:
        """Return the user's cart, empty if there is none."""
        return self.carts.get(user_id)

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None if both exist and the subcounty is in the county."""
        return self.places.unknown(county_id, subcounty_id)

    def delivery_fee_cents(self, cart: Cart) -> int:
        """Return the delivery fee of a cart."""
        return self._rates.fee_cents(cart)

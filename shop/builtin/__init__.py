"""The built-in shop: catalogue, carts, places and orders in the ledger's own PostgreSQL."""

from ledger.store.database import Database
from ledger.store.vault import Vault
from shop.builtin.carts import Carts
from shop.builtin.catalogue import Catalogue
from shop.builtin.ordering import Orders
from shop.builtin.places import Places
from shop.delivery import DeliveryRates
from shop.port import Cart, Quote, UnknownPlace


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
        cart, shortages = self.carts.with_shortages(user_id)
        place = self.places.unknown(county_id, subcounty_id)
        return Quote(cart, self._rates.fee_cents(cart), place, shortages)

    def cart_of(self, user_id: int) -> Cart:
        """Return the user's cart, empty if there is none."""
        return self.carts.get(user_id)

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None if both exist and the subcounty is in the county."""
        return self.places.unknown(county_id, subcounty_id)

    def delivery_fee_cents(self, cart: Cart) -> int:
        """Return the delivery fee of a cart."""
        return self._rates.fee_cents(cart)

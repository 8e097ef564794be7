"""The one place that knows every concrete shop."""

from api.settings import Settings
from ledger.session.values import BUILTIN_SHOP, HTTP_SHOP, NO_SHOP
from ledger.store.database import Database
from ledger.store.vault import Vault
from shop.builtin import BuiltinShop
from shop.delivery import DeliveryRates
from shop.shops import Shops
from shop.without import NoShop


def build_shops(settings: Settings, builtin: BuiltinShop) -> Shops:
    """Return the shops of the settings. The built-in one and none are always there, for sessions that they have."""
    return Shops(
        {BUILTIN_SHOP: builtin, NO_SHOP: NoShop()},
        for_carts=settings.daftari_shop,
        for_checkouts=HTTP_SHOP if settings.daftari_shop == HTTP_SHOP else NO_SHOP,
    )


def build_builtin_shop(settings: Settings, database: Database, vault: Vault) -> BuiltinShop:
    """Return the built-in shop, with the delivery fees of the settings."""
    rates = DeliveryRates(
        free_from_cents=settings.daftari_free_delivery_from.cents,
        base_cents=settings.daftari_delivery_fee.cents,
        heavy_surcharge_cents=settings.daftari_delivery_surcharge_10kg.cents,
        very_heavy_surcharge_cents=settings.daftari_delivery_surcharge_20kg.cents,
    )
    return BuiltinShop(database, vault, rates)

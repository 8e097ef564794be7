"""The shops of a deployment, by the name that each session keeps of its own."""

from collections.abc import Mapping

from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import BUILTIN_SHOP, NO_SHOP
from shop.port import LocalShop, Order, Shop


class Shops:
    """The shops that this process knows. Safe to share between threads.

    `for_carts` is the name of the shop that new sessions of carts get, `for_checkouts` of new ones that a server makes.
    A session stays with its shop, whatever the settings say later.
    """

    def __init__(
        self, shops: Mapping[str, Shop], *, for_carts: str = BUILTIN_SHOP, for_checkouts: str = NO_SHOP
    ) -> None:
        self._shops = dict(shops)
        self.for_carts = for_carts
        self.for_checkouts = for_checkouts
        shop = shops[for_carts]
        self.local: LocalShop | None = shop if isinstance(shop, LocalShop) else None
        """The shop of carts if a command can read of it before it knows the session, in the same statement."""

    def named(self, name: str) -> Shop:
        """Return the shop of a session. Raises Unavailable SHOP_NOT_CONFIGURED while the settings name no such shop."""
        shop = self._shops.get(name)
        if shop is None:
            raise Unavailable(
                f"This payment belongs to a shop ({name}) that Daftari cannot reach now. "
                "Set DAFTARI_SHOP_URL and DAFTARI_SHOP_SECRET to its own until its payments have their orders.",
                code="SHOP_NOT_CONFIGURED",
                retry_after_seconds=60,
            )
        return shop

    def order_of(self, session: PaymentSession) -> Order | None:
        """Return the order of a session as its shop keeps it; None if there is none, or the shop shows none."""
        shop = self._shops.get(session.shop)
        if shop is None or session.order is None or session.order[0] is None:
            return None
        order = shop.order_of(session.user_id, session.order[0])
        return order if order is not None and order.session_id == session.id else None

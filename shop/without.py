"""No shop: a server made the payment and keeps the goods, so that a paid session is complete by itself."""

from collections.abc import Sequence
from uuid import UUID

from ledger.errors import Rejected
from ledger.phone import may_hold_phone
from ledger.session.cart import SnapshotLine
from shop.port import Order, OrderRequest, PlacedOrder, Quote, Sale, Shortage, UnknownPlace


class NoShop:
    """Implements `shop.port.Shop` where nobody makes orders. Its orders are facts of the ledger alone."""

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Raise Rejected NO_CARTS: there is nobody who has carts."""
        raise Rejected(
            "NO_CARTS", "There are no carts here: a server creates the payments, at /api/payments/checkouts/."
        )

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Return None: no place is wrong."""
        return None

    def shortages(self, sale: Sale) -> tuple[Shortage, ...]:
        """Return none: what is sold is the server's affair."""
        return ()

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Return the order without an id, under the caller's reference, else under the session's id.

        The number of an order is kept in the clear, for ever: a reference that may be a phone's is not.
        """
        reference = request.reference
        if reference is None or may_hold_phone(reference):
            reference = str(request.session_id)
        return PlacedOrder(None, reference)

    def rule_out_order(self, session_id: UUID, lines: Sequence[SnapshotLine]) -> PlacedOrder | None:
        """Return None: of an order and a refund the ledger itself lets one win."""
        return None

    def return_goods(self, session_id: UUID) -> bool:
        """Return False: there are no goods."""
        return False

    def order_of(self, user_id: int, order_id: int) -> Order | None:
        """Return None: there is no more to an order than its number."""
        return None

    def order_by_session(self, session_id: UUID) -> PlacedOrder | None:
        """Return None: an order is known by its event."""
        return None

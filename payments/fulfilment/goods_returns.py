"""Goods of a refunded order back on the shelf, where the operator who refunded it said so."""

from ledger.session.events import RefundDue
from projections.follower import Recorded
from shop.port import Shop


class GoodsReturns:
    """Tells the shop which orders' goods came back. The shop takes them once, so a repeat changes nothing."""

    name = "goods_returns"
    topics = (RefundDue.TOPIC,)

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def handle(self, recorded: Recorded) -> None:
        """Return the goods of the session's order, if a refund of it says so."""
        if recorded.state.get("restock"):
            self._shop.return_goods(recorded.session_id)

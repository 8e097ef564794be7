"""Goods of a refunded order back on the shelf, where the operator who refunded it said so."""

from ledger.application import Ledger
from ledger.session.events import RefundDue
from projections.follower import Recorded
from shop.shops import Shops


class GoodsReturns:
    """Tells each shop which orders' goods came back. A shop takes them once, so a repeat changes nothing."""

    name = "goods_returns"
    topics = (RefundDue.TOPIC,)

    def __init__(self, ledger: Ledger, shops: Shops) -> None:
        self._ledger = ledger
        self._shops = shops

    def handle(self, recorded: Recorded) -> None:
        """Return the goods of the session's order, if a refund of it says so."""
        if recorded.state.get("restock"):
            session = self._ledger.session(recorded.session_id)
            self._shops.named(session.shop).return_goods(session.id)

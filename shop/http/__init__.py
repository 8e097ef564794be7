"""A shop of one's own behind HTTP: Daftari asks it for quotes, stock and orders at one address, by signed requests."""

from collections.abc import Callable, Sequence
from uuid import UUID

from ledger.identifiers import UNNAMED_USERS
from ledger.session.cart import SnapshotLine
from shop.http import messages
from shop.http.calls import ShopCalls
from shop.port import Order, OrderRefused, OrderRequest, PlacedOrder, Quote, Sale, Shortage, UnknownPlace

UnknownPlaceOf = Callable[[int, int], UnknownPlace | None]


class HttpShop:
    """Implements `shop.port.Shop` by calls. Safe to share between threads.

    Places are those of `/api/places/`, of which `unknown_place` tells; the shop may refuse more of them in its quote.
    """

    def __init__(
        self, calls: ShopCalls, unknown_place: UnknownPlaceOf, user_of: Callable[[int], str]
    ) -> None:
        self._calls = calls
        self._unknown_place = unknown_place
        self._user_of = user_of

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Quote the user's cart, empty if there is none, to a place."""
        unknown = self.unknown_place(county_id, subcounty_id)
        if unknown is not None:
            return Quote((), 0, unknown, ())
        asked = {"user": self._user_of(user_id), "county_id": county_id, "subcounty_id": subcounty_id}
        return self._calls.ask("quote", asked, messages.QuoteAnswer, lambda answer: answer.quote)

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None if both exist and the subcounty is in the county."""
        return self._unknown_place(county_id, subcounty_id)

    def shortages(self, sale: Sale) -> tuple[Shortage, ...]:
        """Return what could not be sold now in these quantities; no stock is reserved."""
        return self._calls.ask(
            "shortages",
            messages.of_sale(sale),
            messages.ShortagesAnswer,
            lambda answer: tuple(line.shortage for line in answer.shortages),
        )

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session, once for each session. Raises OrderRefused."""
        user = None if request.user_id in UNNAMED_USERS else self._user_of(request.user_id)
        asked = messages.of_order(request, user)
        outcome = self._calls.ask("order", asked, messages.OrderAnswer, lambda answer: answer.outcome)
        if isinstance(outcome, OrderRefused):
            raise outcome
        return outcome

    def rule_out_order(self, session_id: UUID, lines: Sequence[SnapshotLine]) -> PlacedOrder | None:  # noqa: ARG002
        """Promise that this session gets no order any more; return its order if it has one."""
        return self._find("rule_out", session_id)

    def return_goods(self, session_id: UUID) -> bool:
        """Put the goods of a session's order back on the shelf, once; return whether they were not there yet."""
        asked = messages.of_session(session_id)
        return self._calls.ask("return_goods", asked, messages.ReturnAnswer, lambda answer: answer.returned)

    def order_of(self, user_id: int, order_id: int) -> Order | None:  # noqa: ARG002
        """Return None: the shop shows its orders by itself."""
        return None

    def order_by_session(self, session_id: UUID) -> PlacedOrder | None:
        """Return the order of a payment session, None if none was made."""
        return self._find("find_order", session_id)

    def _find(self, kind: str, session_id: UUID) -> PlacedOrder | None:
        return self._calls.ask(
            kind, messages.of_session(session_id), messages.FoundOrder, lambda answer: answer.placed
        )

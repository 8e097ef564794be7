"""Contract tests for a shop behind HTTP: each rule is a sentence, and a shop keeps it or does something else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from threading import Barrier
from typing import Any, TypeVar
from uuid import UUID, uuid4

from ledger import clock
from ledger.session.cart import add_up
from shop.http import HttpShop, messages
from shop.http.calls import NoAnswer, Send, ShopCalls
from shop.http.messages import AnswerNotUnderstood
from shop.port import ORDER_NOT_MADE, OrderRefused, OrderRequest, PlacedOrder, Quote

AT_ONCE = 8
RACES = 5
OLD = timedelta(minutes=10)
MAX_SHILLINGS = 10**7
COUNTY, SUBCOUNTY = 1, 5
DETAILS = {
    "full_name": "Contract Test",
    "phone_number": "0700000000",
    "county_id": COUNTY,
    "subcounty_id": SUBCOUNTY,
    "detailed_address": "Nowhere",
}

Value = TypeVar("Value")
Sign = Callable[[str, datetime, bytes], dict[str, str]]
"""Returns the headers that sign a message by its id, moment and body."""

Outcome = PlacedOrder | OrderRefused


class Broken(Exception):
    """The shop broke a rule; the argument says how."""


@dataclass(frozen=True)
class Checked:
    """A rule, and what the shop did instead; None if it kept it."""

    rule: str
    problem: str | None


class _PlainCalls(ShopCalls):
    """Calls the shop once, and lets every fault be seen."""

    def ask(
        self, kind: str, data: Mapping[str, Any], shape: type[Any], read: Callable[[Any], Value]
    ) -> Value:
        return read(self._answer(f"msg_{uuid4().hex}", kind, data, shape))


class _NeverOpen:
    def seconds_to_wait(self, now: datetime) -> None:
        """Let every call go."""

    def record_success(self) -> None:
        """Count nothing."""

    def record_failure(self, now: datetime) -> None:
        """Count nothing."""


class ContractCheck:
    """Checks one shop, in which `user` has something in the cart. It makes a few orders, and returns their goods."""

    def __init__(self, send: Send, sign: Sign, sign_wrongly: Sign, user: str) -> None:
        self._send, self._sign, self._sign_wrongly = send, sign, sign_wrongly
        calls = _PlainCalls(lambda *message: send(sign(*message), message[2]), _NeverOpen())
        self._shop = HttpShop(calls, lambda *_: None, lambda user_id: user if user_id else str(uuid4()))
        self._user = user
        self._ordered: UUID | None = None

    def run(self) -> Iterator[Checked]:
        """Check every rule in turn."""
        for rule, check in self._rules():
            try:
                check()
            except (Broken, NoAnswer, AnswerNotUnderstood) as broken:
                yield Checked(rule, str(broken))
            except OrderRefused as refused:
                yield Checked(rule, f"it refused the order: {refused.code}")
            else:
                yield Checked(rule, None)

    def _rules(self) -> Sequence[tuple[str, Callable[[], None]]]:
        return (
            ("A request without a signature is refused.", self._unsigned_is_refused),
            ("A request with another's signature is refused.", self._wrongly_signed_is_refused),
            ("A request whose body was changed is refused.", self._altered_is_refused),
            ("A request that was signed ten minutes ago is refused.", self._old_is_refused),
            ("A session that the shop does not know has no order.", self._unknown_session_has_no_order),
            ("A user without a cart is quoted an empty one.", self._unknown_user_has_empty_cart),
            (f"User {self._user} is quoted a cart that can be bought.", self._cart_can_be_bought),
            ("What is in it is not short.", self._nothing_is_short),
            ("Eight requests at once for one session make one order.", self._at_once_make_one_order),
            ("The same request later returns the same order.", self._later_is_the_same_order),
            ("The order of a session is found.", self._order_is_found),
            ("A session that has its order cannot be ruled out, and the order is returned.", self._has_order),
            ("The goods of an order go back on the shelf once.", self._goods_go_back_once),
            ("A session that was ruled out gets no order.", self._ruled_out_gets_no_order),
            ("Of an order and its ruling-out at once, one wins.", self._one_wins),
        )

    def _refuses(self, headers: Mapping[str, str], body: bytes) -> None:
        status, _ = self._send(headers, body)
        if not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Broken(f"it answered with status {status}")

    def _message(self, at: datetime) -> tuple[str, datetime, bytes]:
        return f"msg_{uuid4().hex}", at, messages.request_of("find_order", at, messages.of_session(uuid4()))

    def _unsigned_is_refused(self) -> None:
        self._refuses({}, self._message(clock.now())[2])

    def _wrongly_signed_is_refused(self) -> None:
        message = self._message(clock.now())
        self._refuses(self._sign_wrongly(*message), message[2])

    def _altered_is_refused(self) -> None:
        message = self._message(clock.now())
        self._refuses(self._sign(*message), message[2].replace(b"find_order", b"rule_out"))

    def _old_is_refused(self) -> None:
        message = self._message(clock.now() - OLD)
        self._refuses(self._sign(*message), message[2])

    def _unknown_session_has_no_order(self) -> None:
        self._expect(self._shop.order_by_session(uuid4()), None)

    def _unknown_user_has_empty_cart(self) -> None:
        self._expect(self._shop.quote(0, COUNTY, SUBCOUNTY).lines, ())

    def _cart_can_be_bought(self) -> None:
        quote = self._quote()
        if quote.shortages or quote.unknown_place:
            raise Broken("something is short, or the place is refused")

    def _nothing_is_short(self) -> None:
        self._expect(self._shop.shortages(self._request(uuid4())), ())

    def _at_once_make_one_order(self) -> None:
        session_id = uuid4()
        request = self._request(session_id)
        outcomes = _at_once([lambda: self._order(request)] * AT_ONCE)
        orders = {outcome for outcome in outcomes if isinstance(outcome, PlacedOrder)}
        refused = {outcome.code for outcome in outcomes if isinstance(outcome, OrderRefused)}
        if refused or len(orders) != 1:
            raise Broken(f"it made {len(orders)} orders, and refused with {', '.join(refused) or 'nothing'}")
        self._ordered, self._asked, [self._made] = session_id, request, orders

    def _later_is_the_same_order(self) -> None:
        self._expect(self._order(self._made_request()), self._made)

    def _order_is_found(self) -> None:
        self._expect(self._shop.order_by_session(self._made_request().session_id), self._made)

    def _has_order(self) -> None:
        self._expect(self._shop.rule_out_order(self._made_request().session_id, ()), self._made)

    def _goods_go_back_once(self) -> None:
        session_id = self._made_request().session_id
        self._expect([self._shop.return_goods(session_id) for _ in range(2)], [True, False])

    def _ruled_out_gets_no_order(self) -> None:
        session_id = uuid4()
        self._expect(self._shop.rule_out_order(session_id, ()), None)
        outcome = self._order(self._asked_again(session_id))
        if not isinstance(outcome, OrderRefused) or outcome.code != ORDER_NOT_MADE:
            raise Broken(f"it did not refuse the order with {ORDER_NOT_MADE}")
        self._expect(self._shop.order_by_session(session_id), None)

    def _one_wins(self) -> None:
        for _ in range(RACES):
            session_id = uuid4()
            request = self._asked_again(session_id)
            calls: list[Callable[[], Any]] = [
                lambda request=request: self._order(request),  # type: ignore[misc]
                lambda session_id=session_id: self._shop.rule_out_order(session_id, ()),  # type: ignore[misc]
            ]
            ordered, kept = _at_once(calls)
            made = ordered if isinstance(ordered, PlacedOrder) else None
            if made != kept or self._shop.order_by_session(session_id) != kept:
                raise Broken("money would go back for an order that was made, or stay for one that was not")
            if made is not None:
                self._shop.return_goods(session_id)

    def _order(self, request: OrderRequest) -> Outcome:
        try:
            return self._shop.create_order(request)
        except OrderRefused as refused:
            return refused

    def _quote(self) -> Quote:
        quote = self._shop.quote(1, COUNTY, SUBCOUNTY)
        if not quote.lines:
            raise Broken(f"put something into the cart of user {self._user} first, or name another by --user")
        return quote

    def _request(self, session_id: UUID) -> OrderRequest:
        quote = self._quote()
        totals = add_up(quote.lines, quote.delivery_fee_cents, MAX_SHILLINGS)
        return OrderRequest(
            session_id,
            1,
            quote.lines,
            totals.total_cents,
            totals.delivery_fee_cents,
            DETAILS,
            clock.now(),
            reference=quote.reference,
        )

    def _made_request(self) -> OrderRequest:
        if self._ordered is None:
            raise Broken("no order was made before")
        return self._asked

    def _asked_again(self, session_id: UUID) -> OrderRequest:
        """Return a request for the same goods for another session, not out of the cart, which is bought by now."""
        asked = self._made_request()
        lines = tuple(replace(line, cart_item_id=None) for line in asked.lines)
        return replace(asked, session_id=session_id, lines=lines)

    @staticmethod
    def _expect(found: object, wanted: object) -> None:
        if found != wanted:
            raise Broken(f"it answered {found!r}, where {wanted!r} is due")


def _at_once(calls: Sequence[Callable[[], Value]]) -> list[Value]:
    barrier = Barrier(len(calls))

    def together(call: Callable[[], Value]) -> Value:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(together, calls))

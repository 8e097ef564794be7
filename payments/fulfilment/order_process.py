"""The order process: Paid → the order in the shop → OrderCreated; if there can be none → Failed and RefundDue."""

import json
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Append, Ledger
from ledger.errors import Conflict, Rejected, Unavailable
from ledger.session.events import Paid
from ledger.session.session import PaymentSession
from ledger.session.values import NO_SHOP, Status
from ledger.store.caller_texts import line_texts_of, reference_of
from ledger.store.customer_keys import Erased
from ledger.store.metadata import Cause, caused_by
from ledger.store.parts import Part
from ledger.store.vault import DELIVERY, Vault
from payments.fulfilment.order_failures import OrderFailures
from projections.follower import Recorded
from shop.port import ORDER_NOT_MADE, OrderRefused, OrderRequest, PlacedOrder, Sale
from shop.shops import Shops

_NOT_MADE = "Your order could not be made."
PAYMENT_REVERSED = "PAYMENT_REVERSED"
_REVERSED = "The payment was taken back before there was an order."

_log = structlog.get_logger(__name__)


class OrderMaker:
    """Makes the order of each paid session, once: the shop knows the session's id, and the ledger the order's.

    Safe to share between threads, and to run in several processes: for one session there is an order or a refund.
    """

    name = "orders"
    topics = (Paid.TOPIC,)

    def __init__(self, ledger: Ledger, vault: Vault, shops: Shops, failures: OrderFailures) -> None:
        self._ledger = ledger
        self._vault = vault
        self._shops = shops
        self._failures = failures

    def handle(self, recorded: Recorded) -> None:
        """Make the order of a session that was paid; see `make`."""
        self.make(recorded.session_id)

    def make(self, session_id: UUID) -> None:
        """Make the order of a paid session. Where the shop refuses it, or it failed too often, the money must go back.

        A payment that was taken back meanwhile gets no order. May be repeated. Raises what kept the order from being
        made this time: try again later. An outage (Unavailable) and a deadlock (Conflict) pass, and never count as a
        failure.
        """
        session = self._ledger.session(session_id)
        if session.status != Status.PAID:
            return
        if session.reversed_cents:
            self._end_without_order(session, PAYMENT_REVERSED, _REVERSED)
        else:
            self._make(session)

    def _make(self, session: PaymentSession) -> None:
        try:
            shop = self._shops.named(session.shop)
            order = shop.create_order(self._request(session, clock.now()))
        except OrderRefused as refusal:
            _log.warning("order_refused", session_id=str(session.id), code=refusal.code)
            self._end_without_order(session, refusal.code, refusal.message)
        except (Unavailable, Conflict):
            raise
        except Erased:  # Nobody knows any more where to send the goods.
            _log.warning("order_of_erased_customer", session_id=str(session.id))
            self._end_without_order(session, ORDER_NOT_MADE, _NOT_MADE)
        except Exception as error:
            if not self._failures.count(session.id, type(error).__qualname__, clock.now()):
                raise
            _log.error("order_given_up", session_id=str(session.id), error=type(error).__qualname__)
            self._end_without_order(session, ORDER_NOT_MADE, _NOT_MADE)
        else:
            self._record(session, order)

    def allotment_part(self, at: datetime) -> Part | None:
        """Return the part of a read that draws id and number for `make_at_once`; None if no shop takes part in it."""
        return self._shops.local.allotment_part(at) if self._shops.local is not None else None

    def make_at_once(
        self, session: PaymentSession, append: Append, paid: Paid, allotted: Any, at: datetime
    ) -> Part | None:
        """Record the order of a session, and return the part that makes it in the shop, by what was allotted.

        Its event, which `append` collects, follows from `paid`, the session's event in the same commit. Returns None
        where the shop has nothing to write, or the order is left to `make`. Raises Erased, and what else keeps the
        order from being made.
        """
        if session.status != Status.PAID or session.reversed_cents:
            return None
        local = self._shops.local if session.shop == self._shops.for_carts else None
        if local is not None and allotted is not None:
            order = local.allotted(at, allotted)
        elif session.shop == NO_SHOP:
            order = self._shops.named(NO_SHOP).create_order(self._request(session, at))
        else:
            return None
        session.record_order(order_id=order.order_id, order_number=order.order_number, at=at)
        with caused_by(Cause.EVENT, process=self.name, source=str(paid.originator_version), actor="system"):
            append.collect()
        return local.order_part(self._request(session, at), order) if local is not None else None

    def give_up(self, session_id: UUID, *, by: str, note: str) -> None:
        """Give the order of a paid session up, because an operator says so: the money must go back.

        Raises NotFound; Rejected CASE_NOT_OPEN if the session awaits no order, or the shop has made it after all; and
        Unavailable while the shop does not answer, because only the shop knows that.
        """
        session = self._ledger.session(session_id)
        if session.status != Status.PAID or self._end_without_order(
            session, ORDER_NOT_MADE, _NOT_MADE, recorded_by=by, note=note
        ):
            raise Rejected("CASE_NOT_OPEN", "This payment has its order by now, or goes back already.")
        _log.warning("order_given_up", session_id=str(session.id), by=by)

    def _end_without_order(
        self,
        session: PaymentSession,
        code: str,
        text: str,
        *,
        recorded_by: str | None = None,
        note: str | None = None,
    ) -> PlacedOrder | None:
        """Rule the order out in the shop, then let the money be due back; record and return the order if there is one.

        Another process may be making it at this moment: the shop says which of the two came first.
        """
        order = self._shops.named(session.shop).rule_out_order(session.id, session.lines)
        if order is not None:
            self._record(session, order)
            return order
        command = partial(
            PaymentSession.refuse_order,
            code=code,
            text=text,
            recorded_by=recorded_by,
            note=note,
            at=clock.now(),
        )
        self._ledger.decide(session.id, command, known=session)
        return None

    def _record(self, session: PaymentSession, order: PlacedOrder) -> None:
        command = partial(
            PaymentSession.record_order,
            order_id=order.order_id,
            order_number=order.order_number,
            at=clock.now(),
        )
        self._ledger.decide(session.id, command, known=session)

    def _request(self, session: PaymentSession, placed_at: datetime) -> OrderRequest:
        sale = sale_of(self._vault, session)
        return OrderRequest(
            session_id=session.id,
            user_id=session.user_id,
            lines=session.lines,
            total_cents=session.totals.total_cents,
            delivery_fee_cents=session.totals.delivery_fee_cents,
            delivery_details=self._delivery_details(session) if session.shop != NO_SHOP else {},
            placed_at=placed_at,
            reference=sale.reference,
            texts=sale.texts,
        )

    def _delivery_details(self, session: PaymentSession) -> dict[str, Any]:
        if session.delivery_sealed is None:
            return {}
        details: dict[str, Any] = json.loads(
            self._vault.decrypt(session.user_id, session.delivery_sealed, purpose=DELIVERY, row=session.id)
        )
        return details


def sale_of(vault: Vault, session: PaymentSession) -> Sale:
    """Return what a session's shop is asked about. Raises Erased, unless nobody but the ledger makes its order."""
    sale = Sale(session.id, session.user_id, session.lines)
    try:
        return replace(sale, reference=reference_of(vault, session), texts=line_texts_of(vault, session))
    except Erased:
        if session.shop != NO_SHOP:
            raise
        return sale

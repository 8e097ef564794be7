"""The order process: Paid → the order in the shop → OrderCreated; if the shop refuses → Failed and RefundDue."""

import json
from functools import partial

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.session.events import Paid
from ledger.session.session import PaymentSession
from ledger.session.values import Status
from ledger.store.vault import Vault
from projections.follower import Recorded
from shop.port import OrderRefused, OrderRequest, Shop

_log = structlog.get_logger(__name__)


class OrderMaker:
    """Makes the order of each paid session, once: the shop knows the session's id, and the ledger the order's."""

    name = "orders"
    topics = (Paid.TOPIC,)

    def __init__(self, ledger: Ledger, vault: Vault, shop: Shop) -> None:
        self._ledger = ledger
        self._vault = vault
        self._shop = shop

    def handle(self, recorded: Recorded) -> None:
        """Make the order of a paid session, or record that the shop refuses it: the money must go back."""
        session = self._ledger.session(recorded.session_id)
        if session.status != Status.PAID:
            return
        try:
            order = self._shop.create_order(self._request(session))
        except OrderRefused as refusal:
            _log.warning("order_refused", session_id=str(session.id), code=refusal.code)
            command = partial(PaymentSession.refuse_order, code=refusal.code, text=refusal.message)
        else:
            order_id, order_number = order.order_id, order.order_number
            command = partial(PaymentSession.record_order, order_id=order_id, order_number=order_number)
        self._ledger.decide(session.id, partial(command, at=clock.now()), known=session)

    def _request(self, session: PaymentSession) -> OrderRequest:
        return OrderRequest(
            session_id=session.id,
            user_id=session.user_id,
            lines=session.lines,
            total_cents=session.totals.total_cents,
            delivery_fee_cents=session.totals.delivery_fee_cents,
            delivery_details=json.loads(self._vault.decrypt(session.user_id, session.delivery_sealed)),
            placed_at=clock.now(),
        )

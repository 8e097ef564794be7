"""An operator who refunds an order now and then: the whole, or a part sent outside; sometimes twice at once."""

from random import Random
from uuid import UUID

from ledger.errors import LedgerError
from payments.operators.operator import Operator
from payments.refunds.order_refunds import OrderRefundRequest
from payments.services import Services
from tests.simulation.deployment import Deployment
from tests.simulation.scheduler import Scheduler

PAYOUT = "PAYOUT"
"""How the receipts of payouts begin."""

EXPECTED = frozenset({"CONFLICT", "REFUND_EXCEEDS_ORDER", "REFUND_IN_PART", "UNAVAILABLE"})


class OrderRefunds:
    """Refunds some of the orders, some time after each was made."""

    def __init__(self, scheduler: Scheduler, deployment: Deployment, random: Random) -> None:
        self._scheduler = scheduler
        self._deployment = deployment
        self._random = random
        deployment.on_order = self._ordered

    def _ordered(self, session_id: UUID) -> None:
        if self._random.random() >= self._scheduler.odds.order_refunded:
            return
        is_whole = self._random.random() < 0.7
        wanted = OrderRefundRequest(
            session_id=session_id,
            amount_cents=None if is_whole else 100,
            payout_receipt=None if is_whole else f"{PAYOUT}{session_id.hex[:12].upper()}",
            reason="The goods were bad.",
            restock=self._random.random() < 0.5,
        )
        for _ in range(self._random.choice((1, 1, 2))):
            self._ask(wanted, self._random.uniform(0.0, 3_000.0), tries=5)

    def _ask(self, wanted: OrderRefundRequest, after: float, tries: int) -> None:
        def serve(services: Services) -> None:
            try:
                services.order_refunds.refund(wanted, by=Operator(1_000_000), request=str(wanted.session_id))
            except LedgerError as refusal:
                if refusal.code not in EXPECTED:
                    raise
                if refusal.code == "UNAVAILABLE":
                    again()

        def again() -> None:
            if tries > 1:
                self._ask(wanted, 10.0, tries - 1)

        self._scheduler.call_later(after, lambda: self._deployment.request(serve, again))

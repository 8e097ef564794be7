"""What the entry points may ask of a process: one object, which api/wiring.py builds after a fork."""

from dataclasses import dataclass
from functools import cached_property

from daraja import DarajaClient
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.values import BUILTIN_SHOP
from ledger.store.audit_log import AuditLog
from ledger.store.blocks import Blocks
from ledger.store.database import Database
from ledger.store.positions import HorizonHolder
from ledger.store.proofs import Proofs
from ledger.store.readiness import Readiness
from ledger.store.vault import Vault
from payments.api_keys.verification import ApiKeys
from payments.checkout.checkout import Checkout
from payments.checkout.next_action import NextActions
from payments.checkout.server_checkouts import ServerCheckouts
from payments.erasure.erasures import Erasures
from payments.erasure.retention import Retention
from payments.exceptions.alarms import Alarms
from payments.exceptions.candidates import Candidates
from payments.exceptions.figures import Watched
from payments.exceptions.resolutions import CaseService
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.operators.switches import Switches
from payments.reconciliation.c2b import C2bHandler
from payments.reconciliation.import_log import Reconciliations
from payments.reconciliation.pull import TransactionPoller
from payments.reconciliation.statement_uploads import StatementUploads
from payments.reconciliation.statements import Reconciler
from payments.refunds.decisions import RefundService
from payments.refunds.order_refunds import OrderRefundService
from payments.refunds.reversal_results import ReversalResults
from payments.request_leases import RequestLeases
from payments.revocation.token_revocations import TokenRevocations
from payments.settlement.receiver import CallbackReceiver
from payments.users.user_ids import UserIds
from payments.verification.verifier import Verifier
from payments.webhooks.deliveries import WebhookDeliveries
from payments.webhooks.endpoints import WebhookEndpoints
from payments.webhooks.feed import MessageFeed
from payments.worker.processes import WorkerParts
from shop.builtin import BuiltinShop
from shop.shops import Shops


@dataclass(frozen=True)
class Services:
    """The use cases by whom they serve, and the store beneath them. Safe to share between threads."""

    # The store, the shops and M-Pesa. `daraja_url` is where requests to M-Pesa go, `paybill` where
    # buyers can pay by hand, "" where they cannot.
    database: Database
    readiness: Readiness
    vault: Vault
    ledger: Ledger
    shops: Shops
    builtin_shop: BuiltinShop
    daraja: DarajaClient
    daraja_url: str
    paybill: str

    # Buyers
    checkout: Checkout
    server_checkouts: ServerCheckouts
    next_actions: NextActions
    idempotency: IdempotencyStore
    request_leases: RequestLeases
    revocations: TokenRevocations
    api_keys: ApiKeys
    user_ids: UserIds

    # M-Pesa, which calls back
    stk_callbacks: CallbackReceiver
    reversal_results: ReversalResults
    c2b: C2bHandler

    # Operators
    refunds: RefundService
    order_refunds: OrderRefundService
    switches: Switches
    cases: CaseService
    candidates: Candidates
    erasures: Erasures
    retention: Retention
    alarms: Alarms
    webhook_endpoints: WebhookEndpoints
    webhook_deliveries: WebhookDeliveries
    reconciler: Reconciler
    reconciliations: Reconciliations
    statement_uploads: StatementUploads
    transaction_poller: TransactionPoller

    # Auditors
    verifier: Verifier
    blocks: Blocks
    proofs: Proofs
    audit_log: AuditLog

    # The background worker
    worker: WorkerParts

    @cached_property
    def watched(self) -> Watched:
        """The figures that operators watch."""
        return Watched(self.database, self.ledger.macs, self.alarms, self.switches, self.verifier)

    @property
    def shop(self) -> BuiltinShop:
        """The built-in shop. Raises NotFound NO_BUILTIN_SHOP where the carts are another's."""
        self.require_builtin_shop()
        return self.builtin_shop

    def require_builtin_shop(self) -> None:
        """Raise NotFound NO_BUILTIN_SHOP where the carts are another's."""
        if self.shops.for_carts != BUILTIN_SHOP:
            raise NotFound("The built-in shop is not used here.", code="NO_BUILTIN_SHOP")

    @cached_property
    def message_feed(self) -> MessageFeed:
        """What servers of shops read of what happened."""
        return MessageFeed(self.ledger, self.vault)

    def check_database(self, within_seconds: float) -> HorizonHolder | None:
        """Read one row and write one; return who holds the log back.

        Raises Unavailable where the database does not do so in time.
        """
        return self.readiness.check(within_seconds)

    def close(self) -> None:
        """Close the connections to PostgreSQL and M-Pesa, and end the threads of C2B and webhooks."""
        self.worker.webhook_sender.close()
        self.c2b.close()
        self.daraja.close()
        self.readiness.close()
        self.database.close()

"""The composition root: every part that a process of ours is made of, built from the settings in one place."""

from dataclasses import dataclass
from datetime import timedelta

import requests

from api.http.streaming.notifier import ChangeNotifier
from api.server.concurrency import ConcurrencyLimiter
from api.settings import DARAJA_URLS, Settings
from daraja import DarajaClient, DarajaConfig
from ledger import clock
from ledger.application import Ledger
from ledger.store.blocks import Blocks, BlockSigner
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.checkout.checkout import Checkout
from payments.checkout.next_action import NextActions
from payments.confirmation.query_budget import QueryRateLimiter
from payments.confirmation.query_log import QueryLog
from payments.confirmation.stk_callback import Settlement
from payments.exceptions.resolutions import CaseService
from payments.idempotency.kept_answers import IdempotencyStore
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Channel, Inbox
from payments.mpesa.credentials import CredentialStore
from payments.mpesa.shared_token_store import SharedTokenStore, consumer_name
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.c2b import C2bHandler
from payments.reconciliation.import_log import Reconciliations
from payments.reconciliation.matcher import MAX_WORKERS, Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull import TransactionPoller
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statements import Reconciler, shortcodes_of
from payments.refunds.decisions import RefundService
from payments.refunds.reversal_results import RESULT_CHANNELS, RefundResults
from payments.refunds.reversals import RefundSender
from payments.refunds.status_check_log import RefundQueryLog
from payments.refunds.status_checks import RefundStatusChecks
from payments.verification.verifier import Verifier
from shop.builtin import BuiltinShop
from shop.delivery import DeliveryRates


@dataclass(frozen=True)
class Services:
    """What the doors and the worker ask. One set a process, built after a fork."""

    settings: Settings
    database: Database
    vault: Vault
    ledger: Ledger
    inbox: Inbox
    phone_locks: PhoneLocks
    checks: QueryLog
    idempotency: IdempotencyStore
    shop: BuiltinShop
    daraja: DarajaClient
    checkout: Checkout
    settlement: Settlement
    messages: InboxDispatcher
    matcher: Matcher
    reconciler: Reconciler
    reconciliations: Reconciliations
    c2b: C2bHandler
    transaction_poller: TransactionPoller
    refunds: RefundService
    cases: CaseService
    verifier: Verifier
    block_signer: BlockSigner
    blocks: Blocks
    refund_query_log: RefundQueryLog
    refund_results: RefundResults
    refund_sender: RefundSender
    refund_status_checks: RefundStatusChecks
    next_actions: NextActions
    notifier: ChangeNotifier

    def check_database(self, within_seconds: float) -> None:
        """Ask the database for a sign of life. Raises Unavailable where none comes in time."""
        with self.database.transaction() as connection:
            connection.execute(f"SET LOCAL statement_timeout = {round(within_seconds * 1_000)}")
            connection.execute("SELECT FROM payment_sessions LIMIT 1")

    def close(self) -> None:
        """End the search for news, and close the pool of connections and Daraja's kept connections."""
        self.notifier.close()
        self.c2b.close()
        self.daraja.close()
        self.database.close()


def build_services(settings: Settings, limiter: ConcurrencyLimiter | None = None) -> Services:
    """Build the parts; a web server's requests take `turns`.

    Raises Unavailable where the database does not answer, WrongKey where it was made with another master key, and
    InvalidConfig for bad M-Pesa settings.
    """
    database = Database(settings.database_url, max_connections=settings.daftari_database_connections)
    try:
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        settings = settings.with_stored_credentials(CredentialStore(database, vault).read())
        shop = BuiltinShop(database, vault, delivery_rates(settings))
        return assemble(settings, database, vault, shop, daraja_client(settings, database, vault), limiter)
    except BaseException:
        database.close()
        raise


def assemble(
    settings: Settings,
    database: Database,
    vault: Vault,
    shop: BuiltinShop,
    daraja: DarajaClient,
    limiter: ConcurrencyLimiter | None = None,
    *,
    max_workers: int = MAX_WORKERS,
) -> Services:
    """Return the services on a store, a shop and a way to M-Pesa that exist already; `hands` are the matcher's."""
    ledger = Ledger(database)
    inbox = Inbox(database, vault)
    phone_locks, checks = PhoneLocks(database), QueryLog(database)
    next_actions = NextActions(settings, vault, phone_locks)
    budget = QueryRateLimiter(database, _app_name(settings), settings.daftari_queries_per_minute)
    settlement = Settlement(ledger, vault, inbox, phone_locks, checks, daraja, budget)
    movements, pull_progress = Movements(database, vault), PullProgressStore(database)
    matcher = Matcher(ledger, phone_locks, movements, max_workers=max_workers)
    reconciliations = Reconciliations(database)
    refund_query_log = RefundQueryLog(database)
    refund_results = RefundResults(ledger, vault, inbox, refund_query_log)
    c2b = C2bHandler(settings, vault, inbox, ledger, matcher)
    return Services(
        settings=settings,
        database=database,
        vault=vault,
        ledger=ledger,
        inbox=inbox,
        phone_locks=phone_locks,
        checks=checks,
        idempotency=IdempotencyStore(database, vault),
        shop=shop,
        daraja=daraja,
        checkout=Checkout(
            settings, ledger, vault, phone_locks, shop, daraja, limiter or ConcurrencyLimiter()
        ),
        settlement=settlement,
        messages=InboxDispatcher(
            {Channel.STK: settlement.act_on, Channel.C2B_CONFIRMATION: c2b.act_on}
            | dict.fromkeys(RESULT_CHANNELS, refund_results.act_on)
        ),
        matcher=matcher,
        reconciler=Reconciler(
            shortcodes_of(settings),
            database,
            matcher,
            pull_progress,
            reconciliations,
            MissingPayments(ledger, phone_locks),
        ),
        reconciliations=reconciliations,
        c2b=c2b,
        transaction_poller=TransactionPoller(
            settings.mpesa_business_shortcode, daraja, inbox, matcher, pull_progress
        ),
        refunds=RefundService(ledger),
        cases=CaseService(ledger, inbox, movements, pull_progress, matcher),
        verifier=Verifier(
            database,
            vault,
            prompt_seconds=settings.daftari_prompt_seconds,
            every=timedelta(hours=settings.daftari_verify_hours),
        ),
        block_signer=BlockSigner(database, vault.block_key),
        blocks=Blocks(database),
        refund_query_log=refund_query_log,
        refund_results=refund_results,
        refund_sender=RefundSender(settings, ledger, vault, daraja),
        refund_status_checks=RefundStatusChecks(settings, ledger, vault, refund_query_log, daraja),
        next_actions=next_actions,
        notifier=ChangeNotifier(database, next_actions, settings.daftari_web_waiters),
    )


def delivery_rates(settings: Settings) -> DeliveryRates:
    """Return the delivery fees of the settings as the shop knows them."""
    return DeliveryRates(
        free_from_cents=settings.daftari_free_delivery_from.cents,
        base_cents=settings.daftari_delivery_fee.cents,
        heavy_surcharge_cents=settings.daftari_delivery_surcharge_10kg.cents,
        very_heavy_surcharge_cents=settings.daftari_delivery_surcharge_20kg.cents,
    )


def daraja_client(
    settings: Settings, database: Database, vault: Vault, http: requests.Session | None = None
) -> DarajaClient:
    """Return the M-Pesa client of the settings, on the token that all processes share; `http` as it takes it."""
    config = DarajaConfig(
        base_url=_base_url(settings),
        consumer_key=settings.mpesa_consumer_key,
        consumer_secret=settings.mpesa_consumer_secret,
        shortcode=settings.mpesa_business_shortcode,
        passkey=settings.mpesa_passkey,
        transaction_type=settings.mpesa_transaction_type,
        party_b=settings.mpesa_party_b or None,
        initiator_name=settings.mpesa_initiator_name or None,
        initiator_password=settings.mpesa_initiator_password or None,
        certificate=settings.certificate(),
        security_credential=settings.mpesa_security_credential or None,
        pool_size=settings.daftari_max_waiting_pushes,
        max_amount_shillings=settings.daftari_max_amount_shillings,
    )
    tokens = SharedTokenStore(database, vault, _app_name(settings))
    return DarajaClient(config, tokens, clock.now, http)


def _base_url(settings: Settings) -> str:
    return (settings.mpesa_base_url or DARAJA_URLS[settings.mpesa_environment]).rstrip("/")


def _app_name(settings: Settings) -> str:
    """What M-Pesa counts and gives tokens to: one app of one environment."""
    return consumer_name(_base_url(settings), settings.mpesa_consumer_key)

"""The composition root: every part of a process, built from the settings. The only file that sees them all."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial

from api.daraja_wiring import app_name, base_url, daraja_client, paybill
from api.http.middleware.logging import configure_logging
from api.personal_data import build_erasures, build_retention
from api.safe_database import require_safe_database
from api.settings import Settings
from api.shop_wiring import build_builtin_shop, build_shops
from api.statement_imports import build_import_process, build_reconciler, prompt_limits, shortcodes_of
from api.tracing import configure_tracing
from api.webhooks_wiring import build_webhook_endpoints, build_webhook_sender
from daraja import DarajaClient, certificate_end
from ledger import clock
from ledger.application import Ledger
from ledger.store.audit_log import AuditLog
from ledger.store.block_signer import BlockSigner
from ledger.store.blocks import Blocks
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.proofs import Proofs
from ledger.store.readiness import Readiness
from ledger.store.vault import Vault
from payments.api_keys.api_key import prefix_of
from payments.api_keys.verification import ApiKeys
from payments.checkout.checkout import Checkout
from payments.checkout.next_action import NextActions
from payments.checkout.server_checkouts import ServerCheckouts
from payments.checkout.terms import CheckoutTerms
from payments.confirmation.query_log import QueryLog
from payments.confirmation.query_rate_limiter import QueryRateLimiter
from payments.confirmation.status_poller import StatusPoller
from payments.confirmation.status_query import MAX_AT_ONCE, StatusQueries
from payments.erasure.reencryption import Reencryption
from payments.exceptions.alarms import Alarms, AlarmTerms
from payments.exceptions.candidates import Candidates
from payments.exceptions.case_notifier import CaseNotifier
from payments.exceptions.notification_channels import channel_of
from payments.exceptions.resolutions import CaseService
from payments.fulfilment.goods_returns import GoodsReturns
from payments.fulfilment.order_failures import OrderFailures
from payments.fulfilment.order_process import OrderMaker
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.inbox.callback_urls import endpoints_url
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Channel, Inbox
from payments.mpesa.credentials import CredentialStore
from payments.operators.four_eyes import FourEyes
from payments.operators.stakes import Stakes
from payments.operators.switches import Switches
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.c2b import C2bHandler, C2bTerms
from payments.reconciliation.import_log import Reconciliations
from payments.reconciliation.matcher import MAX_WORKERS, Matcher
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull import TransactionPoller
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statement_uploads import StatementUploads
from payments.refunds.approval_policy import RefundPolicy
from payments.refunds.decisions import RefundService
from payments.refunds.order_refunds import OrderRefundService
from payments.refunds.reversal_results import RESULT_CHANNELS, ReversalResults
from payments.refunds.reversals import RefundSender
from payments.refunds.status_check_log import RefundQueryLog
from payments.refunds.status_checks import RefundStatusChecks
from payments.refunds.terms import RefundTerms
from payments.request_leases import RequestLeases
from payments.revocation.token_revocations import TokenRevocations
from payments.services import Services
from payments.settlement.receiver import CallbackReceiver
from payments.settlement.settlement import Settlement
from payments.users.user_ids import UserIds
from payments.verification.head_publisher import HeadPublisher, destination_of
from payments.verification.scheduled import ScheduledVerification, run_if_due
from payments.verification.verifier import Verifier
from payments.webhooks.deliveries import WebhookDeliveries
from payments.webhooks.delivery_queue import DeliveryQueue
from payments.worker.processes import WorkerParts
from payments.worker.rebuilds import RebuildsAfterUpgrade, rebuild_outdated
from shop.builtin import BuiltinShop
from shop.shops import Shops

WhileWaiting = Callable[[], AbstractContextManager[None]]


def build_services(settings: Settings, while_waiting: WhileWaiting = nullcontext) -> Services:
    """Return the services that the settings describe. A thread waits for M-Pesa inside `while_waiting()`.

    Raises Unavailable where the database does not answer, WrongKey where it was made with another master key,
    InvalidConfig for bad M-Pesa settings, and ConfigurationError for stored ones that development must not use and
    for a database that production must not reach in this way.
    """
    require_safe_database(settings)
    database = Database(
        settings.database_url,
        max_connections=settings.daftari_database_connections,
        role=settings.daftari_app_role,
    )
    try:
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        EventMacs(database, vault.keys).last_without_mac()
        settings = settings.with_stored_credentials(CredentialStore(database, vault).read())
        settings.require_safe_mode()
        configure_tracing(settings.environ)
        shop = build_builtin_shop(settings, database, vault)
        return assemble(
            settings, database, vault, shop, daraja_client(settings, database, vault), while_waiting
        )
    except BaseException:
        database.close()
        raise


def assemble(
    settings: Settings,
    database: Database,
    vault: Vault,
    shop: BuiltinShop,
    daraja: DarajaClient,
    while_waiting: WhileWaiting = nullcontext,
    *,
    max_workers: int = MAX_WORKERS,
    max_queries: int = MAX_AT_ONCE,
) -> Services:
    """Return the services on a store, a shop and a client of M-Pesa.

    `max_workers` are the matcher's threads, `max_queries` those of a job that sends status queries.
    """
    ledger, inbox, phone_locks = (
        Ledger(database, vault.keys),
        Inbox(database, vault),
        build_phone_locks(settings, database),
    )
    query_log, refund_query_log = QueryLog(database), RefundQueryLog(database)
    idempotency, request_leases = IdempotencyStore(database, vault), RequestLeases(database)
    audit_log, user_ids = AuditLog(database, vault.keys), UserIds(database, vault)
    checkout_terms, refund_terms, c2b_terms = (
        _checkout_terms(settings),
        _refund_terms(settings),
        _c2b_terms(settings),
    )
    first_query_seconds = settings.daftari_check_after_seconds
    rate_limiter = QueryRateLimiter(database, app_name(settings), settings.daftari_queries_per_minute)
    status_queries = StatusQueries(ledger, vault, inbox, phone_locks, daraja, rate_limiter)
    shops = build_shops(settings, database, vault, shop)
    order_maker = build_order_maker(database, vault, shops)
    settlement = Settlement(ledger, vault, inbox, phone_locks, query_log, status_queries)
    stk_callbacks = CallbackReceiver(ledger, vault, inbox, phone_locks, order_maker, settlement)
    reversal_results = ReversalResults(ledger, vault, inbox, refund_query_log)
    matcher = build_matcher(settings, database, vault, max_workers)
    c2b = C2bHandler(c2b_terms, vault, inbox, ledger, matcher)
    transaction_poller = TransactionPoller(
        settings.mpesa_business_shortcode, daraja, inbox, matcher, PullProgressStore(database)
    )
    reconciler = build_reconciler(settings, database, vault, matcher)
    statement_uploads = StatementUploads(database, vault, audit_log, reconciler)
    verifier = Verifier(
        database,
        vault,
        prompt_seconds=settings.daftari_prompt_seconds,
        every=timedelta(hours=settings.daftari_verify_hours),
    )
    verify_apart = partial(
        run_if_due,
        settings.database_url,
        settings.daftari_app_role,
        settings.daftari_master_key,
        settings.daftari_prompt_seconds,
        timedelta(hours=settings.daftari_verify_hours),
        partial(configure_logging, settings.daftari_log_format, lowest_level=logging.ERROR),
    )
    rebuild_apart = partial(
        rebuild_outdated, settings.database_url, settings.daftari_app_role, settings.daftari_master_key
    )
    switches = Switches(database, AuditLog(database, vault.keys))
    webhook_endpoints = build_webhook_endpoints(settings, database, vault)
    retention = build_retention(settings, database, vault)
    worker = WorkerParts(
        ledger=ledger,
        vault=vault,
        order_maker=order_maker,
        goods_returns=GoodsReturns(ledger, shops),
        refund_policy=RefundPolicy(
            ledger, four_eyes(settings, database, vault), is_automatic=refund_terms.is_automatic
        ),
        refund_sender=RefundSender(refund_terms, ledger, vault, daraja, switches),
        refund_status_checks=RefundStatusChecks(refund_terms, ledger, vault, refund_query_log, daraja),
        inbox=inbox,
        dispatcher=InboxDispatcher(
            {
                Channel.STK: settlement.act_on,
                Channel.C2B_CONFIRMATION: c2b.act_on,
                Channel.STATUS_QUERY: status_queries.let_go,
            }
            | dict.fromkeys(RESULT_CHANNELS, reversal_results.act_on)
        ),
        status_poller=StatusPoller(
            ledger,
            status_queries,
            query_log,
            first_query_seconds=first_query_seconds,
            max_workers=max_queries,
        ),
        matcher=matcher,
        transaction_poller=transaction_poller,
        import_process=build_import_process(settings, statement_uploads),
        block_signer=BlockSigner(database, lambda: vault.block_key, lambda: vault.block_keys),
        head_publisher=HeadPublisher(
            database, lambda: vault.block_keys, map(destination_of, settings.daftari_publish_heads)
        ),
        verification=ScheduledVerification(verifier, verify_apart),
        reencrypt=Reencryption(database, vault).run,
        rebuilds=RebuildsAfterUpgrade(database, rebuild_apart),
        purge=retention.purge,
        notify=build_case_notifier(settings, database, vault).run,
        delivery_queue=DeliveryQueue(database, webhook_endpoints),
        webhook_sender=build_webhook_sender(database, vault, webhook_endpoints),
        signing_seconds=settings.daftari_seal_seconds,
        max_queries=max_queries,
        switched_off=_switched_off(settings),
    )
    return Services(
        database=database,
        readiness=Readiness(database),
        vault=vault,
        ledger=ledger,
        shops=shops,
        builtin_shop=shop,
        daraja=daraja,
        daraja_url=base_url(settings),
        paybill=paybill(settings),
        checkout=Checkout(checkout_terms, ledger, vault, phone_locks, shops, daraja, switches, while_waiting),
        server_checkouts=ServerCheckouts(checkout_terms, ledger, vault, user_ids, shops.for_checkouts),
        next_actions=NextActions(
            checkout_terms, vault, phone_locks, switches, first_query_seconds=first_query_seconds
        ),
        idempotency=idempotency,
        request_leases=request_leases,
        revocations=TokenRevocations(database, audit_log),
        user_ids=user_ids,
        api_keys=ApiKeys(database, vault, prefix_of(is_production=settings.is_production)),
        stk_callbacks=stk_callbacks,
        reversal_results=reversal_results,
        c2b=c2b,
        refunds=build_refund_service(settings, database, vault),
        order_refunds=build_order_refunds(settings, database, vault),
        switches=switches,
        alarms=build_alarms(settings, database),
        cases=build_case_service(settings, database, vault, matcher, order_maker),
        candidates=Candidates(ledger, vault, Movements(database, vault)),
        reconciler=reconciler,
        reconciliations=Reconciliations(database, vault.keys),
        statement_uploads=statement_uploads,
        transaction_poller=transaction_poller,
        verifier=verifier,
        erasures=build_erasures(settings, database, vault),
        retention=retention,
        webhook_endpoints=webhook_endpoints,
        webhook_deliveries=WebhookDeliveries(database),
        blocks=Blocks(database),
        proofs=Proofs(database, lambda: vault.block_keys),
        audit_log=audit_log,
        worker=worker,
    )


def build_phone_locks(settings: Settings, database: Database) -> PhoneLocks:
    """Return the phone locks, with the limits on prompts of the settings."""
    return PhoneLocks(database, prompt_limits(settings))


def build_matcher(
    settings: Settings, database: Database, vault: Vault, max_workers: int = MAX_WORKERS
) -> Matcher:
    """Return what records the payments that M-Pesa lists, by `max_workers` threads."""
    phone_locks, movements = build_phone_locks(settings, database), Movements(database, vault)
    return Matcher(Ledger(database, vault.keys), phone_locks, movements, max_workers=max_workers)


def build_order_maker(database: Database, vault: Vault, shops: Shops) -> OrderMaker:
    """Return what makes the orders of paid sessions in their shops."""
    return OrderMaker(Ledger(database, vault.keys), vault, shops, OrderFailures(database))


def build_refund_service(settings: Settings, database: Database, vault: Vault) -> RefundService:
    """Return what operators decide about refunds."""
    return RefundService(
        Ledger(database, vault.keys), Stakes(database, vault), four_eyes(settings, database, vault)
    )


def build_order_refunds(settings: Settings, database: Database, vault: Vault) -> OrderRefundService:
    """Return what operators decide about refunds of orders."""
    stakes = Stakes(database, vault)
    return OrderRefundService(
        Ledger(database, vault.keys),
        stakes,
        four_eyes(settings, database, vault),
        is_automatic=_refund_terms(settings).is_automatic,
    )


def build_case_service(
    settings: Settings, database: Database, vault: Vault, matcher: Matcher, order_maker: OrderMaker
) -> CaseService:
    """Return what operators do about open cases."""
    return CaseService(
        Ledger(database, vault.keys),
        Inbox(database, vault),
        Movements(database, vault),
        PullProgressStore(database),
        matcher,
        order_maker,
        Stakes(database, vault),
        four_eyes(settings, database, vault),
        build_refund_service(settings, database, vault),
        build_order_refunds(settings, database, vault),
    )


def build_alarms(settings: Settings, database: Database) -> Alarms:
    """Return what warns of passwords, certificates and lists that run out."""
    set_on, certificate = settings.daftari_initiator_password_set, settings.certificate()
    terms = AlarmTerms(
        password_set_at=None if set_on is None else clock.start_of_day(set_on),
        certificate_ends_at=certificate_end(certificate) if certificate else None,
        pulled_shortcode=settings.mpesa_business_shortcode if settings.daftari_pull == "on" else None,
    )
    return Alarms(database, terms)


def build_case_notifier(settings: Settings, database: Database, vault: Vault) -> CaseNotifier:
    """Return what notifies people of open cases."""
    address = settings.daftari_public_url
    return CaseNotifier(
        database,
        EventMacs(database, vault.keys),
        build_alarms(settings, database).open,
        map(channel_of, settings.daftari_notify),
        f"{address.rstrip('/')}/console/work/" if address else None,
    )


def four_eyes(settings: Settings, database: Database, vault: Vault) -> FourEyes:
    """Return what takes decisions, by one person or by two."""
    threshold = settings.daftari_four_eyes_from
    from_cents = None if threshold is None else threshold.cents
    return FourEyes(database, AuditLog(database, vault.keys), vault.keys, from_cents=from_cents)


def _checkout_terms(settings: Settings) -> CheckoutTerms:
    return CheckoutTerms(
        session_minutes=settings.daftari_session_minutes,
        max_extensions=settings.daftari_max_extensions,
        prompt_seconds=settings.daftari_prompt_seconds,
        max_amount_shillings=settings.daftari_max_amount_shillings,
        max_waiting_pushes=settings.daftari_max_waiting_pushes,
        max_open_sessions=settings.daftari_max_open_sessions,
        max_unnamed_checkouts=settings.daftari_max_unnamed_checkouts,
        callback_url=settings.mpesa_callback_url,
    )


def _refund_terms(settings: Settings) -> RefundTerms:
    return RefundTerms(
        is_automatic=settings.daftari_refund_policy == "auto",
        endpoints_url=endpoints_url(settings.mpesa_callback_url),
    )


def _c2b_terms(settings: Settings) -> C2bTerms:
    return C2bTerms(
        shortcodes=shortcodes_of(settings),
        accepts_unknown=settings.daftari_c2b_unknown == "accept",
        endpoints_url=endpoints_url(settings.mpesa_callback_url),
    )


def _switched_off(settings: Settings) -> frozenset[str]:
    """Return which of the worker's PROCESSES do not run."""
    runs = {
        "pull": settings.daftari_pull == "on",
        "publishing_heads": bool(settings.daftari_publish_heads),
        "notifying": bool(settings.daftari_notify),
        "verifying": settings.daftari_verify_hours > 0,
    }
    return frozenset(name for name in runs if not runs[name])

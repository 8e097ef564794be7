"""The reaction graph in one table, from which the worker's jobs are built: on what, or how often, something is done."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ledger import clock
from ledger.application import Ledger
from ledger.session.event import Event
from ledger.session.events import EvidenceUpgraded, OrderCreated, Paid, ReceiptRecorded, RefundDue
from ledger.store.block_signer import BlockSigner
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.confirmation.status_poller import StatusPoller
from payments.fulfilment.goods_returns import GoodsReturns
from payments.fulfilment.order_process import OrderMaker
from payments.inbox.dispatcher import InboxDispatcher
from payments.inbox.inbox import Inbox
from payments.reconciliation.import_process import ImportProcess
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movement_log import post_movements
from payments.reconciliation.pull import TransactionPoller
from payments.refunds.approval_policy import RefundPolicy, approve_again
from payments.refunds.reversals import RefundSender
from payments.refunds.status_checks import RefundStatusChecks
from payments.verification.head_publisher import HeadPublisher
from payments.verification.scheduled import ScheduledVerification
from payments.webhooks import delivery_queue, sender
from payments.webhooks.delivery_queue import DeliveryQueue
from payments.webhooks.sender import WebhookSender
from payments.worker.event_processor import MAX_WORKERS, EventHandler, EventProcessor
from payments.worker.jobs import Job
from payments.worker.left_over import PAID_WITHOUT_ORDER, REFUND_NOT_DECIDED
from payments.worker.rebuilds import RebuildsAfterUpgrade
from payments.worker.sweeps import act_on_messages, expire_sessions
from projections.cases import PaymentCases
from projections.figure_sums import PaymentFigures
from projections.follower import BATCH_SIZE, Follower, LogReader, Projection
from projections.journal import Journal
from projections.metrics import PaymentMetrics
from projections.payment_search import PaymentSearch
from projections.refunds import PaymentRefunds
from projections.shared_rounds import SharedRounds

LOOK_SECONDS = 0.015
"""For so long the followers of a worker share a look at the log: less than the order process rests between two."""

VIEWS = "views"
"""The name of the job in whose rounds all views share that are caught up, and of the lock of all of them."""

VIEWS_EVERY = (0.003, 0.1)
USUAL_ROUND_OF_VIEWS = 0.012
"""After a longer round, as on a busy machine, views rest for several rounds: payments need the processors."""
IDLE_ROUNDS_OF_VIEWS = 5
"""After so many rounds without an event the views rest twice as long: a look costs more than such a rest is worth."""


@dataclass(frozen=True)
class WorkerParts:
    """What the processes use. Of inbound messages, which may need status queries, `max_queries` are handled at once.

    Blocks are signed every `signing_seconds`; processes named in `switched_off` do not run.
    """

    ledger: Ledger
    vault: Vault
    order_maker: OrderMaker
    goods_returns: GoodsReturns
    refund_policy: RefundPolicy
    refund_sender: RefundSender
    refund_status_checks: RefundStatusChecks
    inbox: Inbox
    dispatcher: InboxDispatcher
    status_poller: StatusPoller
    matcher: Matcher
    transaction_poller: TransactionPoller
    import_process: ImportProcess
    block_signer: BlockSigner
    head_publisher: HeadPublisher
    verification: ScheduledVerification
    reencrypt: Callable[[], int]
    rebuilds: RebuildsAfterUpgrade
    purge: Callable[[], int]
    notify: Callable[[], int]
    delivery_queue: DeliveryQueue
    webhook_sender: WebhookSender
    signing_seconds: float
    max_queries: int
    switched_off: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shared:
    """What the jobs of a worker share. An event handler works on `max_workers` sessions at once."""

    locks: LockConnection
    max_workers: int
    log: LogReader
    rounds: SharedRounds


@dataclass(frozen=True)
class OnEvent:
    """A handler that acts on the world once one of the events `on` is recorded; failures are retried every second.

    The events `settled_by` leave nothing to do about earlier ones of their session.
    `left_over` finds by status rows what the log does not lead to while somebody holds it back.
    Here and below, `every` is the seconds between two looks for work: at first, and at most after many without any.
    """

    name: str
    every: tuple[float, float]
    on: tuple[type[Event], ...]
    effect: str
    handler: Callable[[WorkerParts], EventHandler]
    left_over: str | None = None
    settled_by: tuple[type[Event], ...] = ()

    def jobs(self, parts: WorkerParts, shared: Shared) -> list[Job]:
        """Return the jobs that follow the log, retry, and find what is left over; of several workers one does them."""
        processor = EventProcessor(
            parts.ledger.database,
            self.handler(parts),
            locks=shared.locks,
            max_workers=shared.max_workers,
            log=shared.log,
            settled_by=tuple(event.TOPIC for event in self.settled_by),
        )
        retry = partial(_retry_due, processor)
        found = [
            Job(self.name, processor.run_once, *self.every, processor.lock, processor.batch_size),
            Job(f"{self.name}_again", retry, 1, 1, processor.lock),
        ]
        if self.left_over is not None:
            sweep = partial(_handle_left_over, processor, self.left_over)
            found.append(Job(f"{self.name}_left_over", sweep, 1, 1, processor.lock))
        return found


@dataclass(frozen=True)
class View:
    """A table that events are folded into. `every` is for its own rounds, while it is behind or fails."""

    name: str
    every: tuple[float, float]
    projection: Callable[[Vault], Projection]

    def jobs(self, parts: WorkerParts, shared: Shared) -> list[Job]:
        """Return the job that has it catch up."""
        projection = self.projection(parts.vault)
        follower = Follower(parts.ledger.database, parts.ledger.macs, projection, log=shared.log)
        work = partial(shared.rounds.run_own, follower)
        return [Job(self.name, work, *self.every, shared.rounds.lock, follower.batch_size)]


@dataclass(frozen=True)
class OnLog:
    """Work that follows the log from several positions of its own."""

    name: str
    every: tuple[float, float]
    effect: str
    work: Callable[[WorkerParts, LogReader], int]
    full_round: int

    def jobs(self, parts: WorkerParts, shared: Shared) -> list[Job]:
        """Return the job, which one of several workers does."""
        lock = ActiveLock(shared.locks, self.name)
        work = partial(_work_alone, lock, lambda each: self.work(each, shared.log), parts)
        return [Job(self.name, work, *self.every, lock, self.full_round)]


@dataclass(frozen=True)
class OnTime:
    """Work that is looked for by the clock. `every` is None where a setting says it."""

    name: str
    every: tuple[float, float] | None
    effect: str
    work: Callable[[WorkerParts], int]
    full_round: int = 1

    def jobs(self, parts: WorkerParts, shared: Shared) -> list[Job]:
        """Return the job, which one of several workers does; none where a setting switches it off."""
        if self.name in parts.switched_off:
            return []
        lock = ActiveLock(shared.locks, self.name)
        every = self.every or (parts.signing_seconds, parts.signing_seconds)
        work = partial(_work_alone, lock, self.work, parts)
        return [Job(self.name, work, *every, lock, self.full_round)]


# Names are keys of locks, of positions in the log and of failures: they stay as they are.
# fmt: off
PROCESSES: tuple[OnEvent | View | OnLog | OnTime, ...] = (
    # name, seconds, events, what follows: the command sent to the session and its event
    OnEvent("orders", (0.02, 0.2), (Paid,),
            "create the order in the shop: record_order; if it refuses or keeps failing, refuse_order: RefundDue",
            lambda parts: parts.order_maker, PAID_WITHOUT_ORDER, settled_by=(OrderCreated,)),
    View("payment_metrics", (0.1, 0.5), lambda _: PaymentMetrics()),
    View("payment_figures", (0.1, 0.5), lambda _: PaymentFigures()),
    View("payment_refunds", (0.1, 0.5), lambda _: PaymentRefunds()),
    View("payment_cases", (0.1, 0.5), lambda _: PaymentCases()),
    View("payment_search", (0.1, 0.5), PaymentSearch),
    View("journal_entries", (0.1, 0.5), lambda vault: Journal(vault.keys)),
    OnTime("journal_movements", (1, 5), "post movements of M-Pesa that no event accounts for to the journal",
           lambda parts: post_movements(parts.ledger.database, parts.vault.keys)),
    OnEvent("refund_policy", (0.2, 1), (RefundDue, ReceiptRecorded, EvidenceUpgraded),
            "where refunds are automatic: approve_refund",
            lambda parts: parts.refund_policy, REFUND_NOT_DECIDED),
    OnEvent("goods_returns", (0.5, 2), (RefundDue,),
            "where an operator who refunded an order says so: its goods go back on the shelf",
            lambda parts: parts.goods_returns),
    OnTime("refund_sending", (0.5, 1),
           "request_refund and a reversal at M-Pesa for one approved refund, then its answer",
           lambda parts: parts.refund_sender.run()),
    OnTime("refund_retries", (5, 5), "approve_refund again, a few times, where M-Pesa took no reversal",
           lambda parts: approve_again(parts.ledger)),
    OnTime("refund_doubts", (5, 5), "record_refund_uncertainty where no result of a reversal came",
           lambda parts: parts.refund_status_checks.put_in_doubt()),
    OnTime("refund_questions", (5, 5), "query M-Pesa for reversals in doubt; the answers are callbacks",
           lambda parts: parts.refund_status_checks.ask()),
    OnTime("letters", (0.2, 0.5), "act on inbound messages that the endpoints left: record_payment, ...",
           lambda parts: act_on_messages(parts.inbox, parts.dispatcher, parts.max_queries)),
    OnTime("unauthenticated_messages", (0.2, 0.5), "query M-Pesa for what anyone may have posted: record_payment, ...",
           lambda parts: act_on_messages(parts.inbox, parts.dispatcher, parts.max_queries, is_authenticated=False)),
    OnTime("expiry", (2, 2), "expire pending sessions whose time is up",
           lambda parts: expire_sessions(parts.ledger)),
    OnTime("ladder", (1, 1), "query M-Pesa for attempts without a callback: record_payment, record_attempt_failure",
           lambda parts: parts.status_poller.run()),
    OnTime("money_left_over", (10, 10), "record_payment for movements that were stored and not matched",
           lambda parts: parts.matcher.act_on_unprocessed() + parts.matcher.act_on_claimed()),
    OnTime("statement_uploads", (0.5, 2),
           "import the statements that operators uploaded, in a process of its own: record_payment, ...",
           lambda parts: parts.import_process.run()),
    OnTime("signing_blocks", None, "sign the part of the log that no block covers",
           lambda parts: parts.block_signer.run()),
    OnTime("publishing_heads", (1, 1), "publish the last signed block where DAFTARI_PUBLISH_HEADS says",
           lambda parts: parts.head_publisher.run()),
    OnTime("notifying", (30, 30), "notify people of open cases where DAFTARI_NOTIFY says",
           lambda parts: parts.notify()),
    # What comes in a fifth of a second goes together: a delivery alone costs twice as much.
    OnLog("webhook_queue", (0.2, 0.5), "queue for each webhook endpoint what it is to be told of",
          lambda parts, log: parts.delivery_queue.run(log), delivery_queue.BATCH_SIZE),
    OnTime("webhook_sending", (0.2, 0.5), "deliver to webhook endpoints what is due",
           lambda parts: parts.webhook_sender.run(), sender.AT_ONCE * sender.BATCHES),
    OnTime("tidying", (60, 60), "purge what was kept long enough, kind by kind",
           lambda parts: parts.purge()),
    OnTime("unproven_letters", (10, 10), "delete the oldest unauthenticated messages beyond a maximum",
           lambda parts: parts.inbox.purge_unauthenticated()),
    OnTime("reencryption", (60, 60), "after an upgrade: encrypt anew what the release before encrypted",
           lambda parts: parts.reencrypt()),
    OnTime("rebuilding", (2, 60), "after an upgrade: rebuild, in a process of its own, what older code made",
           lambda parts: parts.rebuilds.run()),
    OnTime("pull", (30, 30), "fetch M-Pesa's list of payments every hour: record_payment",
           lambda parts: parts.transaction_poller.pull_if_due()),
    OnTime("verifying", (60, 60), "check every invariant, in a process of its own, if the last run is long ago",
           lambda parts: parts.verification.run()),
)
# fmt: on

FOLLOWERS = tuple(process.name for process in PROCESSES if isinstance(process, OnEvent | View))
"""Those that follow the log, each from a position that is stored under its name."""


def jobs(
    parts: WorkerParts,
    *,
    locks: LockConnection | None = None,
    max_workers: int = MAX_WORKERS,
    look_seconds: float = 0.0,
) -> list[Job]:
    """Return every job of the worker. Their locks are held on `locks`, by default a connection of their own.

    An event handler works on `max_workers` sessions at once. A look at the log serves all followers for `look_seconds`.
    """
    locks = locks or LockConnection(parts.ledger.database.url)
    database = parts.ledger.database
    log = LogReader(database, parts.ledger.macs, look_seconds)
    rounds = SharedRounds(database, log, ActiveLock(locks, VIEWS))
    shared = Shared(locks, max_workers, log, rounds)
    following = Job(
        VIEWS,
        rounds.run_once,
        *VIEWS_EVERY,
        rounds.lock,
        BATCH_SIZE,
        IDLE_ROUNDS_OF_VIEWS,
        USUAL_ROUND_OF_VIEWS,
    )
    return [following, *(job for process in PROCESSES for job in process.jobs(parts, shared))]


def _retry_due(processor: EventProcessor) -> int:
    return processor.retry_due(clock.now())


def _handle_left_over(processor: EventProcessor, statement: str) -> int:
    return processor.handle_left_over(statement, clock.now())


def _work_alone(lock: ActiveLock, work: Callable[[WorkerParts], int], parts: WorkerParts) -> int:
    with caused_by(Cause.SWEEP, process=lock.name, actor="system"):
        return work(parts) if lock.try_acquire() else 0

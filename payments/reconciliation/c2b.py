"""C2B: M-Pesa asks whether a payment may be made, and confirms payments, made by prompt or by hand.

It signs neither, so the URL holds a secret that is made from the master key. A notice without it is stored and changes
nothing.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import structlog

from daraja import C2bNotice, MalformedNotice, parse_c2b
from ledger import clock
from ledger.application import Ledger
from ledger.errors import Conflict, LedgerError
from ledger.session.values import Status
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.inbox.inbox import Channel, Inbox, InboxMessage, failure_left_to_worker
from payments.reconciliation import lookups
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import MatchVerdict
from payments.reconciliation.transactions import of_notice, transaction_named

C2B_FOLDER = "c2b/"
DECIDE_WITHIN_SECONDS = 4.0
"""M-Pesa waits for about eight; then the registered response type applies."""

_SECRET_OF = b"c2b notices"
_PAYABLE = (Status.PENDING, Status.PAYMENT_INITIATED)

_log = structlog.get_logger(__name__)


class ValidationAnswer(StrEnum):
    """The answers to M-Pesa's question whether a payment may be made (C2B v2)."""

    ACCEPT = "0"
    WRONG_ACCOUNT = "C2B00012"
    WRONG_AMOUNT = "C2B00013"
    WRONG_SHORTCODE = "C2B00015"
    OTHER = "C2B00016"


@dataclass(frozen=True, slots=True)
class C2bTerms:
    """Which payments are taken: those to our shortcodes, and with `accepts_unknown` those that name no attempt."""

    shortcodes: frozenset[str]
    accepts_unknown: bool
    endpoints_url: str


class C2bHandler:
    """Answers validations and records confirmations. Safe to share between threads."""

    def __init__(self, terms: C2bTerms, vault: Vault, inbox: Inbox, ledger: Ledger, matcher: Matcher) -> None:
        self._terms = terms
        self._vault = vault
        self._inbox = inbox
        self._ledger = ledger
        self._matcher = matcher
        self._deciding = ThreadPoolExecutor(max_workers=4, thread_name_prefix="validation")

    @property
    def urls(self) -> tuple[str, str]:
        """The URLs to register: of confirmations, of validations. They are secrets."""
        base = f"{self._terms.endpoints_url}{C2B_FOLDER}{self._vault.sign(_SECRET_OF).hex()}/"
        return f"{base}confirmation/", f"{base}validation/"

    @property
    def response_type(self) -> str:
        """What M-Pesa does with a payment when we do not answer, in its spelling."""
        return "Completed" if self._terms.accepts_unknown else "Cancelled"

    def proves(self, token: str) -> bool:
        """Whether a segment of a URL is our secret."""
        try:
            return self._vault.is_signed(_SECRET_OF, bytes.fromhex(token))
        except ValueError:
            return False

    def confirm(self, body: bytes, *, body_bytes: int, is_authenticated: bool) -> None:
        """Store a confirmation, then act on it at once where possible; the worker does the rest.

        Raises Unavailable where the body could not be stored: then it must not be acknowledged.
        """
        message = self._inbox.store(
            body,
            body_bytes=body_bytes,
            channel=Channel.C2B_CONFIRMATION,
            is_authenticated=is_authenticated,
            now=clock.now(),
        )
        if is_authenticated:
            with failure_left_to_worker(message):
                self.act_on(message)

    def act_on(self, message: InboxMessage) -> None:
        """Match the payment of a stored confirmation, or dead-letter the message."""
        reason, notice = self._read(message)
        if notice is None:
            self._inbox.dead_letter(message, reason, clock.now())
            return
        with caused_by(Cause.CALLBACK, **message.as_source, actor="mpesa"):
            [result] = self._matcher.ingest([of_notice(notice, message.received_at)])
        if result.verdict == MatchVerdict.NEW:
            raise Conflict  # It failed and was logged; the worker tries the message again.
        self._inbox.settle(message, str(result.verdict), clock.now(), about=result.session_id)

    def validate(self, body: bytes, *, is_authenticated: bool) -> ValidationAnswer:
        """Decide whether a payment may be made; never raises, and answers in time.

        Where it cannot be decided, or the URL is not authenticated, the answer is the one for unknown references.
        """
        if not is_authenticated:
            return self._unknown(ValidationAnswer.OTHER)
        deciding = self._deciding.submit(self._decide, body)
        try:
            return deciding.result(DECIDE_WITHIN_SECONDS)
        except TimeoutError:
            deciding.cancel()
            _log.warning("validation_undecided", code="TIMEOUT")
        except LedgerError as error:
            _log.warning("validation_undecided", code=error.code)
        except Exception:  # noqa: BLE001 - M-Pesa is waiting, and a payment must not fail for our fault
            _log.exception("validation_undecided")
        return self._unknown(ValidationAnswer.OTHER)

    def close(self) -> None:
        """End the threads that decide on validations."""
        self._deciding.shutdown(wait=False, cancel_futures=True)

    def _read(self, message: InboxMessage) -> tuple[str, C2bNotice | None]:
        """Return the reason to dead-letter a message, or its notice."""
        if not message.is_authenticated:
            return "address_proves_nothing", None
        if message.missing_part:
            return message.missing_part, None
        try:
            notice = parse_c2b(message.body)
        except MalformedNotice as error:
            return error.reason, None
        if notice.shortcode not in self._terms.shortcodes:
            return "other_shortcode", None
        return "", notice

    def _decide(self, body: bytes) -> ValidationAnswer:
        try:
            notice = parse_c2b(body)
        except MalformedNotice as error:
            _log.warning("validation_malformed", reason=error.reason)
            return self._unknown(ValidationAnswer.OTHER)
        if notice.shortcode not in self._terms.shortcodes:
            return self._unknown(ValidationAnswer.WRONG_SHORTCODE)
        number = transaction_named(notice.bill_reference)
        named = lookups.attempts_named(self._ledger.database, [number]).get(number) if number else None
        if named is None:
            return self._unknown(ValidationAnswer.WRONG_ACCOUNT)
        session = self._ledger.session(named.session_id)
        is_open = session.attempts[named.attempt].is_open
        if not is_open and session.status_at(clock.now()) not in _PAYABLE:
            return self._unknown(ValidationAnswer.WRONG_ACCOUNT)
        if notice.amount_cents != session.totals.total_cents:
            return ValidationAnswer.WRONG_AMOUNT
        return ValidationAnswer.ACCEPT

    def _unknown(self, refusal: ValidationAnswer) -> ValidationAnswer:
        return ValidationAnswer.ACCEPT if self._terms.accepts_unknown else refusal

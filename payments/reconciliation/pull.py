"""Pull: M-Pesa's own list of payments, fetched every hour, for those without a callback and without a notice.

Windows overlap, because the list may be late; what is known changes nothing. M-Pesa lists the last 48 hours only: what
a longer stop has missed is stored as a gap, which a statement closes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from daraja import DarajaClient, PulledWindow, SubmissionError
from ledger import clock
from ledger.store.metadata import Cause, caused_by
from payments.inbox.inbox import Channel, Inbox
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import MatchResult
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.transactions import of_pulled

EVERY = timedelta(hours=1)
USUAL_WINDOW = timedelta(hours=26)
MAX_WINDOW = timedelta(hours=47, minutes=50)
"""M-Pesa's 48 hours, less what its clock and ours may differ by."""

OVERLAP = timedelta(hours=2)
TRY_AGAIN_AFTER = timedelta(minutes=5)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What one pull brought. `complete` is False where the list was longer than what is fetched at once."""

    start: datetime
    end: datetime
    gap: tuple[datetime, datetime] | None
    results: list[MatchResult]
    unreadable: int
    complete: bool


class TransactionPoller:
    """Fetches the list and matches it. Two at once do the same work twice, without harm."""

    def __init__(
        self,
        shortcode: str,
        daraja: DarajaClient,
        inbox: Inbox,
        matcher: Matcher,
        pull_progress: PullProgressStore,
    ) -> None:
        self._shortcode = shortcode
        self._daraja = daraja
        self._inbox = inbox
        self._matcher = matcher
        self._pull_progress = pull_progress

    def pull_if_due(self) -> int:
        """Pull if an hour has passed; return how many payments were listed. A refusal is logged and tried again."""
        now = clock.now()
        next_at = self._pull_progress.progress(self._shortcode).next_at
        if next_at is not None and now < next_at:
            return 0
        try:
            return len(self.pull().results)
        except SubmissionError as error:
            _log.warning("pull_failed", code=error.code, vendor=error.vendor_code)
            wait = timedelta(seconds=error.retry_after_seconds or 0)
            self._pull_progress.put_off(self._shortcode, now + max(TRY_AGAIN_AFTER, wait))
            return 0

    def pull(self) -> Pulled:
        """Fetch the list since the last pull, and match it. Raises Refused or Retryable where M-Pesa gives none."""
        now = clock.now()
        pulled_until = self._pull_progress.progress(self._shortcode).pulled_until
        start, gap = _window(now, pulled_until)
        window = self._daraja.pull_all(start=start, end=now)
        found = [of_pulled(transaction, now) for transaction in window.transactions]
        with caused_by(Cause.PULL):
            results = self._matcher.ingest([movement for movement in found if movement is not None])
        unreadable = self._keep_unreadable(window, now)
        if window.complete:
            self._pull_progress.done(self._shortcode, now, now + EVERY, gap=gap)
        else:
            self._pull_progress.put_off(self._shortcode, now + EVERY)
        log = _log.warning if gap or not window.complete else _log.info
        log(
            "payments_pulled",
            listed=len(results),
            unreadable=unreadable,
            complete=window.complete,
            gap_hours=round((gap[1] - gap[0]) / timedelta(hours=1), 1) if gap else 0,
        )
        return Pulled(start, now, gap, results, unreadable, window.complete)

    def _keep_unreadable(self, window: PulledWindow, now: datetime) -> int:
        """Dead-letter what was listed without a receipt or an amount, once."""
        bodies = [row.encode() for row in window.unreadable]
        bodies += [
            f"{transaction.receipt}: no amount that can be read".encode()
            for transaction in window.transactions
            if transaction.amount_cents is None
        ]
        for body in bodies:
            if not self._inbox.holds_pulled(body):
                message = self._inbox.store(
                    body, body_bytes=len(body), channel=Channel.PULL, is_authenticated=True, now=now
                )
                self._inbox.dead_letter(message, "unreadable_row", now)
        return len(bodies)


def _window(
    now: datetime, pulled_until: datetime | None
) -> tuple[datetime, tuple[datetime, datetime] | None]:
    """Return where to begin, and the period that M-Pesa lists no more, if there is one."""
    if pulled_until is None:
        return now - USUAL_WINDOW, None
    wanted = min(now - USUAL_WINDOW, pulled_until - OVERLAP)
    earliest = now - MAX_WINDOW
    gap = (pulled_until - OVERLAP, earliest) if pulled_until < earliest else None
    return max(wanted, earliest), gap

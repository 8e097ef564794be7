"""What a payment session remembers: fields that its events set, and what follows from them."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventsourcing.domain import Aggregate

from ledger.session.cart import SnapshotLine, Totals
from ledger.session.event import Event as SessionEvent
from ledger.session.values import Attempt, Credit, Discrepancy, Payment, Refund, RefundState, Status


class SessionState(Aggregate):
    """The state of a session. Amounts are cents, moments aware UTC, fields ending in `_sealed` encrypted.

    Phone, delivery, place, reference and metadata are each None if the session has none. `attempts`, `refunds` and
    `discrepancies` are numbered from 1, `credits` are by M-Pesa receipt. `order` is the order's id and number,
    `failure` a code and a sentence for the buyer.
    """

    Event = SessionEvent
    last_hash = bytes(32)
    """Of the last stored event; the store's own mark, which no rule reads."""

    if TYPE_CHECKING:  # The library would take annotations at run time for the fields of a dataclass.
        user_id: int
        lines: tuple[SnapshotLine, ...]
        totals: Totals
        phone_sealed: str | None
        delivery_sealed: str | None
        county_id: int | None
        subcounty_id: int | None
        reference_sealed: str | None
        metadata_sealed: str | None
        shop: str
        expires_at: datetime
        status: Status
        extensions: int
        extended_for: frozenset[str | None]
        attempts: dict[int, Attempt]
        paid: Payment | None
        credits: dict[str, Credit]
        discrepancies: dict[int, Discrepancy]
        received_cents: int
        refunds: dict[int, Refund]
        order: tuple[int | None, str] | None
        failure: tuple[str, str] | None
        initiated_at: datetime | None
        order_created_at: datetime | None
        ended_at: datetime | None

    @property
    def open_attempts(self) -> list[Attempt]:
        """The attempts whose outcome is still to come, oldest first."""
        return [attempt for attempt in self.attempts.values() if attempt.is_open]

    @property
    def receipts(self) -> set[str]:
        """The M-Pesa receipts that this session was credited with."""
        return set(self.credits)

    @property
    def is_undecided(self) -> bool:
        """Whether the session is still neither paid, failed nor expired."""
        return self.status in (Status.PENDING, Status.PAYMENT_INITIATED)

    @property
    def holds_surplus(self) -> bool:
        """Whether some of the buyer's money must still go back."""
        return any(refund.state != RefundState.REFUNDED for refund in self.refunds.values())

    @property
    def order_refunds(self) -> list[Refund]:
        """The refunds of money of the order that was made, oldest first."""
        return [refund for refund in self.refunds.values() if refund.of_order]

    @property
    def reversed_cents(self) -> int:
        """What of the payment was taken back without our asking."""
        return sum(refund.amount_cents for refund in self.refunds.values() if refund.unasked)

    def status_at(self, moment: datetime) -> Status:
        """Return the status at a moment: expired from the instant the time is over, recorded yet or not."""
        has_run_out = self.status == Status.PENDING and not self.open_attempts and moment >= self.expires_at
        return Status.EXPIRED if has_run_out else self.status

    def _write(self, event: type[SessionEvent], *, at: datetime, **fields: Any) -> None:
        happened = event(originator_id=self.id, originator_version=self.version + 1, timestamp=at, **fields)
        happened.mutate(self)
        self.pending_events.append(happened)

    def _move(self, event: type[SessionEvent], *, at: datetime, **fields: Any) -> None:
        """Write an event that moves the public status."""
        self._write(
            event, at=at, previous_status=str(self.status), session_created_at=self.created_on, **fields
        )

"""What M-Pesa itself keeps: payers' wallets, the organisation's books, identifiers, counts, all in one state file."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from daraja.simulator.books import Booking, BookingKind, Books, PaymentChannel
from daraja.simulator.identifiers import Identifiers
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.outcomes import (
    INSUFFICIENT_FUNDS,
    OVER_MAXIMUM_BALANCE,
    OVER_TRANSACTION_LIMIT,
    PAID,
    UNDER_MINIMUM,
    code_of,
)
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import Record, StateFile, record
from daraja.simulator.wallets import Wallets

ALREADY_REVERSED = "R000001"
NOT_REVERSIBLE = "R000002"
_COUNTED = {
    BookingKind.PAYMENT: "shillings_received",
    BookingKind.REVERSAL: "shillings_reversed",
    BookingKind.SETTLEMENT: "shillings_withdrawn",
    BookingKind.PAYOUT: "shillings_paid_out",
}
MIN_PAYOUT_SHILLINGS = 10
MAX_REFERENCE = 20
"""Characters of the account number that a payer types, or that a prompt names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """A requested payment to the organisation, in whole shillings."""

    phone: str
    shillings: int
    reference: str
    is_till: bool
    channel: PaymentChannel


@dataclass(frozen=True, slots=True)
class Proposal:
    """How a transaction would end: its result code, and its bookings if that is PAID. Nothing has moved yet."""

    code: str
    bookings: tuple[Booking, ...]
    balance_shillings: int

    @property
    def receipt(self) -> str | None:
        """The receipt of the first booking."""
        return self.bookings[0].receipt if self.bookings else None


class MobileMoney:
    """Holds all money under one lock, `changed`, which callers take; methods that take it themselves say so.

    Its settings, clock and state file are the whole simulator's.
    """

    def __init__(self, settings: SimulatorSettings, clock: SimulatedClock, state_file: StateFile) -> None:
        self.settings = settings
        self.clock = clock
        self.state_file = state_file
        self._counts: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._unfinished = 0
        self.identifiers = Identifiers(settings.seed, clock.now())
        self.forget()
        readers = {
            "opening": self._read_opening,
            "movement": self._read_booking,
            "wallet": self._read_wallet,
            "clock": self._read_clock,
        }
        state_file.register(readers, self._snapshot)

    def forget(self) -> None:
        """Forget every wallet, booking and count; identifiers go on, so that none repeats."""
        self.wallets = Wallets(self.settings)
        self.books = Books(self.settings.organisation_shillings * 100)
        self._counts.clear()

    def now(self) -> datetime:
        """Return the simulated time."""
        return self.clock.now()

    def count(self, name: str, times: int = 1) -> None:
        """Count an event for the statistics; takes the lock."""
        with self.changed:
            self._counts[name] += times

    def counts(self) -> dict[str, int]:
        """Return the counts since the start or the last reset; takes the lock."""
        with self.changed:
            return dict(self._counts)

    @property
    def has_unfinished(self) -> bool:
        """Whether a request was acknowledged whose effect is still to come."""
        return self._unfinished > 0

    def begin(self) -> None:
        """Note that a request will be acknowledged before its effect; takes the lock."""
        with self.changed:
            self._unfinished += 1

    def finish(self) -> None:
        """Note that such an effect has come; takes the lock."""
        with self.changed:
            self._unfinished -= 1
            self.changed.notify_all()

    def keep_reference(self, reference: str) -> str:
        """Return a bill reference as M-Pesa keeps it: what is beyond 20 characters is cut, counted and logged."""
        if len(reference) > MAX_REFERENCE:
            self.count("references_cut")
            _log.warning("a bill reference of %d characters was cut to %d", len(reference), MAX_REFERENCE)
        return reference[:MAX_REFERENCE]

    def propose_payment(
        self, order: PaymentOrder, code: str, now: datetime, receipt: str | None = None
    ) -> Proposal:
        """Return how a payment that ends with `code` would end: PAID only if the wallet's rules allow it."""
        if code == PAID:
            code = self.wallets.result_code_for(order.phone, order.shillings, now)
        balance = self.wallets.balance(order.phone)
        if code != PAID:
            return Proposal(code, (), balance)
        return Proposal(
            code,
            tuple(self._bookings_of(order, now, receipt or self.identifiers.receipt(now))),
            balance - order.shillings,
        )

    def propose_reversal(self, receipt: str, shillings: int, now: datetime) -> Proposal:
        """Return how a reversal would end; a payment goes back whole or not at all."""
        payment = self.books.find(receipt)
        if payment is None or payment.kind != BookingKind.PAYMENT or payment.shillings != shillings:
            return Proposal(NOT_REVERSIBLE, (), 0)
        if self.books.reversal_of(receipt) is not None:
            return Proposal(ALREADY_REVERSED, (), 0)
        charge_cents = self.settings.reversal_charge_cents
        if self.books.balance_cents < shillings * 100 + charge_cents:
            return Proposal(INSUFFICIENT_FUNDS, (), 0)
        reversal = self._outgoing(
            BookingKind.REVERSAL,
            shillings,
            now,
            phone=payment.phone,
            reference=payment.reference,
            is_till=payment.is_till,
            channel=payment.channel,
            linked_receipt=receipt,
        )
        return Proposal(
            PAID, (reversal, *_charge(reversal, charge_cents)), self.wallets.balance(payment.phone)
        )

    def propose_withdrawal(self, shillings: int, now: datetime) -> Proposal:
        """Return how a settlement to the organisation's bank would end."""
        if self.books.balance_cents < shillings * 100:
            return Proposal(INSUFFICIENT_FUNDS, (), 0)
        return Proposal(PAID, (self._outgoing(BookingKind.SETTLEMENT, shillings, now),), 0)

    def propose_payout(self, phone: str, shillings: int, now: datetime) -> Proposal:
        """Return how a B2C payment would end; a number with a fixed outcome ends with its code."""
        if (code := code_of(phone) or PAID) == PAID:
            code = self._payout_code(phone, shillings)
        if code != PAID:
            return Proposal(code, (), 0)
        payout = self._outgoing(BookingKind.PAYOUT, shillings, now, phone=phone)
        return Proposal(PAID, (payout,), self.wallets.balance(phone))

    def commit(self, proposal: Proposal, *records: Record) -> None:
        """Move the money, once its bookings are in the state file together with `records`. Raise StateFileProblem."""
        self.state_file.write(*records, *(_booking_record(booking) for booking in proposal.bookings))
        for booking in proposal.bookings:
            self._book(booking)
            if booking.kind != BookingKind.CHARGE:
                self._counts[_COUNTED[booking.kind]] += booking.shillings

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set a wallet's balance; raise ValueError below zero."""
        self.wallets.set_balance(phone, shillings)
        self.state_file.write(_wallet_record(phone, shillings))

    def organisation_cents(self) -> int:
        """Return what the organisation's account holds; takes the lock."""
        with self.changed:
            return self.books.balance_cents

    def move_clock(self, seconds: float) -> None:
        """Advance the simulator's time, in the state file too; takes the lock."""
        with self.changed:
            moved = self.clock.moved + timedelta(seconds=seconds)
            self.state_file.write(_clock_record(moved))
            self.clock.moved = moved

    def _outgoing(self, kind: BookingKind, shillings: int, now: datetime, **details: Any) -> Booking:
        """Return a booking of money that leaves the organisation's account; `details` are further fields of it."""
        cents = shillings * 100
        receipt = self.identifiers.receipt(now)
        return Booking(kind, receipt, now, -cents, self.books.balance_cents - cents, **details)

    def _payout_code(self, phone: str, shillings: int) -> str:
        if shillings < MIN_PAYOUT_SHILLINGS:
            return UNDER_MINIMUM
        if shillings > self.settings.transaction_limit_shillings:
            return OVER_TRANSACTION_LIMIT
        if self.books.balance_cents < shillings * 100:
            return INSUFFICIENT_FUNDS
        return PAID if self.wallets.can_hold(phone, shillings) else OVER_MAXIMUM_BALANCE

    def _bookings_of(self, order: PaymentOrder, now: datetime, receipt: str) -> Iterator[Booking]:
        cents = order.shillings * 100
        payment = Booking(
            BookingKind.PAYMENT,
            receipt,
            now,
            cents,
            self.books.balance_cents + cents,
            phone=order.phone,
            reference=order.reference,
            is_till=order.is_till,
            channel=order.channel,
        )
        yield payment
        yield from _charge(payment, self.settings.payment_charge_cents)

    def _book(self, booking: Booking) -> None:
        self.books.add(booking)
        if booking.kind == BookingKind.PAYMENT:
            self.wallets.take(booking.phone, booking.shillings, booking.at)
        elif booking.kind in (BookingKind.REVERSAL, BookingKind.PAYOUT):
            self.wallets.give(booking.phone, booking.shillings)

    def _snapshot(self) -> Iterator[Record]:
        yield _clock_record(self.clock.moved)
        yield record("opening", cents=self.books.opening_cents, first=self.books.first_position)
        yield from (_booking_record(booking) for booking in self.books)
        yield from (_wallet_record(phone, balance) for phone, balance in self.wallets.balances())

    def _read_clock(self, read: Record) -> None:
        self.clock.moved = timedelta(seconds=float(read["moved_seconds"]))

    def _read_opening(self, read: Record) -> None:
        self.books = Books(int(read["cents"]))
        self.books.booked = int(read["first"])

    def _read_booking(self, read: Record) -> None:
        at = datetime.fromisoformat(read.pop("at"))
        kind, channel = BookingKind(read.pop("kind")), PaymentChannel(read.pop("channel"))
        self._book(Booking(kind=kind, channel=channel, at=at, **read))

    def _read_wallet(self, read: Record) -> None:
        self.wallets.set_balance(str(read["phone"]), int(read["balance"]))


def _charge(booking: Booking, cents: int) -> Iterator[Booking]:
    """Yield the charge for a booking, with the same receipt; nothing if there is none."""
    if cents:
        balance = booking.balance_cents - cents
        yield Booking(
            BookingKind.CHARGE,
            booking.receipt,
            booking.at,
            -cents,
            balance,
            is_till=booking.is_till,
            linked_receipt=booking.receipt,
        )


def _booking_record(booking: Booking) -> Record:
    return record(
        "movement",
        kind=booking.kind,
        receipt=booking.receipt,
        at=booking.at.isoformat(),
        change_cents=booking.change_cents,
        balance_cents=booking.balance_cents,
        phone=booking.phone,
        reference=booking.reference,
        is_till=booking.is_till,
        channel=booking.channel,
        linked_receipt=booking.linked_receipt,
    )


def _clock_record(moved: timedelta) -> Record:
    return record("clock", moved_seconds=moved.total_seconds())


def _wallet_record(phone: str, shillings: int) -> Record:
    return record("wallet", phone=phone, balance=shillings)

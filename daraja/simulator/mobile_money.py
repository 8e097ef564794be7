"""What M-Pesa itself keeps: payers' wallets, the organisation's books, identifiers, counts, and a state file of it all."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from daraja.simulator.books import Booking, BookingKind, Books, PaymentChannel
from daraja.simulator.identifiers import Identifiers
from daraja.simulator.kenya_time import SimulatedClock
from daraja.simulator.outcomes import INSUFFICIENT_FUNDS, PAID
from daraja.simulator.simulator_settings import SimulatorSettings
from daraja.simulator.state_file import Record, StateFile, record
from daraja.simulator.wallets import Wallets

ALREADY_REVERSED = "R000001"
NOT_REVERSIBLE = "R000002"
_COUNTED = {
    BookingKind.PAYMENT: "shillings_received",
    BookingKind.REVERSAL: "shillings_reversed",
    BookingKind.SETTLEMENT: "shillings_withdrawn",
}


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """Money that somebody wants to move to the organisation, in whole shillings."""

    phone: str
    shillings: int
    reference: str
    is_till: bool
    channel: PaymentChannel


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would come of it: a result code, and the bookings where that is PAID. Nothing has moved yet."""

    code: str
    bookings: tuple[Booking, ...]
    balance_shillings: int

    @property
    def receipt(self) -> str | None:
        """The receipt of the first booking."""
        return self.bookings[0].receipt if self.bookings else None


class MobileMoney:
    """Holds all money under one lock, `changed`, which its callers take; only the counts take it themselves."""

    def __init__(self, settings: SimulatorSettings, clock: SimulatedClock, state_file: StateFile) -> None:
        self._settings = settings
        self._clock = clock
        self._state_file = state_file
        self._counts: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._promises = 0
        self.identifiers = Identifiers(settings.seed, clock.now())
        self.forget()
        state_file.register(
            {"opening": self._read_opening, "movement": self._read_booking, "wallet": self._read_wallet}
            | {"clock": self._read_clock},
            self._snapshot,
        )

    def forget(self) -> None:
        """Forget every wallet, booking and count; identifiers go on, so that none comes twice."""
        self.wallets = Wallets(self._settings)
        self.books = Books(self._settings.organisation_shillings * 100)
        self._counts.clear()

    def count(self, what: str, times: int = 1) -> None:
        """Count something for the statistics."""
        with self.changed:
            self._counts[what] += times

    def counts(self) -> dict[str, int]:
        """Return how many of each thing happened since the start or the last reset."""
        with self.changed:
            return dict(self._counts)

    @property
    def has_promises(self) -> bool:
        """Whether something was accepted that has still to be done."""
        return self._promises > 0

    def promise(self) -> None:
        """Say that something will be done once its request is answered."""
        with self.changed:
            self._promises += 1

    def keep_promise(self) -> None:
        """Say that it was done."""
        with self.changed:
            self._promises -= 1
            self.changed.notify_all()

    def propose_payment(
        self, order: PaymentOrder, code: str, now: datetime, receipt: str | None = None
    ) -> Proposal:
        """Return what comes of a payment that ends with a code, PAID only where the wallet's rules allow it."""
        if code == PAID:
            code = self.wallets.judge(order.phone, order.shillings, now)
        balance = self.wallets.balance(order.phone)
        if code != PAID:
            return Proposal(code, (), balance)
        return Proposal(
            code,
            tuple(self._bookings_of(order, now, receipt or self.identifiers.receipt(now))),
            balance - order.shillings,
        )

    def propose_reversal(self, receipt: str, shillings: int, now: datetime) -> Proposal:
        """Return what comes of giving a payment back; it goes back whole or not at all."""
        payment = self.books.find(receipt)
        if payment is None or payment.kind != BookingKind.PAYMENT or payment.shillings != shillings:
            return Proposal(NOT_REVERSIBLE, (), 0)
        if self.books.reversal_of(receipt) is not None:
            return Proposal(ALREADY_REVERSED, (), 0)
        charge_cents = self._settings.reversal_charge_cents
        if self.books.balance_cents < shillings * 100 + charge_cents:
            return Proposal(INSUFFICIENT_FUNDS, (), 0)
        reversal = Booking(
            BookingKind.REVERSAL,
            self.identifiers.receipt(now),
            now,
            -shillings * 100,
            self.books.balance_cents - shillings * 100,
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
        """Return what comes of paying money out to the organisation's bank."""
        if self.books.balance_cents < shillings * 100:
            return Proposal(INSUFFICIENT_FUNDS, (), 0)
        balance = self.books.balance_cents - shillings * 100
        receipt = self.identifiers.receipt(now)
        return Proposal(PAID, (Booking(BookingKind.SETTLEMENT, receipt, now, -shillings * 100, balance),), 0)

    def commit(self, proposal: Proposal, *records: Record) -> None:
        """Let money move, together with other records: written first, then so. Raise StateFileProblem."""
        self._state_file.write(*records, *(_booking_record(booking) for booking in proposal.bookings))
        for booking in proposal.bookings:
            self._book(booking)
            if booking.kind != BookingKind.CHARGE:
                self._counts[_COUNTED[booking.kind]] += booking.shillings

    def note(self, *records: Record) -> None:
        """Keep records that move no money; raise StateFileProblem."""
        self._state_file.write(*records)

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set a wallet's balance; raise ValueError below zero."""
        self.wallets.set_balance(phone, shillings)
        self._state_file.write(_wallet_record(phone, shillings))

    def move_clock(self, seconds: float) -> None:
        """Move the simulator's time on, also for whoever reads the state file later."""
        with self.changed:
            moved = self._clock.moved + timedelta(seconds=seconds)
            self._state_file.write(_clock_record(moved))
            self._clock.moved = moved

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
        yield from _charge(payment, self._settings.payment_charge_cents)

    def _book(self, booking: Booking) -> None:
        self.books.add(booking)
        if booking.kind == BookingKind.PAYMENT:
            self.wallets.take(booking.phone, booking.shillings, booking.at)
        elif booking.kind == BookingKind.REVERSAL:
            self.wallets.give_back(booking.phone, booking.shillings)

    def _snapshot(self) -> Iterator[Record]:
        yield _clock_record(self._clock.moved)
        yield record("opening", cents=self.books.opening_cents, first=self.books.first_position)
        yield from (_booking_record(booking) for booking in self.books)
        yield from (_wallet_record(phone, balance) for phone, balance in self.wallets.balances())

    def _read_clock(self, read: Record) -> None:
        self._clock.moved = timedelta(seconds=float(read["moved_seconds"]))

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
    """Yield the charge for a booking, which bears the same receipt."""
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

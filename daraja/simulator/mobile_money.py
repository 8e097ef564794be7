"""What M-Pesa itself keeps: payers' wallets, the organisation's books, identifiers, counts, and a journal of it all."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from daraja.simulator.books import Books, Channel, Kind, Movement
from daraja.simulator.identifiers import Identifiers
from daraja.simulator.journal import Fact, Journal, fact
from daraja.simulator.kenya_time import Watch
from daraja.simulator.outcomes import INSUFFICIENT_FUNDS, PAID
from daraja.simulator.settings import SimulatorSettings
from daraja.simulator.wallets import Wallets

ALREADY_REVERSED = "R000001"
NOT_REVERSIBLE = "R000002"
_COUNTED = {
    Kind.PAYMENT: "shillings_received",
    Kind.REVERSAL: "shillings_reversed",
    Kind.SETTLEMENT: "shillings_withdrawn",
}


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """Money that somebody wants to move to the organisation, in whole shillings."""

    phone: str
    shillings: int
    reference: str
    is_till: bool
    channel: Channel


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would come of it: a result code, and the movements where that is PAID. Nothing has moved yet."""

    code: str
    movements: tuple[Movement, ...]
    balance_shillings: int

    @property
    def receipt(self) -> str | None:
        """The receipt of the first movement."""
        return self.movements[0].receipt if self.movements else None


class MobileMoney:
    """Holds all money under one lock, `changed`, which its callers take; only the counts take it themselves."""

    def __init__(self, settings: SimulatorSettings, watch: Watch, journal: Journal) -> None:
        self._settings = settings
        self._watch = watch
        self._journal = journal
        self._counts: Counter[str] = Counter()
        self.changed = threading.Condition()
        self._promises = 0
        self.identifiers = Identifiers(settings.seed, watch.now())
        self.forget()
        journal.register(
            {"opening": self._read_opening, "movement": self._read_movement, "wallet": self._read_wallet}
            | {"clock": self._read_clock},
            self._snapshot,
        )

    def forget(self) -> None:
        """Forget every wallet, movement and count; identifiers go on, so that none comes twice."""
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
            tuple(self._bookings(order, now, receipt or self.identifiers.receipt(now))),
            balance - order.shillings,
        )

    def propose_reversal(self, receipt: str, shillings: int, now: datetime) -> Proposal:
        """Return what comes of giving a payment back; it goes back whole or not at all."""
        payment = self.books.find(receipt)
        if payment is None or payment.kind != Kind.PAYMENT or payment.shillings != shillings:
            return Proposal(NOT_REVERSIBLE, (), 0)
        if self.books.reversal_of(receipt) is not None:
            return Proposal(ALREADY_REVERSED, (), 0)
        charge_cents = self._settings.reversal_charge_cents
        if self.books.balance_cents < shillings * 100 + charge_cents:
            return Proposal(INSUFFICIENT_FUNDS, (), 0)
        reversal = Movement(
            Kind.REVERSAL,
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
        return Proposal(PAID, (Movement(Kind.SETTLEMENT, receipt, now, -shillings * 100, balance),), 0)

    def commit(self, proposal: Proposal, *facts: Fact) -> None:
        """Let money move, together with other facts: written first, then so. Raise StateFileProblem."""
        self._journal.write(*facts, *(_movement_fact(movement) for movement in proposal.movements))
        for movement in proposal.movements:
            self._book(movement)
            if movement.kind != Kind.CHARGE:
                self._counts[_COUNTED[movement.kind]] += movement.shillings

    def note(self, *facts: Fact) -> None:
        """Keep facts that move no money; raise StateFileProblem."""
        self._journal.write(*facts)

    def set_balance(self, phone: str, shillings: int) -> None:
        """Set a wallet's balance; raise ValueError below zero."""
        self.wallets.set_balance(phone, shillings)
        self._journal.write(_wallet_fact(phone, shillings))

    def move_clock(self, seconds: float) -> None:
        """Move the simulator's time on, also for whoever reads the journal later."""
        with self.changed:
            moved = self._watch.moved + timedelta(seconds=seconds)
            self._journal.write(_clock_fact(moved))
            self._watch.moved = moved

    def _bookings(self, order: PaymentOrder, now: datetime, receipt: str) -> Iterator[Movement]:
        cents = order.shillings * 100
        payment = Movement(
            Kind.PAYMENT,
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

    def _book(self, movement: Movement) -> None:
        self.books.add(movement)
        if movement.kind == Kind.PAYMENT:
            self.wallets.take(movement.phone, movement.shillings, movement.at)
        elif movement.kind == Kind.REVERSAL:
            self.wallets.give_back(movement.phone, movement.shillings)

    def _snapshot(self) -> Iterator[Fact]:
        yield _clock_fact(self._watch.moved)
        yield fact("opening", cents=self.books.opening_cents, first=self.books.first_position)
        yield from (_movement_fact(movement) for movement in self.books)
        yield from (_wallet_fact(phone, balance) for phone, balance in self.wallets.balances())

    def _read_clock(self, read: Fact) -> None:
        self._watch.moved = timedelta(seconds=float(read["moved_seconds"]))

    def _read_opening(self, read: Fact) -> None:
        self.books = Books(int(read["cents"]))
        self.books.booked = int(read["first"])

    def _read_movement(self, read: Fact) -> None:
        at = datetime.fromisoformat(read.pop("at"))
        kind, channel = Kind(read.pop("kind")), Channel(read.pop("channel"))
        self._book(Movement(kind=kind, channel=channel, at=at, **read))

    def _read_wallet(self, read: Fact) -> None:
        self.wallets.set_balance(str(read["phone"]), int(read["balance"]))


def _charge(movement: Movement, cents: int) -> Iterator[Movement]:
    """Yield the charge for a movement, which bears the same receipt."""
    if cents:
        balance = movement.balance_cents - cents
        yield Movement(
            Kind.CHARGE,
            movement.receipt,
            movement.at,
            -cents,
            balance,
            is_till=movement.is_till,
            linked_receipt=movement.receipt,
        )


def _movement_fact(movement: Movement) -> Fact:
    return fact(
        "movement",
        kind=movement.kind,
        receipt=movement.receipt,
        at=movement.at.isoformat(),
        change_cents=movement.change_cents,
        balance_cents=movement.balance_cents,
        phone=movement.phone,
        reference=movement.reference,
        is_till=movement.is_till,
        channel=movement.channel,
        linked_receipt=movement.linked_receipt,
    )


def _clock_fact(moved: timedelta) -> Fact:
    return fact("clock", moved_seconds=moved.total_seconds())


def _wallet_fact(phone: str, shillings: int) -> Fact:
    return fact("wallet", phone=phone, balance=shillings)

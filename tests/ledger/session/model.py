"""A payment session as the design tells it, in plain numbers and words: what the real one is held against.

It knows no events. Each method takes what a command takes, and returns the code of the refusal to expect, or None.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.ledger.session.event_specs import TOTAL, clock

PROMPT_SECONDS = 120
MAX_ATTEMPTS = 3
MAX_EXTENSIONS = 2
SETTLED = {
    "paid": "SESSION_ALREADY_PAID",
    "order_created": "SESSION_ALREADY_PAID",
    "failed": "SESSION_FAILED",
    "expired": "SESSION_EXPIRED",
}


@dataclass
class Model:
    """`attempts` are asked, prompted, unsure or over; `money` is cents by receipt, `unnamed` cents by attempt.

    `unpaid` are the attempts that ended without money, `disputed` those of which sources disagree, and about what.
    `owed` are cents, `owed_for` the attempt that brought them and whether their receipt was known at once.
    """

    status: str = "pending"
    expires_at: datetime = field(default_factory=lambda: clock("10:45"))
    extensions: int = 0
    attempts: dict[int, str] = field(default_factory=dict)
    asked_at: dict[int, datetime] = field(default_factory=dict)
    money: dict[str, int] = field(default_factory=dict)
    unnamed: dict[int, int] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    unpaid: set[int] = field(default_factory=set)
    disputed: set[tuple[int, str]] = field(default_factory=set)
    has_paid: bool = False
    owed: list[int] = field(default_factory=list)
    owed_for: list[tuple[int, bool]] = field(default_factory=list)
    paid_for: tuple[int, bool] = (0, False)
    on_its_way_back: dict[int, str] = field(default_factory=dict)

    @property
    def open_attempts(self) -> list[int]:
        return [number for number, state in self.attempts.items() if state != "over"]

    @property
    def received(self) -> int:
        return sum(self.money.values()) + sum(self.unnamed.values())

    @property
    def is_held(self) -> bool:
        """Whether money is here that has to go back."""
        return len([state for state in self.on_its_way_back.values() if state == "done"]) < len(self.owed)

    def extend(self, at: datetime) -> str | None:
        if code := self._too_late(at):
            return code
        if self.extensions == MAX_EXTENSIONS:
            return "EXTENSION_LIMIT_REACHED"
        self.extensions += 1
        self.expires_at += timedelta(minutes=15)
        return None

    def request(self, at: datetime) -> str | None:
        if code := self._too_late(at):
            return code
        if self.live_prompts(at):
            return "PAYMENT_IN_PROGRESS"
        if len(self.attempts) == MAX_ATTEMPTS:
            return "TOO_MANY_ATTEMPTS"
        number = len(self.attempts) + 1
        self.attempts[number] = "asked"
        self.asked_at[number] = at
        return None

    def accept(self, number: int) -> None:
        if self.attempts[number] in ("asked", "unsure"):
            self._prompt(number, "prompted")

    def lose_answer(self, number: int) -> None:
        if self.attempts[number] == "asked":
            self._prompt(number, "unsure")

    def refuse(self, number: int) -> None:
        if self.attempts[number] == "asked":
            self.attempts[number] = "over"
            self.unpaid.add(number)
            if self.status == "payment_initiated":
                self._fail_if_nothing_is_open()

    def fail(self, number: int) -> None:
        if number in self.answered:
            self.disputed.add((number, "outcome"))
        if self.attempts[number] != "over":
            self.attempts[number] = "over"
            self.unpaid.add(number)
            self._fail_if_nothing_is_open()

    def pay(self, number: int, receipt: str | None, cents: int | None) -> None:
        """A receipt that names money proved before it is believed without comparing amounts: a query proves what
        the prompt had asked for.
        """
        if number in self.unpaid:
            self.disputed.add((number, "outcome"))
        if receipt in self.money or (receipt is None and number in self.answered):
            return
        if receipt is not None and number in self.unnamed:
            self.money[receipt] = self.unnamed.pop(number)
            if cents not in (None, self.money[receipt]):
                self.disputed.add((number, "amount"))
            return
        self._receive(number, receipt, TOTAL if cents is None else cents)
        self.attempts[number] = "over"
        self.unpaid.discard(number)
        if cents == TOTAL and not self.has_paid:
            self.has_paid, self.status = True, "paid"
            self.paid_for = (number, receipt is not None)
        else:
            self._owe(TOTAL if cents is None else cents, number, receipt is not None)
            self._fail_if_nothing_is_open()

    def order(self) -> str | None:
        if self.status == "order_created":
            return None
        if self.status != "paid":
            return "SESSION_NOT_PAID"
        self.status = "order_created"
        return None

    def refuse_order(self) -> None:
        if self.status == "paid":
            self.status = "failed"
            self._owe(TOTAL, *self.paid_for)

    def expire(self, at: datetime) -> None:
        if self.status == "pending" and not self.open_attempts and at >= self.expires_at:
            self.status = "expired"

    def send_back(self, refund: int) -> str | None:
        if refund > len(self.owed) or refund in self.on_its_way_back:
            return "REFUND_NOT_DUE"
        attempt, named = self.owed_for[refund - 1]
        if not named and attempt in self.unnamed:
            return "REFUND_WITHOUT_RECEIPT"
        self.on_its_way_back[refund] = "sent"
        return None

    def arrive(self, refund: int) -> None:
        self.on_its_way_back[refund] = "done"

    def bounce(self, refund: int) -> None:
        if self.on_its_way_back.get(refund) == "sent":
            del self.on_its_way_back[refund]

    def live_prompts(self, at: datetime) -> list[int]:
        """The attempts that may be on the phone still."""
        oldest = at - timedelta(seconds=PROMPT_SECONDS)
        return [number for number in self.open_attempts if self.asked_at[number] > oldest]

    def _too_late(self, at: datetime) -> str | None:
        return SETTLED.get(self.status) or ("SESSION_EXPIRED" if at >= self.expires_at else None)

    def _prompt(self, number: int, state: str) -> None:
        self.attempts[number] = state
        if self.status == "pending":
            self.status = "payment_initiated"

    def _receive(self, number: int, receipt: str | None, cents: int) -> None:
        self.answered.add(number)
        if receipt is None:
            self.unnamed[number] = cents
        else:
            self.money[receipt] = cents

    def _owe(self, cents: int, number: int, named: bool) -> None:
        self.owed.append(cents)
        self.owed_for.append((number, named))

    def _fail_if_nothing_is_open(self) -> None:
        if self.status in ("pending", "payment_initiated") and not self.open_attempts:
            self.status = "failed"

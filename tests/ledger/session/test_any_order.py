"""Commands in any order, with clocks that disagree: the session does what its model says, and keeps the laws."""

from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, multiple, rule

from ledger.session import events
from ledger.session.session import PaymentSession
from ledger.session.values import AttemptState, RefundState, Status
from tests.ledger.session import commands
from tests.ledger.session.commands import Command
from tests.ledger.session.event_specs import TOTAL, clock, created
from tests.ledger.session.model import MAX_ATTEMPTS, MAX_EXTENSIONS, PROMPT_SECONDS, Model
from tests.ledger.session.scenario import Scenario, given

LEGAL_MOVES = {
    (Status.PENDING, Status.PAYMENT_INITIATED),
    (Status.PAYMENT_INITIATED, Status.PAID),
    (Status.PAID, Status.ORDER_CREATED),
    (Status.PENDING, Status.EXPIRED),
    (Status.PAYMENT_INITIATED, Status.FAILED),
    (Status.PAID, Status.FAILED),
}
LATE_MONEY_MOVES = {(Status.FAILED, Status.PAID), (Status.EXPIRED, Status.PAID)}
"""Money that moved is recorded, whatever the state."""
QUICK_OUTCOME_MOVES = {(Status.PENDING, Status.PAID), (Status.PENDING, Status.FAILED)}
"""An outcome may be quicker than the answer to the push."""

IN_WORDS = {
    AttemptState.REQUESTED: "asked",
    AttemptState.INITIATED: "prompted",
    AttemptState.UNCERTAIN: "unsure",
}
WAYS_BACK = {RefundState.DUE: "due", RefundState.REQUESTED: "sent", RefundState.REFUNDED: "done"}
MONEY = {"UAF1": TOTAL, "UAF2": TOTAL, "UAF3": 1_00, "UAF4": None}
ANSWERS = st.sampled_from(["accepted", "accepted", "lost", "refused", "none yet"])
SKEWS = st.sampled_from([0, 0, 0, -30, 30]).map(lambda seconds: timedelta(seconds=seconds))
"""How far the clocks of two machines are apart."""


class AnyOrder(RuleBasedStateMachine):
    """Runs each command on the session and on the model, and compares them after each."""

    attempts: Bundle[int] = Bundle("attempts")

    @initialize(answers=st.lists(ANSWERS, min_size=1, max_size=MAX_ATTEMPTS), target=attempts)
    def create(self, answers: list[str]) -> MultipleResults[int]:
        self.model = Model()
        self.model_before = Model()
        self.scenario: Scenario = given(created())
        self.moves: list[tuple[Status, Status]] = []
        self.status = Status.PENDING
        self.now = clock("10:30")
        for answer in answers:
            self._request(self.now, answer)
            self.now += timedelta(seconds=PROMPT_SECONDS)
        return multiple(*self.model.attempts)

    @rule(seconds=st.sampled_from([30, 120, 120, 600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(skew=SKEWS)
    def extend(self, skew: timedelta) -> None:
        at = self.now + skew
        self.decide(commands.extend(most=MAX_EXTENSIONS, at=_text(at)), self.model.extend(at))

    @rule(wait=st.sampled_from([120, 0, 60]), skew=SKEWS, answer=ANSWERS, target=attempts)
    def request(self, wait: int, skew: timedelta, answer: str) -> MultipleResults[int]:
        self.now += timedelta(seconds=wait)
        before = len(self.model.attempts)
        self._request(self.now + skew, answer)
        return multiple(*list(self.model.attempts)[before:])

    @rule(attempt=attempts, answer=ANSWERS)
    def answer(self, attempt: int, answer: str) -> None:
        self._answer(attempt, answer)

    @rule(attempt=attempts)
    def fail(self, attempt: int) -> None:
        self.model.fail(attempt)
        self.decide(commands.record_attempt_failure(attempt))

    @rule(attempt=attempts, receipt=st.sampled_from(sorted(MONEY)))
    def pay(self, attempt: int, receipt: str) -> None:
        self.model.pay(attempt, receipt, MONEY[receipt])
        self.decide(commands.record_payment(attempt, receipt=receipt, cents=MONEY[receipt]))

    @rule(attempt=attempts)
    def prove(self, attempt: int) -> None:
        self.model.pay(attempt, None, TOTAL)
        self.decide(commands.prove_payment(attempt))

    @rule(in_stock=st.booleans())
    def ask_the_shop(self, *, in_stock: bool) -> None:
        if in_stock:
            self.decide(commands.record_order(), self.model.order())
        else:
            self.model.refuse_order()
            self.decide(commands.refuse_order())

    @rule(skew=SKEWS)
    def expire(self, skew: timedelta) -> None:
        at = self.model.expires_at + skew
        self.model.expire(at)
        self.decide(commands.expire(at=_text(at)))

    @rule(refund=st.integers(1, 2), step=st.sampled_from(["sent", "arrived", "bounced"]))
    def refund(self, refund: int, step: str) -> None:
        if step == "sent":
            self.decide(_approve_and_send(refund), self.model.send_back(refund))
        elif refund > len(self.model.owed):
            return
        elif step == "arrived":
            self.model.arrive(refund)
            self.decide(commands.record_refund(refund))
        else:
            self.model.bounce(refund)
            self.decide(commands.record_refund_failure(refund))

    def _request(self, at: datetime, answer: str) -> None:
        live_before = self.model.live_prompts(at)
        refusal = self.model.request(at)
        self.decide(
            commands.request_payment(prompt_seconds=PROMPT_SECONDS, most=MAX_ATTEMPTS, at=_text(at)), refusal
        )
        assert refusal or not live_before
        if not refusal:
            self._answer(len(self.model.attempts), answer)

    def _answer(self, attempt: int, answer: str) -> None:
        if answer == "accepted":
            self.model.accept(attempt)
            self.decide(commands.record_initiation(attempt))
        elif answer == "lost":
            self.model.lose_answer(attempt)
            self.decide(commands.record_uncertainty(attempt))
        elif answer == "refused":
            self.model.refuse(attempt)
            self.decide(commands.record_refusal(attempt))

    def decide(self, command: Command, refusal: str | None = None) -> None:
        """Run the command, which must be refused with this code, or not at all; then check all that must hold."""
        self.scenario = self.scenario.when(command)
        if refusal:
            self.scenario.refused(refusal)
        assert self.scenario.refusal is None or refusal
        assert bool(self.scenario.written) == (self.model != self.model_before), (
            "changes, and only changes, are written"
        )
        self.model_before = deepcopy(self.model)
        session = self.scenario.session
        if session.status != self.status:
            self.moves.append((self.status, session.status))
            self.status = session.status
        self.check_model(session)
        self.check_money(session)
        self.check_moves(session)

    def check_model(self, session: PaymentSession) -> None:
        model = self.model
        assert session.status == model.status
        assert session.expires_at == model.expires_at
        states = {number: IN_WORDS.get(attempt.state, "over") for number, attempt in session.attempts.items()}
        assert states == model.attempts
        assert session.receipts == model.money.keys()
        ways = {refund.number: WAYS_BACK[refund.state] for refund in session.refunds.values()}
        assert ways == dict.fromkeys(ways, "due") | model.on_its_way_back
        disputed = {(found.attempt, found.about) for found in session.discrepancies.values()}
        assert disputed == model.disputed

    def check_money(self, session: PaymentSession) -> None:
        """To the cent: what came in is the payment and the surplus, and what is owed is all of it but an order."""
        history = self.history
        paid = sum(event.amount_cents for event in history if isinstance(event, events.Paid))
        surplus = sum(event.amount_cents for event in history if isinstance(event, events.SurplusReceived))
        owed = [refund.amount_cents for refund in session.refunds.values()]
        assert session.received_cents == self.model.received == paid + surplus
        assert paid == (TOTAL if self.model.has_paid else 0)
        assert owed == self.model.owed
        order_refused = (Status.PAID, Status.FAILED) in self.moves
        assert sum(owed) == surplus + (paid if order_refused else 0)
        if isinstance(self.scenario.written[-1] if self.scenario.written else None, events.Failed):
            assert self.scenario.written[-1].money_held == self.model.is_held

    def check_moves(self, session: PaymentSession) -> None:
        assert set(self.moves) <= LEGAL_MOVES | LATE_MONEY_MOVES | QUICK_OUTCOME_MOVES
        kinds = [type(event) for event in self.history]
        for once in (events.Paid, events.OrderCreated, events.Expired):
            assert kinds.count(once) <= 1
        assert Status.ORDER_CREATED not in {before for before, _ in self.moves}
        if session.status == Status.PAYMENT_INITIATED:
            assert session.open_attempts, "nothing could ever end this session"

    @property
    def history(self) -> list[Any]:
        """All events so far."""
        return self.scenario.past + self.scenario.written


def _approve_and_send(refund: int) -> Command:
    def decide(session: PaymentSession) -> None:
        commands.approve_refund(refund)(session)
        commands.request_refund(refund)(session)

    return decide


def _text(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S")


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)

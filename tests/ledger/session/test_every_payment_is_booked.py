"""Whatever was paid, by prompt or by hand, and in whatever order its sources speak: it is booked, to the cent."""

from collections import Counter
from random import Random

from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from ledger.session.session import PaymentSession
from ledger.session.values import AttemptState, Evidence, RefundState, Status
from tests.ledger.session import commands
from tests.ledger.session.commands import Command, record_payment
from tests.ledger.session.event_specs import TOTAL, created, initiated, requested, uncertain
from tests.ledger.session.scenario import given

BOOKS = (Evidence.C2B, Evidence.STATEMENT)


class _Happening:
    """What was paid, by receipt in cents, and what the sources say of it."""

    def __init__(self, chance: Random, attempts: int) -> None:
        self._chance = chance
        self.paid: dict[str, int] = {}
        self.said: list[Command] = []
        for attempt in range(1, attempts + 1):
            self._answer_prompt(attempt)
            for _ in range(chance.choice([0, 1, 1, 2])):
                self._pay_by_hand(attempt)
        chance.shuffle(self.said)

    def _answer_prompt(self, attempt: int) -> None:
        failure = commands.record_attempt_failure(
            attempt, evidence=self._chance.choice([Evidence.CALLBACK, Evidence.QUERY])
        )
        if self._chance.random() < 0.3:
            self.said.append(failure)
            return
        receipt = self._receipt(TOTAL)
        named = [
            record_payment(attempt, receipt=receipt, evidence=each) for each in (Evidence.CALLBACK, *BOOKS)
        ]
        heard = self._chance.sample(named, self._chance.randint(1, 3))
        heard += [commands.prove_payment(attempt)] * self._chance.choice([0, 1, 1])
        self.said += heard * self._chance.choice([1, 2]) + self._chance.choice([[], [failure]])

    def _pay_by_hand(self, attempt: int) -> None:
        cents = self._chance.choice([TOTAL, 1_00, 2 * TOTAL])
        receipt = self._receipt(cents)
        told = [record_payment(attempt, receipt=receipt, cents=cents, evidence=each) for each in BOOKS]
        self.said += self._chance.sample(told, self._chance.choice([1, 2]))

    def _receipt(self, cents: int) -> str:
        receipt = f"UAF000{len(self.paid):04d}"
        self.paid[receipt] = cents
        return receipt


def _meanwhile(session: PaymentSession, chance: Random, shop: Command | None) -> None:
    """Let the shop answer, and operators give back what is due."""
    if shop is not None and session.status == Status.PAID:
        shop(session)
    for number, refund in list(session.refunds.items()):
        if refund.state == RefundState.DUE and refund.receipt and chance.random() < 0.2:
            for step in (commands.approve_refund, commands.request_refund, commands.record_refund):
                step(number)(session)


@settings(max_examples=300, deadline=None)
@for_all(st.integers(0, 2**32).map(Random))
def test_every_payment_is_booked_once_and_to_the_cent(chance: Random) -> None:
    attempts = chance.choice([1, 2])
    answers = [chance.choice([initiated, uncertain])(number) for number in range(1, attempts + 1)]
    prompts = [requested(1, at="10:31"), answers[0], requested(2, at="10:34"), answers[-1]]
    session = given(created(), *prompts[: 2 * attempts]).session
    happening = _Happening(chance, attempts)
    shop = chance.choice([None, commands.record_order(), commands.refuse_order()])
    for source in happening.said:
        source(session)
        if chance.random() < 0.7:
            _meanwhile(session, chance, shop)

    owed = sum(refund.amount_cents for refund in session.refunds.values())
    kept = TOTAL if session.status in (Status.PAID, Status.ORDER_CREATED) else 0
    assert session.received_cents == sum(happening.paid.values()) == kept + owed
    assert session.receipts == happening.paid.keys()
    assert max(Counter(refund.receipt for refund in session.refunds.values()).values(), default=1) == 1
    nameless = [
        each for each in session.attempts.values() if each.state == AttemptState.PAID and not each.receipt
    ]
    assert nameless == []

"""How likely each fault is, and how a seed chooses the faults of its run."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from random import Random


@dataclass(frozen=True)
class Odds:
    """The chance of each fault: of one step (a statement, a request), of one message, of one session, or of a run."""

    pause: float = 0.01
    crash: float = 0.0005
    silence: float = 0.001
    answer_lost: float = 0.001
    lock_lost: float = 0.1
    slow_answer: float = 0.1
    push_refused: float = 0.03
    push_not_sent: float = 0.01
    push_answer_lost: float = 0.03
    token_voided: float = 0.01
    query_nonsense: float = 0.05
    query_lies: float = 0.01
    callback_lost: float = 0.1
    callback_doubled: float = 0.05
    callback_slow: float = 0.05
    callback_hours_late: float = 0.01
    callback_contradicted: float = 0.01
    callback_maimed: float = 0.02
    callback_forged: float = 0.05
    c2b_told: float = 0.2
    reversal_refused: float = 0.05
    reversal_answer_lost: float = 0.1
    reversal_result_lost: float = 0.1
    reversal_fails: float = 0.05
    client_loses_answer: float = 0.02
    double_click: float = 0.1
    shares_phone: float = 0.1
    scarce: float = 0.3
    outage: float = 0.5
    clock_jump: float = 0.3

    @cached_property
    def of_a_step(self) -> float:
        """The chance that anything at all goes wrong at one step."""
        return self.pause + self.crash + self.silence + self.answer_lost


FAULTS = tuple(field.name for field in fields(Odds))
NO_TROUBLE = Odds(**dict.fromkeys(FAULTS, 0.0))
USUAL = Odds()


def odds_of(seed: int) -> Odds:
    """Choose what goes wrong in a run: some faults not at all, some often, so that runs differ in kind."""
    chance = Random(seed)
    chosen = {name: getattr(USUAL, name) * chance.choice((0.0, 0.5, 1.0, 1.0, 3.0)) for name in FAULTS}
    return Odds(**{name: min(odds, 0.5) for name, odds in chosen.items()})


def without(odds: Odds, fault: str) -> Odds:
    """Return the same odds with one fault that never happens."""
    return replace(odds, **{fault: 0.0})

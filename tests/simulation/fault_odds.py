"""The probability of each fault, and how a seed chooses the faults of its run."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from random import Random


@dataclass(frozen=True)
class FaultOdds:
    """The probability of each fault: in a step (a statement, a request), a message, a session, or a run."""

    pause: float = 0.01
    crash: float = 0.0005
    silence: float = 0.001
    answer_lost: float = 0.001
    idle_cut: float = 0.001
    lock_lost: float = 0.1
    slow_answer: float = 0.1
    push_refused: float = 0.03
    push_not_sent: float = 0.01
    push_answer_lost: float = 0.03
    token_voided: float = 0.01
    query_nonsense: float = 0.05
    query_contradicts: float = 0.01
    callback_lost: float = 0.1
    callback_duplicated: float = 0.05
    callback_slow: float = 0.05
    callback_hours_late: float = 0.01
    callback_contradicted: float = 0.01
    callback_truncated: float = 0.02
    callback_forged: float = 0.05
    c2b_notified: float = 0.2
    order_refunded: float = 0.05
    reversal_refused: float = 0.05
    reversal_answer_lost: float = 0.1
    reversal_result_lost: float = 0.1
    reversal_fails: float = 0.05
    client_loses_answer: float = 0.02
    double_click: float = 0.1
    shares_phone: float = 0.1
    low_stock: float = 0.3
    outage: float = 0.5
    read_only: float = 0.3
    horizon_held: float = 0.3
    forged_row: float = 0.3
    clock_jump: float = 0.3
    outside_shop: float = 0.3

    @cached_property
    def any_step_fault(self) -> float:
        """The probability of any fault in one step."""
        return self.pause + self.crash + self.silence + self.idle_cut + self.answer_lost


FAULTS = tuple(field.name for field in fields(FaultOdds))
NO_FAULTS = FaultOdds(**dict.fromkeys(FAULTS, 0.0))
USUAL_ODDS = FaultOdds()


def odds_of_seed(seed: int) -> FaultOdds:
    """Choose the faults of a run: some never, some often, so that runs differ in kind."""
    random = Random(seed)
    chosen = {name: getattr(USUAL_ODDS, name) * random.choice((0.0, 0.5, 1.0, 1.0, 3.0)) for name in FAULTS}
    return FaultOdds(**{name: min(chance, 0.5) for name, chance in chosen.items()})


def without(odds: FaultOdds, fault: str) -> FaultOdds:
    """Return the same odds with one fault switched off."""
    return replace(odds, **{fault: 0.0})

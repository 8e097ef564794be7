"""What every check shares: the violation that it reports, and what the walk through the sessions adds up."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections.figure_sums import Sums
from projections.metrics import Moves

MAX_PER_RULE = 200
"""Further violations of a rule are counted and not listed."""

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A breach of a rule; `detail` is a sentence without personal data, `position` where in the log it is, if it is."""

    rule: str
    detail: str
    session_id: UUID | None = None
    position: int | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {f'session {self.session_id}: ' if self.session_id else ''}{self.detail}"


def plain(violation: Violation) -> dict[str, Any]:
    """Return a violation as plain JSON, as verification runs keep it."""
    session_id = violation.session_id
    return {
        "rule": violation.rule,
        "told": violation.detail,
        "session_id": str(session_id) if session_id else None,
    }


class Findings:
    """Violations, of each rule at most MAX_PER_RULE; what comes after them is counted."""

    def __init__(self) -> None:
        self.listed: list[Violation] = []
        self._counted = Counter[str]()

    def add(self, violations: Iterable[Violation]) -> None:
        """Take violations in."""
        for violation in violations:
            self._counted[violation.rule] += 1
            if self._counted[violation.rule] <= MAX_PER_RULE:
                self.listed.append(violation)

    def merge(self, others: "Findings") -> None:
        """Take in what another check found."""
        self.add(others.listed)
        self._counted += others.unlisted()

    def all(self) -> list[Violation]:
        """Return the violations, and for each rule with more of them how many those are."""
        more = self.unlisted().items()
        return self.listed + [Violation(rule, f"and {count} more of the kind") for rule, count in more]

    def unlisted(self) -> Counter[str]:
        """Return by rule how many violations were counted only."""
        return self._counted - Counter(violation.rule for violation in self.listed)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the checks of a session are told, the same in each process.

    What was under way before `settled_before` has ended by now. `followed` says for each projection up to which
    position it follows the log; `known_texts` must not be found in the clear.
    """

    prompt_seconds: int
    settled_before: datetime
    followed: Mapping[str, int]
    known_texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """What the checks of a process read with: a connection in the snapshot of the run, and the keys."""

    connection: Connection[Any]
    vault: Vault | None
    macs: EventMacs | None
    terms: Terms


@dataclass
class Tally:
    """What was found in some sessions, and what the whole store is judged by: see `Moves`, `Sums`, `PhonePrompts`."""

    events: int = 0
    in_the_clear: int = 0
    findings: Findings = field(default_factory=Findings)
    moves: Moves = field(default_factory=Moves)
    sums: Sums = field(default_factory=lambda: Sums(least="day"))
    prompts: bytearray = field(default_factory=bytearray)

    def add(self, other: "Tally") -> None:
        """Take in what was found in other sessions."""
        self.events += other.events
        self.in_the_clear += other.in_the_clear
        self.findings.merge(other.findings)
        self.moves.merge(other.moves)
        self.sums.merge(other.sums)
        self.prompts += other.prompts


Task = Callable[[Reader], Tally]
"""A part of the walk; it goes to another process by pickle, as a partial of a function of a module."""


Written = tuple[int, int]
"""Where the log has an event: origin and position."""


class PromptWindow(NamedTuple):
    """The time during which an attempt may be on a phone, and that phone's number, encrypted.

    `requested` is where the log has the attempt, `closed` where it has its end, (0, 0) if it has none.
    """

    began: datetime
    ended: datetime
    phone_sealed: str
    requested: Written
    closed: Written = (0, 0)

    def is_closed_before(self, later: Written) -> bool:
        """Say whether the log has its end before an event; places of different origins cannot be compared."""
        return self.closed[0] == later[0] and 0 < self.closed[1] < later[1]


def stream(
    connection: Connection[Any],
    name: str,
    statement: str,
    values: Any = None,
    at_once: int = ROWS_AT_ONCE,
) -> Iterator[dict[str, Any]]:
    """Read rows without keeping more than some in memory at once."""
    with connection.cursor(name=name) as cursor:
        cursor.itersize = at_once
        yield from cursor.execute(statement.encode(), values)

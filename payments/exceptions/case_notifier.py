"""Notifies people outside of Daftari of open cases, by email or webhook.

What is sent holds counts, ages, sums and a link, and nothing of a payment or a person. What was sent is remembered by
the process alone: a worker that starts, or takes over, tells of all that is open once more.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger import clock
from ledger.clock import in_nairobi
from ledger.money import Money
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from payments.destinations import Destination
from payments.exceptions.alarms import Alarm
from payments.exceptions.next_steps import KIND_NAMES, WHAT_CAN_BE_DONE, Kind
from payments.exceptions.work_list import CASES, values_of

MIN_INTERVAL = timedelta(minutes=5)
"""Between two messages to a destination: what comes meanwhile is told together."""

REMINDED_AFTER = timedelta(hours=24)
"""How long after the last message what is still open is told again."""

MAX_CASES = 10_000
"""How many open cases are looked at; what is told counts no more."""

NEWEST_FIRST = (
    CASES
    + """
SELECT kind, case_id, since, money_cents FROM cases ORDER BY since DESC, kind, case_id LIMIT %(limit)s
"""
)

CaseKey = tuple[Kind, str]

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OpenCase:
    """That a case is open, and nothing of what it is about; `money_cents` is None where it names no amount."""

    kind: Kind
    case_id: str
    since: datetime
    money_cents: int | None

    @property
    def key(self) -> CaseKey:
        """What tells it from every other case."""
        return self.kind, self.case_id


@dataclass
class _Told:
    """What a destination was told last, and when."""

    cases: frozenset[CaseKey] = frozenset()
    at: datetime = _NEVER

    def is_due(self, cases: frozenset[CaseKey], now: datetime) -> bool:
        """Return whether there is something to tell: new cases, none any more, or those of a day ago."""
        if now < self.at + MIN_INTERVAL:
            return False
        if cases - self.cases or (self.cases and not cases):
            return True
        return bool(cases) and now >= self.at + REMINDED_AFTER


class CaseNotifier:
    """Tells each destination of new cases, of those that stay open, and once that none is open any more.

    `console_url` is where people look at them, None where no address is known.
    """

    def __init__(
        self,
        database: Database,
        macs: EventMacs,
        alarms: Callable[[datetime], Sequence[Alarm]],
        destinations: Iterable[Destination],
        console_url: str | None,
    ) -> None:
        self._database = database
        self._macs = macs
        self._alarms = alarms
        self._told = [(destination, _Told()) for destination in destinations]
        self._console_url = console_url

    def run(self) -> int:
        """Notify the destinations that are due; return how many took it. Raises Unavailable."""
        now = clock.now()
        found = self._open(now)
        cases = frozenset(case.key for case in found)
        took = 0
        for destination, told in self._told:
            if told.is_due(cases, now):
                payload = message(found, cases - told.cases, now, self._console_url)
                if destination.take(payload, "notification_not_taken", cases=len(cases)):
                    told.cases, told.at = cases, now
                    took += 1
        return took

    def send_all(self, *, even_if_none: bool) -> tuple[int, list[tuple[str, str | None]]]:
        """Tell each destination now of all that is open. Raises Unavailable.

        Return how many cases are open, and for each destination its kind and why it did not take the message, None if
        it did; no destinations where no case is open, unless `even_if_none`.
        """
        now = clock.now()
        found = self._open(now)
        if not found and not even_if_none:
            return 0, []
        payload = message(found, frozenset(case.key for case in found), now, self._console_url)
        return len(found), [(each.kind, each.failure_of(payload)) for each, _ in self._told]

    def _open(self, now: datetime) -> list[OpenCase]:
        values = values_of(self._database, now, self._alarms(now), self._macs, UTC) | {"limit": MAX_CASES}
        with self._database.connection() as connection:
            rows = connection.execute(NEWEST_FIRST.encode(), values).fetchall()
        return [OpenCase(**row | {"kind": Kind(row["kind"])}) for row in rows]


def message(
    found: Sequence[OpenCase], new: frozenset[CaseKey], now: datetime, console_url: str | None
) -> bytes:
    """Return what is told of open cases, some of which are new: the JSON that a webhook gets.

    Its `subject` and `text` make the email; chat services show a `text` as it is.
    """
    kinds = [
        _of_kind(kind, cases) for kind in Kind if (cases := [each for each in found if each.kind == kind])
    ]
    subject = _subject(len(new), len(found))
    lines = [line for kind in kinds for line in (_line(kind), f"  {kind['what_can_be_done']}", "")]
    shown = {
        "type": "daftari.open_cases",
        "at": now.isoformat(),
        "subject": subject,
        "new": len(new),
        "open": len(found),
        "kinds": kinds,
        "url": console_url,
        "text": "\n".join([subject, "", *lines, console_url or ""]).strip(),
    }
    return json.dumps(shown).encode()


def _of_kind(kind: Kind, cases: Sequence[OpenCase]) -> dict[str, Any]:
    money_cents = sum(case.money_cents or 0 for case in cases)
    return {
        "kind": str(kind),
        "cases": len(cases),
        "oldest_since": min(case.since for case in cases).isoformat(),
        "amount": f"{Money(money_cents).as_decimal():.2f}" if money_cents else None,
        "what_can_be_done": WHAT_CAN_BE_DONE[kind].description,
    }


def _line(kind: dict[str, Any]) -> str:
    amount = f", KES {kind['amount']}" if kind["amount"] else ""
    oldest = in_nairobi(datetime.fromisoformat(kind["oldest_since"]))
    return f"{KIND_NAMES[Kind(kind['kind'])]}: {kind['cases']}{amount}, the oldest since {oldest}"


def _subject(new: int, found: int) -> str:
    if not found:
        return "Daftari: no case is open any more"
    return f"Daftari: {found} open {'case' if found == 1 else 'cases'}, {new} new"

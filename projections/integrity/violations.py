"""What every check shares: the violation that it reports, and what is gathered on the walk through the log."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections.metrics import Figures

MAX_PER_RULE = 200
"""Further violations of a rule are counted and not listed."""

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A breach of a rule; `detail` is a sentence without personal data."""

    rule: str
    detail: str
    session_id: UUID | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {f'session {self.session_id}: ' if self.session_id else ''}{self.detail}"


@dataclass(frozen=True, slots=True)
class PromptWindow:
    """The time during which an attempt may be on a phone, and that phone's number, encrypted."""

    began: datetime
    ended: datetime
    phone_sealed: str


@dataclass
class Walk:
    """What the checks are given, and what the walk through the log gathers for those that come after it.

    Metrics follow the log up to `metrics_position`, and `figures_ahead` are of what comes after. What was under way
    before `settled_before` has ended by now. Nothing of the users `erased` opens. `events` counts what was read.
    `receipts` are by session, `orders` hold id and total in cents, `awaiting_order` the total, `order_refunds_cents`
    what of all orders goes back; `returned` are the receipts whose money goes back or went; prompts are by the digest
    of their phone.
    """

    vault: Vault | None
    macs: EventMacs | None
    prompt_seconds: int
    metrics_position: int
    settled_before: datetime
    erased: frozenset[int] = frozenset()
    events: int = 0
    receipts: dict[str, UUID] = field(default_factory=dict)
    orders: dict[UUID, tuple[int | None, int]] = field(default_factory=dict)
    awaiting_order: dict[UUID, int] = field(default_factory=dict)
    order_refunds_cents: int = 0
    returned: set[str] = field(default_factory=set)
    figures_ahead: dict[datetime, Figures] = field(default_factory=dict)
    figures: dict[datetime, Figures] = field(default_factory=dict)
    prompts: dict[str, list[PromptWindow]] = field(default_factory=lambda: defaultdict(list))


def stream(
    connection: Connection[Any], name: str, statement: str, *values: object
) -> Iterator[dict[str, Any]]:
    """Read rows without keeping them all in memory."""
    with connection.cursor(name=name) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        yield from cursor.execute(statement.encode(), values)

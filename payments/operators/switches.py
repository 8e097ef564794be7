"""Switches that stop all prompts, or all refunds, in an incident: in every process within about a second."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ledger import clock
from ledger.errors import NotFound
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from payments.operators.operator import Operator

READ_AGAIN_AFTER = timedelta(seconds=1)
"""How old what a process knows of the switches may be."""

PAUSED_RETRY_AFTER = timedelta(minutes=1)
"""When what is switched off is worth another try, for want of knowing better."""

NEWEST = """
SELECT DISTINCT ON (name) name, is_on, reason, changed_by, changed_at FROM switch_changes
ORDER BY name, change_id DESC
"""
CHANGE = """
INSERT INTO switch_changes (name, is_on, reason, changed_by, changed_at) VALUES (%s, %s, %s, %s, %s)
"""


class Switch(StrEnum):
    """What can be switched off: payment prompts to phones, or refunds through M-Pesa."""

    PROMPTS = "prompts"
    REFUNDS = "refunds"


@dataclass(frozen=True, slots=True)
class SwitchState:
    """How a switch stands, since when, by whom, and for which reason; never switched, it is on."""

    name: str
    is_on: bool = True
    reason: str = ""
    changed_by: str | None = None
    changed_at: datetime | None = None


class Switches:
    """Reads and turns the switches. Safe to share between threads."""

    def __init__(self, database: Database, audit_log: AuditLog) -> None:
        self._database = database
        self._audit_log = audit_log
        self._known: tuple[datetime, Mapping[str, SwitchState]] | None = None

    def off(self, switch: Switch) -> SwitchState | None:
        """Return how a switch stands if it is off, None if it is on, as it was at most a second ago."""
        now = clock.now()
        known = self._known
        if known is None or not timedelta() <= now - known[0] < READ_AGAIN_AFTER:
            known = self._known = now, {state.name: state for state in self.states()}
        state = known[1][switch]
        return None if state.is_on else state

    def states(self) -> list[SwitchState]:
        """Return how every switch stands now."""
        with self._database.connection() as connection:
            rows = connection.execute(NEWEST).fetchall()
        changed = {row["name"]: SwitchState(**row) for row in rows}
        return [changed.get(name, SwitchState(name)) for name in Switch]

    def turn(self, name: str, *, is_on: bool, reason: str, by: Operator) -> None:
        """Switch something off, or on again, for a reason without personal data. Raises NotFound."""
        if name not in set(Switch):
            raise NotFound("There is no such switch: it is prompts or refunds.")
        with self._database.transaction() as connection:
            connection.execute(CHANGE, (name, is_on, reason, by.name, clock.now()))
            kind = "switched_on" if is_on else "switched_off"
            self._audit_log.record(connection, kind, actor=by.actor, subject=name, reason=reason)
        self._known = None

"""The plans by which PostgreSQL really runs the statements of our code, those inside its functions too."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from psycopg.errors import Diagnostic

from ledger.store.database import Database

_SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
}


@dataclass(frozen=True)
class Plan:
    """A statement that ran, and the nodes of its plan that read a table, as EXPLAIN (ANALYZE, FORMAT JSON) has them."""

    statement: str
    scans: tuple[dict[str, Any], ...]

    @property
    def whole_tables(self) -> set[str]:
        """The tables that were read from the first row to the last."""
        return {scan["Relation Name"] for scan in self.scans if scan["Node Type"].endswith("Seq Scan")}

    @property
    def rows_read(self) -> int:
        """How many rows were looked at, those too that did not fit."""
        return round(sum(map(_rows_read, self.scans)))

    def __str__(self) -> str:
        scans = "; ".join(
            f"{scan['Node Type']} on {scan['Relation Name']} by {scan.get('Index Name')}: {_rows_read(scan):.0f}"
            for scan in self.scans
        )
        return f"{' '.join(self.statement.split())}\n{scans}"


@dataclass
class Plans:
    """A database whose one connection tells how each statement is run."""

    database: Database
    seen: list[Plan] = field(default_factory=list)

    @property
    def whole_tables(self) -> set[str]:
        """The tables that any of the statements read whole."""
        return set().union(*(plan.whole_tables for plan in self.seen))

    @property
    def rows_read(self) -> int:
        """How many rows all statements looked at."""
        return sum(plan.rows_read for plan in self.seen)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.seen))

    def take(self, notice: Diagnostic) -> None:
        """Keep the plan that a notice of auto_explain tells of."""
        _, is_plan, text = (notice.message_primary or "").partition("plan:\n")
        if is_plan:
            told = json.loads(text)
            scans = tuple(node for node in _nodes(told["Plan"]) if "Relation Name" in node)
            self.seen.append(Plan(told["Query Text"], scans))


@contextmanager
def explained(superuser_url: str, **settings: str) -> Iterator[Plans]:
    """Lend a database that keeps the plan of each statement, with more settings of PostgreSQL where given."""
    options = quote(" ".join(f"-c {name}={value}" for name, value in (_SETTINGS | settings).items()))
    database = Database(
        f"{superuser_url}{'&' if '?' in superuser_url else '?'}options={options}", max_connections=1
    )
    plans = Plans(database)
    with database.connection() as connection:
        connection.add_notice_handler(plans.take)
    try:
        yield plans
    finally:
        database.close()


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _rows_read(scan: dict[str, Any]) -> float:
    each = sum(
        scan.get(name, 0)
        for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    )
    return float(each * scan["Actual Loops"])

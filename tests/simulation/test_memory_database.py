"""The in-memory double of PostgreSQL against the real one: the same statements and values have the same results.

Each statement of a run on the double is put to PostgreSQL too, in the same order. PostgreSQL has positions of its
own, so they are translated. Atomicity and the order of commits are tested on PostgreSQL elsewhere.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.store import audit_log, block_faults, block_signer, blocks, key_ring, positions, recorder
from payments.inbox import inbox
from payments.reconciliation import movement_log
from payments.worker import left_over
from projections import follower, stored_positions
from projections.integrity import personal_data_rules, projection_rules
from projections.journal import ADD, COLUMNS, MOVEMENTS, TABLE
from projections.refunds import PaymentRefunds
from tests.simulation.checks import KNOWN_TEXTS
from tests.simulation.deployment import Deployment
from tests.simulation.fault_odds import USUAL_ODDS, FaultOdds
from tests.simulation.run import Plan, run

BETWEEN_TRANSACTIONS = replace(
    USUAL_ODDS,
    crash=0.0,
    silence=0.0,
    idle_cut=0.0,
    read_only=0.0,
    horizon_held=0.0,
    forged_row=0.0,
    answer_lost=0.0,
    lock_lost=0.0,
    low_stock=1.0,
    double_click=0.5,
    c2b_notified=0.5,
)
"""Faults, but none that ends a transaction in its middle."""

NOT_COMPARED = {
    inbox._MARK_OF_ERASED,  # Its double has no customers who were erased.
    audit_log._ALL,
    blocks._NEXT,
    blocks._IN_ORDER,
    blocks._LAST_NUMBERS,
    block_faults._SIGNED_AND_FOUND,
    blocks._ONE,
    blocks._LATEST_WITH_TREE,
    block_signer._ADD,
    blocks._LAST,
    positions._HORIZON,
    follower.LOOK,
    follower.TRY_TO_BE_ACTIVE,
    personal_data_rules.EXISTS,
    key_ring._ALL,
    PaymentRefunds().events_ahead.encode(),
    left_over.PAID_WITHOUT_ORDER.encode(),
    left_over.REFUND_NOT_DECIDED.encode(),
}
"""Statements about positions, locks, which tables exist, keys, which are made at random, and the audit log, which the
double does not keep.
"""

TEXTS = {
    personal_data_rules.TEXTS.format(table=table).encode()
    for table in personal_data_rules.TABLES_WITHOUT_PERSONS
}

OWN_CLOCK = {"recorded_at", "reserved_at", "read_at"}
POSITIONS = {"position", "after_position", "posted_after"}


PARTS_NOT_COMPARED = ("FROM customer_keys", "add_customer_key", "FROM shop_", "FROM payment_events")
"""Parts about keys, about the shop, whose double is not in the tables, and with positions inside their value."""


class Comparison:
    """Executes the statements of the double on PostgreSQL too, and collects the differences."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self.compared: Counter[Any] = Counter()
        self.differences: list[str] = []
        self._connection = connection
        self._real_of: dict[int, int] = {0: 0}
        self._double_of: dict[int, int] = {0: 0}

    def compare(self, statement: Any, values: Any, result: Any) -> None:
        """Execute the statement on PostgreSQL, and compare the results."""
        if statement in NOT_COMPARED or any(part in str(statement) for part in PARTS_NOT_COMPARED):
            return
        self.compared[statement] += 1
        cursor = self._connection.execute(statement, self._translated(statement, values))
        rows: Sequence[Mapping[str, Any]] = cursor.fetchall() if cursor.description is not None else []
        if isinstance(result, int):
            self._expect(statement, cursor.rowcount, result)
            return
        double_rows = result[0] if isinstance(result, tuple) else result
        if statement == recorder._APPEND_TOGETHER:
            for append, row, double_row in zip(json.loads(values[0]), rows, double_rows, strict=True):
                self._map_positions(row["position"], double_row["position"], len(append["topics"]))
            return
        if "append_events" in str(statement):
            self._map_positions(rows[0]["position"], double_rows[0]["position"], (len(values) - 4) // 5)
            return
        rows, double_rows = _without_form(statement, rows), _without_form(statement, double_rows)
        names = [column.name for column in cursor.description or ()]
        found = [self._plain(row, names, self._double_of) for row in rows]
        expected = [self._plain(row, names, None) for row in double_rows]
        if "ORDER BY" not in str(statement):
            found, expected = sorted(found), sorted(expected)
        self._expect(statement, found, expected)

    def _expect(self, statement: Any, found: object, expected: object) -> None:
        if found != expected:
            self.differences.append(f"{statement!r}\nPostgreSQL: {found}\nthe double: {expected}")

    def _map_positions(self, real: int, double: int, count: int) -> None:
        for back in range(count):
            self._real_of[double - back], self._double_of[real - back] = real - back, double - back

    def _translated(self, statement: Any, values: Any) -> Any:
        if statement == follower.READ_BATCH:
            real = [real for double, real in self._real_of.items() if double <= values["after"]]
            newest = max(real for double, real in self._real_of.items() if double <= values["end"])
            return values | {"after": max(real), "end": newest}
        if statement in (stored_positions.STORE_POSITIONS, stored_positions.STORE_FREE_POSITIONS):
            origin, names, reached = values
            return origin, names, [self._real_of[position] for position in reached]
        if statement == stored_positions.MOVE_ON:
            names, read_until, last, origin = values
            return names, self._real_until(read_until), self._real_until(last), origin
        if statement == projection_rules.METRICS_AHEAD.encode():
            real = [real for double, real in self._real_of.items() if double <= values["after"]]
            return values | {"after": max(real)}
        if statement == ADD.format(table=TABLE).encode():
            place = COLUMNS.index("position")
            real = [position and self._real_of[position] for position in values[place]]
            return [*values[:place], real, *values[place + 1 :]]
        if statement in (MOVEMENTS.format(table=TABLE).encode(), movement_log._LOG):
            name = "until" if "until" in values else "after"
            return values | {name: values[name] and self._real_of[values[name]]}
        return values

    def _real_until(self, places: Sequence[int]) -> list[int]:
        """Return the last position up to each place."""
        return [max(real for double, real in self._real_of.items() if double <= place) for place in places]

    @staticmethod
    def _plain(row: Mapping[str, Any], names: list[str], positions: dict[int, int] | None) -> str:
        plain = {name: row[name] for name in names if name not in OWN_CLOCK}
        for name in POSITIONS & plain.keys():
            plain[name] = positions[plain[name]] if positions is not None and plain[name] else plain[name]
        for name in ("state", "metadata"):
            if isinstance(plain.get(name), str) and plain[name].startswith("{"):
                plain[name] = json.loads(plain[name])
        return json.dumps(plain, sort_keys=True, default=_written)


def _without_form(statement: Any, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return what does not depend on the form of texts, which PostgreSQL writes in its own way."""
    if statement in TEXTS:
        return [{"text": personal_data_rules.count_in_the_clear([row["text"]], KNOWN_TEXTS)} for row in rows]
    return _decoded(rows) if isinstance(statement, bytes) and statement.startswith(b"SELECT (") else rows


def _decoded(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the values of parts without the form of their JSON."""
    return [
        {name: _moments(json.loads(value)) if value else value for name, value in row.items()} for row in rows
    ]


def _moments(value: Any) -> Any:
    if isinstance(value, list):
        return [_moments(each) for each in value]
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value


def _written(value: Any) -> str:
    return (
        value.isoformat() if hasattr(value, "isoformat") else str(bytes(value) if _is_raw(value) else value)
    )


def _is_raw(value: Any) -> bool:
    return isinstance(value, bytes | memoryview)


@pytest.fixture
def comparison(database_url: str) -> Iterator[Comparison]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("ALTER SEQUENCE payment_transaction_ids RESTART 1000001")
        yield Comparison(connection)


@pytest.mark.parametrize(
    ("seed", "odds", "kinds"),
    [
        (10, BETWEEN_TRANSACTIONS, 70),
        (
            14,
            replace(
                BETWEEN_TRANSACTIONS, callback_forged=0.5, reversal_answer_lost=0.5, reversal_result_lost=0.5
            ),
            70,
        ),
    ],
)
def test_postgresql_and_its_double_return_the_same(
    comparison: Comparison, seed: int, odds: FaultOdds, kinds: int
) -> None:
    def listen(deployment: Deployment) -> None:
        deployment.tables.on_statement = comparison.compare

    outcome = run(Plan(seed, checkouts=40, odds=odds), listen)
    assert outcome.violations == []
    assert comparison.differences[:3] == []
    assert len(comparison.compared) >= kinds

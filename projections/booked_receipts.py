"""The books against M-Pesa's statements, receipt by receipt: what is in one and not in the other, or of another sum.

They are compared as they are now: a movement keeps the best source that told of it, and not when each did. Only
movements that carry our MAC count, so that nobody makes a receipt tie by the database's login.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.movement_macs import COLUMNS, genuine
from projections.books import Period
from projections.journal import TABLE

MAX_WALKED = 10_000
"""Receipts that a page of the API looks at, tied ones included."""

_ROWS_AT_ONCE = 2_000
_IN_PERIOD = "{} >= %(since)s AND {} < %(until)s"
# A refund whose own receipt the books do not know went out under its payment's: so its row is compared under that.
# A row of a receipt for each of its movements: whether they are ours the database cannot say.
COMPARED = f"""
WITH booked AS (
    SELECT receipt, min(occurred_at) AS happened_at, (array_agg(session_id))[1] AS session_id,
           sum(CASE WHEN debit_account = 'mpesa_clearing' THEN amount_cents ELSE -amount_cents END)::bigint AS cents
    FROM {TABLE} WHERE receipt > %(after)s AND 'mpesa_clearing' IN (debit_account, credit_account)
    GROUP BY receipt
), reported AS (
    SELECT CASE WHEN kind = 'reversal' AND linked_receipt IS NOT NULL
                     AND NOT EXISTS (SELECT FROM {TABLE} AS booked WHERE booked.receipt = movement.receipt
                                     AND 'mpesa_clearing' IN (debit_account, credit_account))
                THEN linked_receipt ELSE receipt END AS receipt, movement_key, happened_at
    FROM mpesa_movements AS movement WHERE evidence = 'statement'
), compared AS (
    SELECT receipt AS compared_receipt, booked.happened_at AS booked_at, booked.session_id AS booked_session,
           booked.cents AS booked_cents, reported.movement_key AS reported_key,
           bool_or({_IN_PERIOD.replace("{}", "reported.happened_at")}) OVER (PARTITION BY receipt) AS is_reported_then
    FROM booked FULL JOIN reported USING (receipt) WHERE receipt > %(after)s
)
SELECT compared.*, movement.session_id, {", ".join(f"movement.{name}" for name in COLUMNS.split(", "))}
FROM compared LEFT JOIN mpesa_movements AS movement ON movement_key = reported_key
WHERE CASE WHEN booked_at IS NULL THEN is_reported_then ELSE {_IN_PERIOD.replace("{}", "booked_at")} END
ORDER BY compared_receipt
"""  # noqa: S608 - made of names of our own


class Missing(StrEnum):
    """What is wrong with a receipt: the statements lack it, the books lack it, or its sums differ."""

    IN_STATEMENT = "not_in_statement"
    IN_BOOKS = "not_in_books"
    AMOUNT_DIFFERS = "amount_differs"


@dataclass(frozen=True, slots=True)
class ReceiptDifference:
    """A receipt with the cents that it changed M-Pesa clearing by, and those of the statements; None if it is missing.

    Money that went out is negative. `happened_at` is when the money moved.
    """

    receipt: str
    happened_at: datetime
    session_id: UUID | None
    booked_cents: int | None
    reported_cents: int | None

    @property
    def kind(self) -> Missing:
        """What is wrong."""
        if self.reported_cents is None:
            return Missing.IN_STATEMENT
        return Missing.IN_BOOKS if self.booked_cents is None else Missing.AMOUNT_DIFFERS


def receipt_differences(
    database: Database,
    keys: KeyRing,
    period: Period,
    *,
    after: str = "",
    limit: int | None = None,
    walk: int | None = None,
) -> tuple[list[ReceiptDifference], str | None]:
    """Return receipts beyond `after`, in their order, whose sums in the books and the statements differ.

    They are `limit` at most, among the next `walk` receipts; then the last receipt that was looked at, None at the end.
    A receipt is of a period by when its money moved first. Of what was known the period says nothing here.
    """
    found: list[ReceiptDifference] = []
    with database.transaction() as connection, connection.cursor(name="compared_receipts") as rows:
        rows.itersize = _ROWS_AT_ONCE
        rows.execute(COMPARED.encode(), period.values | {"after": after})
        for number, (receipt, of_receipt) in enumerate(groupby(rows, itemgetter("compared_receipt"))):
            if number == walk or len(found) == limit:
                return found, after
            difference, after = _difference(keys, receipt, of_receipt, period), receipt
            if difference is not None:
                found.append(difference)
    return found, None


def _difference(
    keys: KeyRing, receipt: str, rows: Iterable[dict[str, Any]], period: Period
) -> ReceiptDifference | None:
    """Return how the sums of a receipt differ, None if they do not, or if its money did not move in the period."""
    first, *others = rows
    movements = list(genuine(keys, (row for row in (first, *others) if row["reported_key"] is not None)))
    reported = [row["amount_cents"] if row["money_in"] else -row["amount_cents"] for row in movements]
    if (first["booked_cents"] or 0) == sum(reported):
        return None
    happened_at = first["booked_at"] or min(row["happened_at"] for row in movements)
    if not period.since <= happened_at < period.until:
        return None
    sessions = (row["session_id"] for row in movements)
    return ReceiptDifference(
        receipt,
        happened_at,
        first["booked_session"] or next(filter(None, sessions), None),
        first["booked_cents"],
        sum(reported) if reported else None,
    )

"""The books against M-Pesa's statements, receipt by receipt: what is in one and not in the other, or of another sum.

They are compared as they are now: a movement keeps the best source that told of it, and not when each did.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ledger.store.database import Database
from projections.books import Period
from projections.journal import TABLE

# A refund whose own receipt the books do not know went out under its payment's: so its row is compared under that.
DIFFERENCES = f"""
WITH booked AS (
    SELECT receipt, min(occurred_at) AS happened_at, (array_agg(session_id))[1] AS session_id,
           sum(CASE WHEN debit_account = 'mpesa_clearing' THEN amount_cents ELSE -amount_cents END)::bigint AS cents
    FROM {TABLE} WHERE receipt IS NOT NULL AND 'mpesa_clearing' IN (debit_account, credit_account)
    GROUP BY receipt
), reported AS (
    SELECT CASE WHEN kind = 'reversal' AND linked_receipt IS NOT NULL
                     AND NOT EXISTS (SELECT FROM booked WHERE booked.receipt = movement.receipt)
                THEN linked_receipt ELSE receipt END AS receipt,
           min(happened_at) AS happened_at, (array_agg(session_id))[1] AS session_id,
           sum(CASE WHEN money_in THEN amount_cents ELSE -amount_cents END)::bigint AS cents
    FROM mpesa_movements AS movement WHERE evidence = 'statement'
    GROUP BY 1
)
SELECT receipt, coalesce(booked.happened_at, reported.happened_at) AS happened_at,
       coalesce(booked.session_id, reported.session_id) AS session_id,
       booked.cents AS booked_cents, reported.cents AS reported_cents
FROM booked FULL JOIN reported USING (receipt)
WHERE coalesce(booked.cents, 0) <> coalesce(reported.cents, 0) AND receipt > %(after)s
  AND coalesce(booked.happened_at, reported.happened_at) >= %(since)s
  AND coalesce(booked.happened_at, reported.happened_at) < %(until)s
ORDER BY receipt LIMIT %(limit)s
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
    database: Database, period: Period, *, after: str, limit: int
) -> list[ReceiptDifference]:
    """Return up to `limit` receipts beyond `after`, in their order, whose sums in the books and the statements differ.

    A receipt is of a period by when its money moved first. Of what was known the period says nothing here.
    """
    values = period.values | {"after": after, "limit": limit}
    with database.connection() as connection:
        return [ReceiptDifference(**row) for row in connection.execute(DIFFERENCES.encode(), values)]

"""Are the rows of a projection what the log comes to? Two ordered streams side by side, a session at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar
from uuid import UUID

from psycopg import Connection

from projections.follower import Recorded, recorded

Rows = TypeVar("Rows", bound=dict[Any, Any])

FACTS_IN_ORDER = """
SELECT session_id, version, topic, state::text AS state, position, recorded_at FROM payment_events
WHERE topic = ANY(%s) AND position <= %s ORDER BY session_id, version
"""

_BY_SESSION = itemgetter("session_id")


def differences(
    connection: Connection[Any],
    *,
    table: str,
    topics: Sequence[str],
    until: int,
    fold: Callable[[Iterable[Recorded]], Rows],
    stored: Callable[[Iterable[dict[str, Any]]], Rows],
) -> Iterator[tuple[UUID, str]]:
    """Say where the rows of `table` are not what the events of `topics` up to a position come to: session, sentence.

    `fold` makes a session's rows of its events, `stored` of the table's rows; both may be empty. Reads on the
    connection's own snapshot.
    """
    rows_in_order = f"SELECT * FROM {table} ORDER BY session_id"  # noqa: S608 - a name of our own
    with (
        connection.cursor(name=f"{table}_facts") as facts,
        connection.cursor(name=f"{table}_rows") as rows,
    ):
        facts.execute(FACTS_IN_ORDER, (list(topics), until))
        rows.execute(rows_in_order.encode())
        folded = (
            (session_id, fold(recorded(row) for row in group))
            for session_id, group in groupby(facts, key=_BY_SESSION)
        )
        kept = ((session_id, stored(group)) for session_id, group in groupby(rows, key=_BY_SESSION))
        yield from _compare(table, folded, kept)


def _compare(
    table: str, folded: Iterator[tuple[UUID, Rows]], kept: Iterator[tuple[UUID, Rows]]
) -> Iterator[tuple[UUID, str]]:
    told, known = next(folded, None), next(kept, None)
    while told is not None or known is not None:
        if known is None or (told is not None and told[0] < known[0]):
            assert told is not None
            if told[1]:
                yield told[0], f"{table} lacks its rows"
            told = next(folded, None)
        elif told is None or known[0] < told[0]:
            yield known[0], f"{table} has rows that no event speaks of"
            known = next(kept, None)
        else:
            if told[1] != known[1]:
                yield told[0], f"{table} is not what its events come to"
            told, known = next(folded, None), next(kept, None)

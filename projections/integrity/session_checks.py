"""The checks of some hundred sessions, of which everything is read at once: events, status rows, refunds and cases."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any
from uuid import UUID

from ledger.store.event_macs import COLUMNS
from projections.figure_sums import TABLE as FIGURE_SUMS
from projections.integrity import (
    books_rules,
    checkout_rules,
    erasure_rules,
    log_rules,
    money_rules,
    personal_data_rules,
    projection_rules,
    prompt_rules,
)
from projections.integrity.guards import raise_outage, savepoint, unchecked
from projections.integrity.session_log import SessionIds, SessionLog
from projections.integrity.violations import Reader, Tally, Violation

LOG = f"""
SELECT session_id, version, topic, state::text AS state, metadata::text AS metadata, recorded_at, previous_hash,
       {COLUMNS}
FROM payment_events WHERE session_id = ANY(%s) ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
ROWS = "SELECT * FROM payment_sessions WHERE session_id = ANY(%s)"


def check_sessions(session_ids: Sequence[UUID], reader: Reader) -> Tally:
    """Check sessions by themselves. Where that raises, they are halved until the one that cannot be is alone."""
    try:
        with savepoint(reader.connection):
            return _check(session_ids, reader)
    except Exception as error:  # noqa: BLE001 - what was tampered with may raise anything, and is reported
        raise_outage(error)
        tally = Tally()
        if len(session_ids) == 1:
            tally.findings.add([unchecked("versions", error, session_ids[0])])
            return tally
    middle = len(session_ids) // 2
    for half in (session_ids[:middle], session_ids[middle:]):
        tally.add(check_sessions(half, reader))
    return tally


def _check(session_ids: Sequence[UUID], reader: Reader) -> Tally:
    ids, tally = SessionIds(session_ids), Tally()
    logs = _read(ids, reader)
    if reader.vault is not None:
        reader.vault.read_ahead({log.status_row["user_id"] for log in logs if log.status_row is not None})
    texts = [f" {row['state']} {row['metadata']} " for log in logs for row in log.rows]
    tally.in_the_clear = personal_data_rules.count_in_the_clear(texts, reader.terms.known_texts)
    tally.events = sum(len(log.rows) for log in logs)
    for found in _of_each(logs, reader, tally):
        tally.findings.add(chain.from_iterable(found))
    tally.findings.add(money_rules.reserved(logs, reader.connection))
    tally.findings.add(projection_rules.refunds_and_cases(ids, logs, reader))
    tally.findings.add(projection_rules.search(ids, logs, reader))
    tally.findings.add(checkout_rules.owners(ids, logs, reader))
    tally.findings.add(books_rules.entries_of_sessions(ids, logs, reader))
    tally.findings.add(erasure_rules.unreadable(logs, reader))
    return tally


def _read(ids: SessionIds, reader: Reader) -> list[SessionLog]:
    events = reader.connection.execute(LOG, (ids,), binary=True)
    by_session = {number: list(group) for number, group in groupby(events, key=_number)}
    rows = {_number(row): row for row in reader.connection.execute(ROWS, (ids,), binary=True)}
    return [SessionLog(each, by_session.get(each.int, []), rows.get(each.int)) for each in ids]


def _number(row: dict[str, Any]) -> int:
    """Return the id of its session as a number, which is compared in a tenth of the time."""
    number: int = row["session_id"].int
    return number


def _of_each(
    logs: Sequence[SessionLog], reader: Reader, tally: Tally
) -> Iterator[Iterator[Iterable[Violation]]]:
    """Yield what each rule finds in each session, one rule after the other: in turns they take a quarter longer.

    A session in which an early rule finds something may be left out by later ones.
    """
    yield map(_readable, logs)
    decoded = [log for log in logs if log.rows and log.is_decoded]
    yield map(log_rules.hash_chain, decoded)
    yield (log_rules.genuine(log, reader.macs) for log in decoded)
    yield map(_folded, [log for log in decoded if log.rows])
    folded = [log for log in decoded if log.session is not None]
    until = reader.terms.followed[FIGURE_SUMS]
    for log in folded:
        tally.moves.add(log.recorded)
    for log in folded:
        tally.sums.follow(log.recorded, until)
    yield map(money_rules.paid_once, folded)
    yield map(money_rules.balances, folded)
    yield map(projection_rules.status_row_is_fold, folded)
    for log in folded:
        log.prompts = prompt_rules.prompts_of(log, reader.terms.prompt_seconds)
    yield map(prompt_rules.one_a_session, folded)
    if reader.vault is not None:
        yield (personal_data_rules.decryptable(log, reader.vault, tally) for log in folded)


def _readable(log: SessionLog) -> Iterator[Violation]:
    if not log.rows and log.status_row is not None:
        yield log.violation("rows", "it has a row in payment_sessions and no event")
    elif not log.is_decoded:
        yield log.violation("versions", "its events cannot be decoded")


def _folded(log: SessionLog) -> Iterator[Violation]:
    broken = list(log_rules.versions(log))
    yield from broken
    if broken:
        return
    try:
        yield from log.fold()
    except Exception as error:  # noqa: BLE001 - content that was tampered with may raise anything, and is reported
        yield log.violation("versions", f"its events cannot be read: {type(error).__name__}")

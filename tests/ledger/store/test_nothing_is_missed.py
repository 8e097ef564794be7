"""Try hard to make a follower miss an event: many writers, stalled, rolled back, and beside a long transaction."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.application import Ledger
from ledger.store.database import Database
from projections.follower import Follower, Recorded
from projections.lags import lags
from tests.projections.recording import Notebook, log_of
from tests.support.appending import append
from tests.support.checkouts import HALF_PAST_TEN, new_session
from tests.support.horizon import until_readable
from tests.support.keys import event_macs, key_ring

WRITERS = 8
EVENTS_OF_EACH = 1_280
SECONDS_AT_MOST = 60
MAX_ROUNDS_AT_THE_END = 10_000
ELSEWHERE = """
INSERT INTO attempt_checks (session_id, attempt, asked_at, tries, next_check_at, last_answer)
VALUES (gen_random_uuid(), 1, now(), 0, now(), 'waiting')
"""


class Stumbled(Exception):
    """The notebook fell over."""


class Race:
    """What the writers of one run share: who has committed how often, and what was rolled back."""

    def __init__(self, ledger: Ledger, database: Database) -> None:
        self.ledger = ledger
        self.database = database
        self.committed: set[tuple[UUID, int]] = set()
        self._moved = threading.Condition()
        self._commits = 0
        self._writing = WRITERS

    def note(self, written: set[tuple[UUID, int]]) -> None:
        with self._moved:
            self.committed |= written
            self._commits += 1
            self._moved.notify_all()

    def leave(self) -> None:
        with self._moved:
            self._writing -= 1
            self._moved.notify_all()

    def wait_for_commits(self, number: int) -> None:
        """Stall until others have committed so often, or too few are left to do so."""
        with self._moved:
            goal = self._commits + number
            self._moved.wait_for(
                lambda: self._commits >= goal or self._writing <= WRITERS // 2, SECONDS_AT_MOST
            )

    def write(self, seed: int) -> None:
        """Append until this writer has committed its share, a part of the time in an awkward way."""
        chance = random.Random(seed)
        done = 0
        try:
            while done < EVENTS_OF_EACH:
                done += self._one_transaction(chance)
        finally:
            self.leave()

    def _one_transaction(self, chance: random.Random) -> int:
        written: set[tuple[UUID, int]] = set()
        kind = chance.random()
        stalls, changes_its_mind = kind < 0.04, 0.04 <= kind < 0.12
        with self.database.transaction(commit=not changes_its_mind) as connection:
            for _ in range(chance.choice((1, 1, 1, 2, 3))):
                written |= self._append(connection, chance)
            if stalls:
                self.wait_for_commits(chance.randint(3, 20))
        if changes_its_mind:
            return 0
        self.note(written)
        return len(written)

    def _append(self, connection: Connection[Any], chance: random.Random) -> set[tuple[UUID, int]]:
        session = new_session()
        for extension in range(chance.randint(3, 9)):
            at = HALF_PAST_TEN + timedelta(seconds=extension)
            session.extend(minutes=15, max_extensions=100, at=at)
        append(connection, self.ledger, session)
        return {(session.id, version) for version in range(1, session.version + 1)}


class Stumbling(Notebook):
    """Falls over now and then, after it has written: its batch must come again whole."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        super().apply(connection, batch)
        if self._chance.random() < 0.1:
            raise Stumbled


def follow(database: Database, notebook: Notebook, over: threading.Event) -> None:
    """Poll all the while, and until nothing is left once the writers are done."""
    follower = Follower(database, event_macs(database), notebook, batch_size=97)
    while not over.wait(0.002):
        with suppress(Stumbled):
            follower.run_once()
    until_readable(database)
    for _ in range(MAX_ROUNDS_AT_THE_END):
        if not lags(database, [notebook.name])[notebook.name].events:
            return
        with suppress(Stumbled):
            follower.run_once()


def hold_back_for_a_while(race: Race) -> None:
    """Write to another table, and take long over it."""
    with race.database.transaction() as connection:
        connection.execute(ELSEWHERE)
        race.wait_for_commits(80)


def test_ten_thousand_events_of_eight_writers_are_each_seen_once_and_in_order(database_url: str) -> None:
    database = Database(database_url, max_connections=WRITERS + 6)
    notebook = Stumbling()
    Notebook.opened(database)
    race = Race(Ledger(database, key_ring(database)), database)
    over = threading.Event()
    with ThreadPoolExecutor(WRITERS + 3) as threads:
        readers = [threads.submit(follow, database, notebook, over) for _ in range(2)]
        writers: list[Future[None]] = [threads.submit(race.write, seed) for seed in range(WRITERS)]
        writers.append(threads.submit(hold_back_for_a_while, race))
        try:
            for writer in writers:
                writer.result(SECONDS_AT_MOST)
        finally:
            over.set()
        for reader in readers:
            reader.result(SECONDS_AT_MOST)
    seen = notebook.seen(database)
    assert len(race.committed) >= 10_000
    assert log_of(database) == race.committed
    assert set(seen) == race.committed
    assert len(seen) == len(race.committed)
    assert in_order(seen)
    database.close()


def in_order(seen: list[tuple[UUID, int]]) -> bool:
    """Say whether each session's events came from its first version on, without a gap."""
    last: dict[UUID, int] = {}
    for session_id, version in seen:
        if version != last.get(session_id, 0) + 1:
            return False
        last[session_id] = version
    return True

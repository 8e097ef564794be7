"""A store on disk in which one buyer has bought once, to be filled with valid copies of that session."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from api.local.local_settings import local_settings
from tests.bench.bench_stack import BenchStack, environment, folder_on_disk, started_daftari
from tests.bench.connection import Connection
from tests.bench.copies import FIRST_NUMBER, Filling, fill
from tests.bench.lifecycles import SESSIONS, Buyer, Purchase
from tests.bench.plain_stack import superuser_url
from tests.support.waiting import wait_until

POLL_SECONDS = 0.005
CAUGHT_UP_WITHIN_SECONDS = 3_600
_IS_BEHIND = """
SELECT EXISTS (SELECT FROM payment_events WHERE position > (SELECT min(position) FROM follower_positions)) AS behind
"""


@dataclass
class SampleStore:
    """The folder of an instance that is stopped, its environment, and what was bought in it."""

    folder: Path
    environ: dict[str, str]
    buyer: Buyer
    session_id: UUID
    buyers_made: int
    next_number: int = FIRST_NUMBER

    @property
    def master_key(self) -> bytes:
        """Return the key by which the events are protected."""
        return local_settings(self.environ).daftari_master_key

    def fill(self, url: str, count: int, share_of_buyer: float = 0.0) -> None:
        """Add copies to the database at `url`, of which the buyer has a share, and bring its statistics up to date."""
        fill(
            Filling(
                url,
                self.master_key,
                self.session_id,
                self.buyer.user,
                share_of_buyer,
                count,
                self.next_number,
            )
        )
        self.next_number += count
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")


@contextmanager
def sample_store() -> Iterator[SampleStore]:
    """Buy once in a new instance, and stop it; its folder is removed at the end."""
    folder = folder_on_disk()
    try:
        environ = environment(folder)
        with started_daftari(folder, environ) as stack:
            buyer, session_id = _bought(stack)
            catch_up(stack)
        yield SampleStore(folder, environ, buyer, session_id, stack.buyers_made)
    finally:
        shutil.rmtree(folder)


def _bought(stack: BenchStack) -> tuple[Buyer, UUID]:
    [buyer] = stack.make_buyers(1)
    with Connection(stack.port) as connection:
        purchase = Purchase(connection, buyer, POLL_SECONDS)
        failure = purchase.run().failure
    assert failure is None, failure
    return buyer, UUID(purchase.session.removeprefix(SESSIONS).strip("/"))


def catch_up(stack: BenchStack) -> None:
    """Wait until the followers have seen every event."""
    with psycopg.connect(superuser_url(stack), autocommit=True) as connection:
        wait_until(
            lambda: connection.execute(_IS_BEHIND).fetchone() == (False,),
            "every follower has read the log",
            CAUGHT_UP_WITHIN_SECONDS,
        )

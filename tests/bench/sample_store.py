"""A store on disk in which one buyer has bought once, to be filled with sample sessions."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from os import cpu_count
from pathlib import Path

import psycopg

from api.local.local_settings import local_settings
from ledger import clock
from payments.sample.chunks import Sample
from payments.sample.generation import Store, write_sample
from tests.bench.bench_stack import BenchStack, environment, folder_on_disk, started_daftari
from tests.bench.connection import Connection
from tests.bench.lifecycles import Buyer, Purchase
from tests.bench.plain_stack import superuser_url
from tests.support.waiting import wait_until

POLL_SECONDS = 0.005
DAYS = 30
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
    buyers_made: int
    next_seed: int = 1

    @property
    def master_key(self) -> bytes:
        """Return the key by which the events are protected."""
        return local_settings(self.environ).daftari_master_key

    def fill(self, url: str, count: int, share_of_buyer: float = 0.0) -> None:
        """Add sessions of the last days to the database at `url`, of which the buyer has a share; analyze it."""
        last = clock.now().astimezone(clock.NAIROBI).date() - timedelta(days=1)
        first = last - timedelta(days=DAYS - 1)
        sample = Sample(count, self.next_seed, first, last, self.buyer.user, share_of_buyer)
        write_sample(Store(url, self.master_key), sample, cpu_count() or 1)
        self.next_seed += 1
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
            buyer = _bought(stack)
            catch_up(stack)
        yield SampleStore(folder, environ, buyer, stack.buyers_made)
    finally:
        shutil.rmtree(folder)


def _bought(stack: BenchStack) -> Buyer:
    [buyer] = stack.make_buyers(1)
    with Connection(stack.port) as connection:
        purchase = Purchase(connection, buyer, POLL_SECONDS)
        failure = purchase.run().failure
    assert failure is None, failure
    return buyer


def catch_up(stack: BenchStack) -> None:
    """Wait until the followers have seen every event."""
    with psycopg.connect(superuser_url(stack), autocommit=True) as connection:
        wait_until(
            lambda: connection.execute(_IS_BEHIND).fetchone() == (False,),
            "every follower has read the log",
            CAUGHT_UP_WITHIN_SECONDS,
        )

"""`python -m tests.upgrade.make_release`: run a week of payments with this code, and dump the database.

Run it at a release, under that release's code, and keep what it writes: the tests load it into the code of today.
"""

import gzip
import json
import logging
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import structlog
from freezegun import freeze_time

from api.local.accounts import account_for
from api.local.binaries import find_binaries
from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.migrate import migrate
from payments.exceptions.next_steps import Kind
from payments.exceptions.work_list import tally
from projections import history
from tests.scenarios.steps import Clock
from tests.support.database import TestCluster, new_database, reachable_folder
from tests.support.instance import SIMULATED, Instance, running_instance
from tests.support.invariants import assert_invariants_hold
from tests.upgrade import past_ends, past_payments, past_refunds
from tests.upgrade.past import CALLBACK_LOST, Past
from tests.upgrade.release import DUMP, EXPECTED, KNOWN_TEXTS, MASTER_KEY, count_all

BEGINS_AT = "2026-11-10T06:00:00Z"
OWN_FOLDER = Path(__file__).parent

ROLE = """
DO $$ BEGIN CREATE ROLE daftari_app NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
"""
"""Roles are the cluster's, so that no dump of one database has them."""

NEWER_THAN_15 = ("SET transaction_timeout", "\\restrict", "\\unrestrict")
"""How lines of a dump begin that PostgreSQL 15, or a client that is not psql, does not understand."""


def main() -> None:
    """Write the dump and what to expect of it beside this file."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    cluster, folder = TestCluster(), reachable_folder()
    try:
        with new_database(cluster.start()) as url:
            migrate(url)
            expected = run_a_week(url, folder)
            text = dump(url, folder)
    finally:
        cluster.stop()
        shutil.rmtree(folder)
    (OWN_FOLDER / DUMP).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    (OWN_FOLDER / EXPECTED).write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", "utf-8")


def run_a_week(url: str, folder: Path) -> dict[str, Any]:
    """Run a week of payments; return what the tests expect of the database."""
    with freeze_time(BEGINS_AT) as frozen:
        assert isinstance(frozen, Clock)
        past = Past(frozen)
        with _running(past, url, folder, DAFTARI_REFUND_POLICY="auto"):
            _first_day(past)
        frozen.tick(timedelta(days=3))
        with _running(past, url, folder) as instance:
            _fourth_day(past)
            frozen.tick(timedelta(days=3))
            _seventh_day(past)
            past_ends.end(past)
            assert_invariants_hold(
                instance.services.database,
                instance.services.vault,
                known_texts=KNOWN_TEXTS,
                with_messages=True,
                prompt_seconds=instance.settings.daftari_prompt_seconds,
            )
            return _expected(past)


def dump(url: str, folder: Path) -> str:
    """Return a database as SQL statements that PostgreSQL 15 and newer execute, sent by whichever client."""
    program = find_binaries(account_for(folder)).folder / "pg_dump"
    options = ["--no-owner", "--inserts", "--rows-per-insert=100", f"--dbname={url}"]
    output = subprocess.run([str(program), *options], capture_output=True, text=True, check=True).stdout
    lines = [line for line in output.splitlines() if not line.startswith(NEWER_THAN_15)]
    return ROLE + "\n".join(lines) + "\n"


@contextmanager
def _running(past: Past, url: str, folder: Path, **variables: str) -> Iterator[Instance]:
    with (
        running_instance(url, folder, DAFTARI_MASTER_KEY=MASTER_KEY, **variables) as instance,
        past.running(instance),
    ):
        yield instance


def _first_day(past: Past) -> None:
    past_ends.store_credentials(past)
    past_ends.pull(past)
    past_payments.ordinary_hours(past, paid=35, failed=16, left=20)
    past_payments.erase_a_customer(past)
    past_refunds.refund_by_policy(past)


def _fourth_day(past: Past) -> None:
    past_ends.pull(past)
    past.close_newest(Kind.PULL_GAP)
    past_payments.ordinary_hours(past, paid=35, failed=16, left=20)
    past_payments.lose_answers(past)
    past_payments.import_a_whole_statement(past)


def _seventh_day(past: Past) -> None:
    past_ends.pull(past)
    past_ends.pull(past, past_ends.UNREADABLE)
    past_payments.ordinary_hours(past, paid=25, failed=12, left=12)
    past_payments.fail_one_of_two_attempts(past)
    past_payments.report_discrepancies(past)
    past_payments.pay_without_a_reference(past)
    past_payments.post_what_cannot_be_used(past)
    past_payments.post_unauthenticated_callback_too_early(past)
    past_payments.let_the_shop_fail(past)
    past_refunds.complete_refunds(past)
    past_refunds.fail_refunds(past)
    past_refunds.owe_surplus(past)
    past_refunds.import_a_statement_of_reversals(past)
    past.prompt(CALLBACK_LOST)
    past_refunds.doubt(past)
    past_refunds.stop_refund_jobs(past)
    past_ends.store_a_message_without_endpoint(past)
    assert not past.instance.services.verifier.run().violations


def _expected(past: Past) -> dict[str, Any]:
    services, now = past.instance.services, clock.now()
    with psycopg.connect(services.database.url) as connection:
        counts = count_all(connection)
    last_block = services.blocks.last()
    assert last_block is not None
    return counts | {
        "ended_at": now.isoformat(),
        "cases_by_kind": {str(kind): found.cases for kind, found in tally(services.database, now).items()},
        "names_by_topic": _names_by_topic(services.database, services.ledger.macs),
        "last_block": last_block.name,
        "credentials": SIMULATED,
        "confirmation_path": past_payments.confirmation_path(past),
        "sessions": past.describe_named(),
    }


def _names_by_topic(database: Database, macs: EventMacs) -> dict[str, str]:
    with database.connection() as connection:
        rows = connection.execute("SELECT session_id FROM payment_sessions").fetchall()
    entries = (entry for row in rows for entry in history.history(database, macs, row["session_id"]))
    return {entry.topic: entry.name for entry in entries}


if __name__ == "__main__":
    main()

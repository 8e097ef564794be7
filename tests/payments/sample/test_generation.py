from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.errors import Rejected
from ledger.store.database import Database
from payments.sample import chunks, people
from payments.sample.chunks import ChunkWriter, Sample
from payments.sample.generation import Progress, Store, generate, require_no_others
from payments.sample.lives import NUMBERS_A_SESSION
from payments.verification.verifier import examine_all
from payments.worker.processes import FOLLOWERS
from projections.integrity.chain import check_chain
from shop.demo import demo_data
from tests.support.checkouts import Checkout
from tests.support.keys import MASTER_KEY

SAMPLE = Sample(sessions=160, seed=3, first=date(2024, 1, 1), last=date(2024, 1, 31), at_once=40)
SESSIONS = """
SELECT session_id, user_id, session_status, total_cents, receipt, order_number, failure_code, county_id, created_at,
       updated_at FROM payment_sessions ORDER BY session_id
"""
BEHIND = """
SELECT (SELECT count(*) FROM follower_positions
        WHERE position >= (SELECT max(position) FROM payment_events)) AS at_the_end,
       (SELECT count(*) FROM follower_positions) AS followers,
       (SELECT sum(events) FROM signed_blocks)::bigint AS signed, (SELECT count(*) FROM payment_events) AS events
"""


@pytest.fixture
def store(database_url: str) -> Store:
    return Store(database_url, MASTER_KEY)


def rows(database: Database, statement: str) -> list[dict[str, Any]]:
    with database.connection() as connection:
        return connection.execute(statement.encode()).fetchall()


def violations(store: Store) -> list[Any]:
    with store.opened() as (database, vault):
        whole = examine_all(database, vault, is_idle=False, with_messages=True, prompt_seconds=120)
        return [*whole.violations, *check_chain(database, vault).violations]


def test_a_sample_verifies_and_everything_that_follows_the_log_is_at_its_end(
    store: Store, database: Database
) -> None:
    told: list[Progress] = []
    generate(store, SAMPLE, 1, told.append)
    assert violations(store) == []
    [ends] = rows(database, BEHIND)
    assert ends["at_the_end"] == ends["followers"] == len(FOLLOWERS)
    assert ends["signed"] == ends["events"] > 600
    assert all(0 <= each.share <= 1 for each in told)
    assert {each.step for each in told} >= {"sessions", "signing", "payment_search", "journal_entries"}


def test_a_sample_has_what_a_shop_has(store: Store, database: Database) -> None:
    generate(store, replace(SAMPLE, sessions=900, at_once=300), 1)
    statuses = Counter(row["session_status"] for row in rows(database, SESSIONS))
    assert 0.55 < statuses["order_created"] / 900 < 0.75
    assert 0.08 < statuses["expired"] / 900 < 0.18
    codes = Counter(row["failure_code"] for row in rows(database, SESSIONS))
    assert (
        codes["CANCELLED_BY_USER"]
        > codes["NO_RESPONSE"]
        > codes["INSUFFICIENT_FUNDS"]
        > codes["WRONG_PIN"]
        > 0
    )
    [counted] = rows(
        database,
        "SELECT (SELECT count(*) FROM payment_refunds WHERE state = 'refunded') AS refunded,"
        " (SELECT count(*) FROM mpesa_movements) AS c2b,"
        " (SELECT count(*) FROM payment_sessions WHERE attempts > 1) AS tried_again,"
        " (SELECT count(DISTINCT user_id) FROM payment_sessions) AS buyers",
    )
    assert min(counted.values()) > 0
    assert counted["buyers"] < 800  # Others came back.
    by_hour = Counter((row["created_at"].hour + 3) % 24 for row in rows(database, SESSIONS))
    assert by_hour[19] > 10 * by_hour[3]


def test_the_same_seed_gives_the_same_sessions_whoever_writes_them(
    store: Store, database: Database, another_store: Store
) -> None:
    generate(store, SAMPLE, 1)
    generate(another_store, SAMPLE, 2)
    with another_store.opened() as (other, _):
        assert rows(database, SESSIONS) == rows(other, SESSIONS)


def test_a_sample_that_was_ended_goes_on_where_it_was(store: Store, database: Database) -> None:
    with store.opened() as (opened, vault):
        demo_data(opened)
        ChunkWriter(SAMPLE, opened, vault).write(2)
    assert [each.rule for each in violations(store) if each.rule not in ("metrics", "books")] == []
    before = rows(database, SESSIONS)
    generate(store, SAMPLE, 1)
    generate(store, SAMPLE, 1)
    after = rows(database, SESSIONS)
    assert (len(before), len(after)) == (40, 160)
    assert [row for row in after if row in before] == before
    assert violations(store) == []


def test_other_options_with_the_same_seed_are_refused_and_another_seed_adds(
    store: Store, database: Database
) -> None:
    generate(store, SAMPLE, 1)
    for processes in (1, 2):
        with pytest.raises(Rejected, match="give another seed"):
            generate(store, replace(SAMPLE, last=date(2024, 2, 1)), processes)
    generate(store, replace(SAMPLE, seed=4), 1)
    require_no_others(database)
    assert len(rows(database, SESSIONS)) == 320
    assert violations(store) == []


def test_a_store_with_real_sessions_is_refused(ledger: Ledger, database: Database) -> None:
    require_no_others(database)
    Checkout(ledger).prompt()
    with pytest.raises(Rejected, match="never rewritten"):
        require_no_others(database)


def test_an_owner_gets_a_share(store: Store, database: Database) -> None:
    generate(store, replace(SAMPLE, owner=7, of_owner=0.5), 1)
    owned = sum(row["user_id"] == 7 for row in rows(database, SESSIONS))
    assert 50 < owned < 110
    assert violations(store) == []


def test_numbers_and_phones_of_all_seeds_keep_apart() -> None:
    assert chunks.MAX_SESSIONS * NUMBERS_A_SESSION < chunks.NUMBERS_A_SEED
    assert people.PAST_LAST_BUYER < 2**52  # Where the ids of users named by text begin.
    everyone = people.People(people.MAX_SEED, [(47, 1), (1, 2)])
    persons = [everyone.person(number) for number in range(2_000)]
    assert len({person.phone for person in persons}) == 2_000
    assert all(person.phone.startswith("25419") and len(person.phone) == 12 for person in persons)
    assert Counter(person.county_id for person in persons)[47] > 1_500
    assert "phone" not in repr(persons[0]), "personal data are not for logs"

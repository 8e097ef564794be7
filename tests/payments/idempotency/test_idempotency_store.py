"""One idempotency key, one effect: who may run, who is answered again, and who must wait."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.errors import Conflict, Rejected
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.idempotency.idempotency_store import (
    ANSWERS_LAST,
    CLAIM_LASTS,
    Claimed,
    IdempotencyStore,
    Replay,
)
from tests.support.proxy import proxy_before

NOON = "2024-01-15 12:00:00"


@pytest.fixture
def store(database: Database) -> IdempotencyStore:
    return IdempotencyStore(database, Vault(database, bytes(range(32))))


def claim(store: IdempotencyStore, user_id: int = 7, key: str = "key", fingerprint: str = "body") -> Claimed:
    """Claim a key that is free."""
    claimed = store.claim(user_id, key, fingerprint)
    assert isinstance(claimed, Claimed)
    return claimed


def test_the_first_runs_and_the_next_is_given_its_answer(store: IdempotencyStore) -> None:
    store.finish(claim(store), 201, '{"phone": "254712345678"}')
    assert store.claim(7, "key", "body") == Replay(201, '{"phone": "254712345678"}')
    assert store.claim(7, "key", "body") == Replay(201, '{"phone": "254712345678"}')


def test_an_answer_is_encrypted_at_rest(store: IdempotencyStore, database: Database) -> None:
    store.finish(claim(store), 201, "254712345678")
    with database.connection() as connection:
        row = connection.execute("SELECT sealed_body FROM idempotency_keys").fetchone()
    assert row is not None
    assert row["sealed_body"].startswith("v2.")
    assert "254712345678" not in row["sealed_body"]


def test_a_key_belongs_to_one_user(store: IdempotencyStore) -> None:
    claim(store)
    store.finish(claim(store, 8, "key", "another body"), 200, "of 8")
    with pytest.raises(Conflict):
        store.claim(7, "key", "body")


@pytest.mark.parametrize("is_answered", [False, True])
def test_another_request_under_the_same_key_is_refused(store: IdempotencyStore, *, is_answered: bool) -> None:
    claimed = claim(store)
    if is_answered:
        store.finish(claimed, 201, "{}")
    with pytest.raises(Rejected) as refusal:
        store.claim(7, "key", "another body")
    assert refusal.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert refusal.value.message == (
        "This Idempotency-Key was used for another request. Use a new key for a new request."
    )


def test_while_the_first_runs_the_next_gets_retry_after(store: IdempotencyStore) -> None:
    store.claim(7, "key", "body")
    with pytest.raises(Conflict) as refusal:
        store.claim(7, "key", "body")
    assert refusal.value.code == "IDEMPOTENCY_KEY_IN_USE"
    assert refusal.value.retry_after_seconds == 1
    assert refusal.value.message == (
        "A request with this Idempotency-Key is still running. Ask again in a moment."
    )


def test_of_many_at_once_one_runs(store: IdempotencyStore) -> None:
    def may_run(_: int) -> bool:
        try:
            return isinstance(store.claim(7, "key", "body"), Claimed)
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(may_run, range(16))) == 1


def test_the_key_of_a_request_that_crashed_is_taken_over_when_no_request_can_still_run(
    store: IdempotencyStore,
) -> None:
    with freeze_time(NOON) as time:
        store.claim(7, "key", "body")
        time.tick(CLAIM_LASTS - timedelta(seconds=1))
        with pytest.raises(Conflict):
            store.claim(7, "key", "body")
        time.tick(timedelta(seconds=1))
        claim(store)
        with pytest.raises(Conflict):
            store.claim(7, "key", "body")
        time.tick(CLAIM_LASTS)
        claim(store)


def test_a_request_whose_claim_was_taken_over_neither_answers_nor_releases_for_its_successor(
    store: IdempotencyStore,
) -> None:
    with freeze_time(NOON) as time:
        late = claim(store)
        time.tick(CLAIM_LASTS)
        current = claim(store)
        store.release(late)
        store.finish(late, 201, "of the late one")
        with pytest.raises(Conflict):
            store.claim(7, "key", "body")
        store.finish(current, 201, "of the current one")
        store.finish(late, 201, "of the late one")
        store.release(late)
        assert store.claim(7, "key", "body") == Replay(201, "of the current one")


def test_a_released_key_may_be_used_by_any_request(store: IdempotencyStore) -> None:
    claimed = claim(store)
    claim(store, key="other key")
    claim(store, 8)
    store.release(claimed)
    claim(store, fingerprint="another body")
    for user, key in ((7, "other key"), (8, "key")):
        with pytest.raises(Conflict):
            store.claim(user, key, "body")


def test_a_key_that_an_outage_held_is_free_as_soon_as_the_process_claims_another(database_url: str) -> None:
    with proxy_before(database_url) as proxy, closing(Database(proxy.url)) as fragile:
        store = IdempotencyStore(fragile, Vault(fragile, bytes(range(32))))
        claimed = claim(store)
        proxy.cut()
        store.release(claimed)
        proxy.restore()
        claim(store, key="other key")
        claim(store)


def test_an_outage_does_not_take_a_temporary_answer_from_its_client(database_url: str) -> None:
    with proxy_before(database_url) as proxy, closing(Database(proxy.url)) as fragile:
        store = IdempotencyStore(fragile, Vault(fragile, bytes(range(32))))

        def run() -> str:
            proxy.cut()
            return "busy"

        assert store.answer_once(7, "key", "body", run, lambda _: None) == "busy"
        proxy.restore()
        assert store.answer_once(7, "key", "body", lambda: "done", lambda _: (201, "{}")) == "done"


def test_an_answer_that_was_given_is_not_released(store: IdempotencyStore) -> None:
    claimed = claim(store)
    store.finish(claimed, 201, "{}")
    store.release(claimed)
    assert store.claim(7, "key", "body") == Replay(201, "{}")


def test_answers_are_forgotten_after_their_day_and_not_before(store: IdempotencyStore) -> None:
    with freeze_time(NOON) as time:
        store.claim(7, "old", "body")
        time.tick(timedelta(seconds=1))
        store.claim(7, "young", "body")
        time.tick(ANSWERS_LAST - timedelta(seconds=2))
        assert store.forget_old(clock.now()) == 0
        time.tick(timedelta(seconds=1))
        assert store.forget_old(clock.now()) == 1
        claim(store, key="old")

"""One idempotency key, one effect: who may run, who is answered again, and who must wait."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

import pytest
from freezegun import freeze_time

from ledger.errors import Conflict, DatabaseUnavailable, Rejected
from ledger.store.database import Database
from ledger.store.parts import read_parts, run_parts
from ledger.store.vault import Vault
from payments.idempotency.idempotency_store import IdempotencyStore
from payments.idempotency.keyed_request import (
    CLAIM_LASTS,
    WITHOUT_KEY,
    AnsweredBefore,
    KeyedRequest,
    KeyTaken,
)
from tests.support.proxy import cut_off, proxy_before

NOON = "2024-01-15 12:00:00"


@pytest.fixture
def store(database: Database) -> IdempotencyStore:
    return IdempotencyStore(database, Vault(database, bytes(range(32))))


def claim(
    store: IdempotencyStore, user_id: int = 7, key: str = "key", fingerprint: str = "body"
) -> KeyedRequest:
    """Claim a key that is free."""
    request = store.request(user_id, key, fingerprint)
    store.claim(request)
    return request


def command(store: IdempotencyStore, database: Database, answer: str = "{}") -> KeyedRequest:
    """Do what a command of one commit does: read the key, then keep the answer."""
    request = store.request(7, "key", "body")
    request.show = lambda shown: (201, shown)
    request.check(read_parts(database, request.to_read()))
    write(database, request, answer)
    return request


def write(database: Database, request: KeyedRequest, answer: str) -> None:
    with database.connection() as connection:
        run_parts(connection, request.to_answer(answer))
    request.written(answer)


@contextmanager
def answered(status: int, body: str) -> Iterator[None]:
    """Expect the first answer."""
    with pytest.raises(AnsweredBefore) as before:
        yield
    assert (before.value.status, before.value.body) == (status, body)


def test_the_first_runs_and_the_next_is_given_its_answer(store: IdempotencyStore) -> None:
    store.keep(claim(store), 201, '{"phone": "254712345678"}')
    for _ in range(2):
        with answered(201, '{"phone": "254712345678"}'):
            claim(store)


def test_an_answer_is_encrypted_at_rest(store: IdempotencyStore, database: Database) -> None:
    store.keep(claim(store), 201, "254712345678")
    with database.connection() as connection:
        row = connection.execute("SELECT sealed_body FROM idempotency_keys").fetchone()
    assert row is not None
    assert row["sealed_body"].startswith("v2.")
    assert "254712345678" not in row["sealed_body"]


def test_a_key_belongs_to_one_user(store: IdempotencyStore) -> None:
    claim(store)
    store.keep(claim(store, 8, "key", "another body"), 200, "of 8")
    with pytest.raises(Conflict):
        claim(store)


@pytest.mark.parametrize("is_answered", [False, True])
def test_another_request_under_the_same_key_is_refused(store: IdempotencyStore, *, is_answered: bool) -> None:
    claimed = claim(store)
    if is_answered:
        store.keep(claimed, 201, "{}")
    with pytest.raises(Rejected) as refusal:
        claim(store, fingerprint="another body")
    assert refusal.value.code == "IDEMPOTENCY_KEY_REUSED"
    assert refusal.value.message == (
        "This Idempotency-Key was used for another request. Use a new key for a new request."
    )


def test_while_the_first_runs_the_next_gets_retry_after(store: IdempotencyStore) -> None:
    claim(store)
    with pytest.raises(Conflict) as refusal:
        claim(store)
    assert refusal.value.code == "IDEMPOTENCY_KEY_IN_USE"
    assert refusal.value.retry_after_seconds == 1
    assert refusal.value.message == (
        "A request with this Idempotency-Key is still running. Ask again in a moment."
    )


def test_of_many_at_once_one_runs(store: IdempotencyStore) -> None:
    def may_run(_: int) -> bool:
        try:
            claim(store)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(may_run, range(16))) == 1


def test_of_many_commands_at_once_one_is_written(store: IdempotencyStore, database: Database) -> None:
    def is_written(number: int) -> bool:
        try:
            command(store, database, str(number))
        except (KeyTaken, AnsweredBefore):
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(is_written, range(16))) == 1


def test_a_command_keeps_its_answer_in_its_own_commit(store: IdempotencyStore, database: Database) -> None:
    assert command(store, database, '{"first": 1}').is_kept
    with answered(201, '{"first": 1}'):
        command(store, database)


def test_an_answer_counts_as_kept_only_for_the_session_that_it_was_written_with(
    store: IdempotencyStore,
) -> None:
    request = store.request(7, "key", "body")
    request.show = lambda _: (200, "{}")
    request.to_answer("the session that another writer was before")
    request.written("the session loaded again, on which nothing was left to do")
    assert not request.is_kept


def test_a_command_that_was_read_before_another_claimed_its_key_is_refused_whole(
    store: IdempotencyStore, database: Database
) -> None:
    request = store.request(7, "key", "body")
    request.show = lambda shown: (201, shown)
    request.check(read_parts(database, request.to_read()))
    claimed = claim(store)
    with pytest.raises(KeyTaken):
        write(database, request, "late")
    store.keep(claimed, 201, "first")
    with pytest.raises(KeyTaken):
        write(database, request, "late")
    assert not request.is_kept


def test_a_request_whose_command_found_its_key_taken_is_answered_like_the_first(
    store: IdempotencyStore, database: Database
) -> None:
    request = store.request(7, "key", "body")
    request.show = lambda shown: (201, shown)

    def run() -> str:
        request.check(read_parts(database, request.to_read()))
        store.keep(claim(store), 201, "first")
        write(database, request, "late")
        return "late"

    with answered(201, "first"):
        store.answer_once(request, run, lambda _: (201, "late"), claims_first=False)


@pytest.mark.parametrize("kept", [(400, "refused"), None])
def test_a_request_refused_before_its_command_read_the_key_is_answered_like_the_first(
    store: IdempotencyStore, kept: tuple[int, str] | None
) -> None:
    store.keep(claim(store), 201, "first")
    request = store.request(7, "key", "body")
    with answered(201, "first"):
        store.answer_once(request, lambda: "refused", lambda _: kept, claims_first=False)
    other = store.request(7, "key", "another body")
    with pytest.raises(Rejected):
        store.answer_once(other, lambda: "refused", lambda _: kept, claims_first=False)


def test_a_final_refusal_without_a_claim_is_kept(store: IdempotencyStore) -> None:
    request = store.request(7, "key", "body")
    assert store.answer_once(request, lambda: "no", lambda _: (400, "no"), claims_first=False) == "no"
    with answered(400, "no"):
        claim(store)


def test_the_claim_of_a_command_is_released_with_a_temporary_refusal_and_no_other_claim(
    store: IdempotencyStore, database: Database
) -> None:
    def run(request: KeyedRequest, *, fails: bool) -> str:
        request.check(read_parts(database, request.to_read()))
        with request.claiming(), database.connection() as connection:
            run_parts(connection, request.to_claim())
        if not fails:
            claim_fails(store)
        return "busy"

    with freeze_time(NOON):  # All claims end at one moment: none is told from another by it alone.
        for fails in (False, True):
            request = store.request(7, "key", "body")
            store.answer_once(request, lambda: run(request, fails=fails), lambda _: None, claims_first=False)  # noqa: B023 - it runs at once
        claim(store)


def claim_fails(store: IdempotencyStore) -> None:
    """Let a second request meet the claim of a first, in the same moment, and end."""
    second = store.request(7, "key", "body")
    with pytest.raises(Conflict):
        store.answer_once(second, lambda: "ran", lambda _: (200, "ran"))
    with pytest.raises(Conflict):
        store.answer_once(second, lambda: "ran", lambda _: (200, "ran"), claims_first=False)


def test_the_key_of_a_request_that_crashed_is_taken_over_when_no_request_can_still_run(
    store: IdempotencyStore,
) -> None:
    with freeze_time(NOON) as time:
        claim(store)
        time.tick(CLAIM_LASTS - timedelta(seconds=1))
        with pytest.raises(Conflict):
            claim(store)
        time.tick(timedelta(seconds=1))
        claim(store)
        with pytest.raises(Conflict):
            claim(store)
        time.tick(CLAIM_LASTS)
        with pytest.raises(Rejected):
            claim(store, fingerprint="another body")
        claim(store)


def test_a_command_takes_a_lapsed_claim_over_with_its_answer(
    store: IdempotencyStore, database: Database
) -> None:
    with freeze_time(NOON) as time:
        late = claim(store)
        time.tick(CLAIM_LASTS)
        command(store, database, "second")
        store.keep(late, 201, "late")
        store.release(late)
        with answered(201, "second"):
            claim(store)


def test_a_request_whose_claim_was_taken_over_neither_answers_nor_releases_for_its_successor(
    store: IdempotencyStore,
) -> None:
    with freeze_time(NOON) as time:
        late = claim(store)
        time.tick(CLAIM_LASTS)
        current = claim(store)
        store.release(late)
        store.keep(late, 201, "of the late one")
        with pytest.raises(Conflict):
            claim(store)
        store.keep(current, 201, "of the current one")
        store.keep(late, 201, "of the late one")
        store.release(late)
        with answered(201, "of the current one"):
            claim(store)


def test_a_released_key_may_be_used_by_any_request(store: IdempotencyStore) -> None:
    claimed = claim(store)
    claim(store, key="other key")
    claim(store, 8)
    store.release(claimed)
    claim(store, fingerprint="another body")
    for user, key in ((7, "other key"), (8, "key")):
        with pytest.raises(Conflict):
            claim(store, user, key)


def test_a_key_that_an_outage_held_is_free_with_the_next_request_of_the_process(database_url: str) -> None:
    with proxy_before(database_url) as proxy, closing(Database(proxy.url)) as fragile:
        store = IdempotencyStore(fragile, Vault(fragile, bytes(range(32))))
        claimed = claim(store)
        with cut_off(proxy, fragile):
            store.release(claimed)
        other = store.request(7, "other key", "body")
        assert store.answer_once(other, lambda: "done", lambda _: (201, "{}")) == "done"
        claim(store)


def test_an_outage_does_not_take_a_temporary_answer_from_its_client(database_url: str) -> None:
    with proxy_before(database_url) as proxy, closing(Database(proxy.url)) as fragile:
        store = IdempotencyStore(fragile, Vault(fragile, bytes(range(32))))
        busy = store.request(7, "key", "body")
        with ExitStack() as outage:

            def run() -> str:
                outage.enter_context(cut_off(proxy, fragile))
                return "busy"

            assert store.answer_once(busy, run, lambda _: None) == "busy"
        again = store.request(7, "key", "body")
        assert store.answer_once(again, lambda: "done", lambda _: (201, "{}")) == "done"


def test_a_claim_whose_commit_was_not_answered_is_released(
    store: IdempotencyStore,
) -> None:
    request = claim(store)
    request.is_claimed = False
    with pytest.raises(DatabaseUnavailable), request.claiming():
        raise DatabaseUnavailable
    assert request.is_claimed


def test_an_answer_that_was_given_is_not_released(store: IdempotencyStore) -> None:
    claimed = claim(store)
    store.keep(claimed, 201, "{}")
    store.release(claimed)
    with answered(201, "{}"):
        claim(store)


def test_a_request_without_a_key_adds_nothing() -> None:
    assert WITHOUT_KEY.to_read() == WITHOUT_KEY.to_claim() == WITHOUT_KEY.to_answer("session") == {}
    WITHOUT_KEY.check({})
    WITHOUT_KEY.written("session")
    with WITHOUT_KEY.claiming():
        assert WITHOUT_KEY.name is None

"""One idempotency key, one effect: a request runs once, and a repeat gets its first answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from ledger import clock
from ledger.errors import Conflict, DatabaseUnavailable, Rejected
from ledger.store.connection import Connection
from ledger.store.database import Database
from ledger.store.vault import Vault

Answer = TypeVar("Answer")

CLAIM_LASTS = timedelta(seconds=90)
"""Longer than any request may take; after a crash, the same request may use its key again after this time."""

MAX_UNRELEASED = 1_000
"""More requests than run at once in a process. Keys beyond it are free when their claims lapse."""

ANSWERS_LAST = timedelta(hours=24)

KEPT_ANSWER = "kept answer"
"""The purpose of an encrypted answer, whose row is its key."""

_CLAIM = """
INSERT INTO idempotency_keys (user_id, key, fingerprint, claimed_until, status, sealed_body, created_at)
VALUES (%s, %s, %s, %s, NULL, NULL, %s) ON CONFLICT (user_id, key) DO NOTHING
"""
_READ = "SELECT fingerprint, claimed_until, status, sealed_body FROM idempotency_keys WHERE user_id = %s AND key = %s"
_TAKE_OVER = """
UPDATE idempotency_keys SET claimed_until = %s
WHERE user_id = %s AND key = %s AND status IS NULL AND claimed_until <= %s
"""
_FINISH = """
UPDATE idempotency_keys SET status = %s, sealed_body = %s, claimed_until = NULL
WHERE user_id = %s AND key = %s AND claimed_until = %s
"""
_RELEASE = "DELETE FROM idempotency_keys WHERE user_id = %s AND key = %s AND claimed_until = %s"
_FORGET = "DELETE FROM idempotency_keys WHERE created_at <= %s"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claimed:
    """The request is the first with its key: run it, then finish or release.

    `until` names the claim: who takes over one that has lapsed holds a later one.
    """

    user_id: int
    key: str
    until: datetime


@dataclass(frozen=True)
class Replay:
    """The request was answered before, with this status and body."""

    status: int
    body: str


class IdempotencyStore:
    """First answers by user and key. Bodies are encrypted, because they hold personal data."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._unreleased = set[Claimed]()

    def answer_once(
        self,
        user_id: int,
        key: str,
        fingerprint: str,
        run: Callable[[], Answer],
        kept_as: Callable[[Answer], tuple[int, str] | None],
    ) -> Answer | Replay:
        """Run a request under its key, or return the answer that was given under it.

        `fingerprint` identifies what the request asks for. `kept_as` returns the status and the body to keep for an
        answer, or None for a temporary one: then, and if `run` raises, the key is released. Raises what `claim` and
        `run` raise.
        """
        claim = self.claim(user_id, key, fingerprint)
        if isinstance(claim, Replay):
            return claim
        was_kept = False
        try:
            answer = run()
            if kept := kept_as(answer):
                self.finish(claim, *kept)
                was_kept = True
        finally:
            if not was_kept:
                self.release(claim)
        return answer

    def claim(self, user_id: int, key: str, fingerprint: str) -> Claimed | Replay:
        """Claim a key for a request, or return the answer that was given under it.

        Raises Rejected IDEMPOTENCY_KEY_REUSED for another request under the same key, and Conflict
        IDEMPOTENCY_KEY_IN_USE while the first request is still running.
        """
        now = clock.now()
        claimed = Claimed(user_id, key, now + CLAIM_LASTS)
        with self._database.connection() as connection:
            self._release_rest(connection)
            fresh = connection.execute(_CLAIM, (user_id, key, fingerprint, claimed.until, now)).rowcount
            if fresh:
                return claimed
            row = connection.execute(_READ, (user_id, key)).fetchone()
            if row is None:
                raise _in_use()
            if row["fingerprint"] != fingerprint:
                raise Rejected(
                    "IDEMPOTENCY_KEY_REUSED",
                    "This Idempotency-Key was used for another request. Use a new key for a new request.",
                )
            if row["status"] is not None:
                body = self._vault.decrypt(user_id, row["sealed_body"], purpose=KEPT_ANSWER, row=key)
                return Replay(row["status"], body)
            taken = connection.execute(_TAKE_OVER, (claimed.until, user_id, key, now)).rowcount
        if not taken:
            raise _in_use()
        return claimed

    def finish(self, claim: Claimed, status: int, body: str) -> None:
        """Keep the answer to the request of a claim, unless another has taken it over."""
        encrypted = self._vault.encrypt(claim.user_id, body, purpose=KEPT_ANSWER, row=claim.key)
        with self._database.connection() as connection:
            connection.execute(_FINISH, (status, encrypted, claim.user_id, claim.key, claim.until))

    def release(self, claim: Claimed) -> None:
        """Release a claimed key, unless another has taken it over: its request got no answer to keep.

        Where the database does not answer, it is released before the next claim of this process: the outage that
        ended the request must not hold its key for long after.
        """
        try:
            with self._database.connection() as connection:
                _release(connection, claim)
        except DatabaseUnavailable as error:
            if len(self._unreleased) < MAX_UNRELEASED:
                self._unreleased.add(claim)
            _log.info("key_not_released", reason=str(error))

    def _release_rest(self, connection: Connection) -> None:
        """Release what could not be released; several threads may do so at once."""
        for claim in tuple(self._unreleased):
            _release(connection, claim)
            self._unreleased.discard(claim)

    def forget_old(self, now: datetime) -> int:
        """Delete keys older than ANSWERS_LAST; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_FORGET, (now - ANSWERS_LAST,)).rowcount


def _release(connection: Connection, claim: Claimed) -> None:
    connection.execute(_RELEASE, (claim.user_id, claim.key, claim.until))


def _in_use() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still running. Ask again in a moment.",
        code="IDEMPOTENCY_KEY_IN_USE",
        retry_after_seconds=1,
    )

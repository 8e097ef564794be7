"""At most one live prompt a phone: its lock is a row, so that two processes cannot both hold it."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg

from ledger import clock
from ledger.identifiers import UNNAMED_USERS
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from ledger.store.database import Database
from ledger.store.parts import Part, run_parts
from payments.prompts.prompt_limits import PAUSES, PromptLimits, PromptRefusal

_LOCK = "lock_phone(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_TRANSACTION_ID = "nextval('payment_transaction_ids')"
PHONE_REFUSED = "DF006"
_REFUSALS = """
SELECT asked.session_id, refusal.retry_at
FROM unnest(%(user_ids)s::bigint[], %(phone_digests)s::text[], %(session_ids)s::uuid[])
     AS asked (user_id, phone_digest, session_id)
CROSS JOIN LATERAL prompt_refusal(
    asked.user_id, asked.phone_digest, asked.session_id, %(now)s,
    %(prompts_an_hour)s, %(numbers_a_day)s, %(prompts_a_number)s, %(pauses)s) AS refusal
"""
_RELEASE = "release_phone_lock(%s, %s, %s, %s)"
# In the order of phones, so that two who release the same ones never wait for each other in a circle.
_RELEASE_ALL = """
SELECT release_phone_lock(session_id, transaction_id, outcome, %(now)s) AS released
FROM (SELECT session_id, transaction_id, outcome
      FROM unnest(%(session_ids)s::uuid[], %(transaction_ids)s::bigint[], %(outcomes)s::text[])
           AS ended (session_id, transaction_id, outcome)
      JOIN live_prompts USING (session_id, transaction_id) ORDER BY phone_digest) AS locked
"""
_DIGITS_OF_USER = 15
"""Of a digest, in hex: they make a number that fits a user's."""
COUNTS_KEPT = timedelta(days=1)
"""Of prompts that were not paid; the longest limit looks back so far."""


class PromptOutcome(StrEnum):
    """How a prompt ended, for the limits: paid, sent and not paid, or never sent."""

    PAID = "paid"
    UNPAID = "unpaid"
    NOT_SENT = "not_sent"


class PromptRefused(Exception):
    """A statement was refused because the prompt was."""

    def __init__(self, refusal: PromptRefusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class PhoneLocks:
    """Which session may prompt which phone, and until when, within the limits on prompts."""

    def __init__(self, database: Database, limits: PromptLimits) -> None:
        self._database = database
        self._limits = {**asdict(limits), "pauses": list(PAUSES)}

    def to_read(self) -> dict[str, Part]:
        """Return the part of a statement that allots the id of a transaction to come; one that is not used is lost."""
        return {"transaction_id": Part(_TRANSACTION_ID)}

    def to_write(
        self, phone_digest: str, transaction_id: int, live_for: timedelta, session: PaymentSession, _: object
    ) -> dict[str, Part]:
        """Return the part of a statement that locks a phone for a session's prompt from now on: see `lock_part`."""
        now = clock.now()
        prompter = _prompter(session.user_id, phone_digest)
        lock = self.lock_part(
            phone_digest, session.id, prompter, transaction_id, now=now, until=now + live_for
        )
        return {"phone_lock": lock}

    def lock_part(
        self,
        phone_digest: str,
        session_id: UUID,
        user_id: int,
        transaction_id: int,
        *,
        now: datetime,
        until: datetime,
    ) -> Part:
        """Return the part of a statement that locks a phone until a moment, and counts the prompt.

        It raises PromptRefused, and nothing of the statement stays, while another session holds the lock, or a limit is
        reached. The lock's holder may lock it again, for the latest transaction.
        """
        values = (user_id, phone_digest, session_id, transaction_id, now, until, *self._limits.values())
        return Part(_LOCK, values, refusals={PHONE_REFUSED: _refused})

    def refused_until(
        self, prompts: Collection[tuple[int, str, UUID]], now: datetime
    ) -> dict[UUID, datetime]:
        """Return, of prompts by user id, phone digest and session, until when each would be refused; by session."""
        users, digests, session_ids = zip(*prompts, strict=True)
        prompters = list(map(_prompter, users, digests))
        values: dict[str, Any] = {"user_ids": prompters, "phone_digests": list(digests), "now": now}
        values |= {"session_ids": list(session_ids)} | self._limits
        with self._database.connection() as connection:
            rows = connection.execute(_REFUSALS, values).fetchall()
        return {row["session_id"]: row["retry_at"] for row in rows}

    def release(self, session_id: UUID, transaction_id: int, outcome: PromptOutcome) -> None:
        """Release the phone lock of an attempt whose prompt has ended, or was never sent.

        A no-op if the phone was locked for another attempt since, of this session or of any.
        """
        self._run(_release_part(session_id, transaction_id, outcome, clock.now()))

    def release_if_ended(self, session: PaymentSession, attempt: int) -> None:
        """Release the phone lock of an attempt unless its outcome is still to come."""
        if not session.attempts[attempt].is_open:
            self._run(self.release_part(session, attempt))

    def release_all_ended(self, attempts: Iterable[tuple[PaymentSession, int]]) -> None:
        """Do what `release_if_ended` does for attempts of several sessions, by one statement."""
        known = [(session.id, session.attempts[attempt]) for session, attempt in attempts]
        ended = [(session_id, attempt) for session_id, attempt in known if not attempt.is_open]
        if not ended:
            return
        values = {
            "session_ids": [session_id for session_id, _ in ended],
            "transaction_ids": [attempt.transaction_id for _, attempt in ended],
            "outcomes": [str(_outcome_of(attempt)) for _, attempt in ended],
            "now": clock.now(),
        }
        with self._database.connection() as connection:
            connection.execute(_RELEASE_ALL, values)

    def release_part(self, session: PaymentSession, attempt: int) -> Part:
        """Return the part of a statement that releases the phone lock of an attempt that has ended."""
        known = session.attempts[attempt]
        return _release_part(session.id, known.transaction_id, _outcome_of(known), clock.now())

    def _run(self, part: Part) -> None:
        with self._database.connection() as connection:
            run_parts(connection, {"released": part})


def _prompter(user_id: int, phone_digest: str) -> int:
    """Return the user whom a prompt counts for.

    A buyer whom the shop did not name is new with each session: all of them that prompt one number count as one.
    """
    return -int(phone_digest[:_DIGITS_OF_USER], 16) if user_id in UNNAMED_USERS else user_id


def _refused(error: psycopg.Error) -> PromptRefused:
    reason, retry_at = error.diag.message_primary, error.diag.message_detail
    assert reason is not None
    assert retry_at is not None
    return PromptRefused(PromptRefusal(reason, datetime.fromisoformat(retry_at)))


def _outcome_of(attempt: Attempt) -> PromptOutcome:
    return PromptOutcome.PAID if attempt.state == AttemptState.PAID else PromptOutcome.UNPAID


def _release_part(session_id: UUID, transaction_id: int, outcome: PromptOutcome, now: datetime) -> Part:
    return Part(_RELEASE, (session_id, transaction_id, str(outcome), now))

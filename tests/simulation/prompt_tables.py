"""In-memory tables of prompts: phone locks, and the counts that prompts are limited by."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg

from payments.prompts import phone_locks
from tests.simulation.parts import Effects, PartDouble, putting_back

Row = dict[str, Any]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NEVER_PROMPTED: Row = {"hour": _LONG_AGO, "prompts": 0, "unpaid": 0, "last": _LONG_AGO, "paid": None}


_LOCK_VALUES = (
    "user_id", "phone_digest", "session_id", "transaction_id", "now", "live_until",
    "prompts_an_hour", "numbers_a_day", "prompts_a_number", "pauses",
)  # fmt: skip
_LOCK_COLUMNS = ("phone_digest", "session_id", "live_until", "user_id", "transaction_id")


class PhoneRefused(psycopg.DatabaseError):
    """What `lock_phone` raises where a limit refuses a prompt."""

    sqlstate = phone_locks.PHONE_REFUSED

    def __init__(self, reason: str, retry_at: datetime) -> None:
        super().__init__(reason)
        self._said = SimpleNamespace(message_primary=reason, message_detail=retry_at.isoformat())

    @property
    def diag(self) -> Any:
        """What PostgreSQL says of the error."""
        return self._said


class PromptTables:
    """The tables; each acquired lock takes a transaction id."""

    def __init__(self, next_transaction_id: Callable[[], int]) -> None:
        self.phone_locks: dict[str, Row] = {}
        self.prompt_counts: dict[tuple[int, str], Row] = {}
        self._next_transaction_id = next_transaction_id

    def handlers(self) -> dict[Any, Callable[[Any], Any]]:
        """Return the handler of each statement."""
        return {
            phone_locks._REFUSALS: self.prompt_refusals,
            phone_locks._RELEASE_ALL: self.release_phones,
        }

    def part_doubles(self) -> dict[str, PartDouble]:
        """Return the double of each part of a statement."""
        return {
            phone_locks._LOCK: self.lock_phone,
            phone_locks._RELEASE: self.release_phone,
            phone_locks._TRANSACTION_ID: lambda _, __: self._next_transaction_id(),
        }

    def lock_phone(self, given: Any, effects: Effects) -> bool:
        """Lock a phone and count the prompt, as `lock_phone` does."""
        values = dict(zip(_LOCK_VALUES, given, strict=True))
        user, phone, now = values["user_id"], values["phone_digest"], values["now"]
        refusal = self._prompt_refusal(values, user, phone, values["session_id"])
        if refusal:
            raise PhoneRefused(*refusal)
        effects.undone_by(putting_back(self.phone_locks, phone))
        effects.undone_by(putting_back(self.prompt_counts, (user, phone)))
        self.phone_locks[phone] = {name: values[name] for name in _LOCK_COLUMNS}
        counts = self.prompt_counts.get((user, phone), _NEVER_PROMPTED)
        same_hour, same_day = counts["hour"] > now - HOUR, counts["last"] > now - DAY
        self.prompt_counts[user, phone] = {
            "hour": counts["hour"] if same_hour else now,
            "prompts": (counts["prompts"] if same_hour else 0) + 1,
            "unpaid": (counts["unpaid"] if same_day else 0) + 1,
            "last": now,
            "paid": counts["paid"],
        }
        return True

    def prompt_refusals(self, values: Any) -> list[Row]:
        """Return until when prompts would be refused."""
        asked = zip(values["user_ids"], values["phone_digests"], values["session_ids"], strict=True)
        found = (
            (session, self._prompt_refusal(values, user, phone, session)) for user, phone, session in asked
        )
        return [{"session_id": session, "retry_at": refusal[1]} for session, refusal in found if refusal]

    def _prompt_refusal(
        self, limits: Any, user: int, phone: str, session_id: UUID
    ) -> tuple[str, datetime] | None:
        """Do what `prompt_refusal` does, for runs whose users prompt their own numbers within the limits."""
        now = limits["now"]
        refusals: list[tuple[str, datetime]] = []
        held = self.phone_locks.get(phone)
        if held and held["live_until"] > now and held["session_id"] != session_id:
            refusals.append(("phone_busy", held["live_until"]))
        mine = [row for (owner, _), row in self.prompt_counts.items() if owner == user]
        recent = [row for row in mine if row["hour"] > now - HOUR]
        if sum(row["prompts"] for row in recent) >= limits["prompts_an_hour"]:
            refusals.append(("prompts_an_hour", min(row["hour"] for row in recent) + HOUR))
        counts = self.prompt_counts.get((user, phone), _NEVER_PROMPTED)
        is_holder = held and held["live_until"] > now and held["session_id"] == session_id
        if not is_holder and counts["paid"] is None and counts["unpaid"] and counts["last"] > now - DAY:
            pauses, alone = limits["pauses"], self._is_only_number(user, phone, now)
            prompts = counts["unpaid"] - alone
            if prompts > 0:
                refusals.append(("unpaid", counts["last"] + pauses[min(prompts, len(pauses)) - 1]))
        return max((each for each in refusals if each[1] > now), key=lambda each: each[1], default=None)

    def _is_only_number(self, user: int, phone: str, now: datetime) -> bool:
        return not any(
            (number == phone and owner != user and row["paid"] is not None)
            or (
                owner == user
                and number != phone
                and row["paid"] is None
                and row["unpaid"]
                and row["last"] > now - DAY
            )
            for (owner, number), row in self.prompt_counts.items()
        )

    def release_phone(self, values: Any, effects: Effects) -> bool:
        """Release the phone lock of an attempt, and count how its prompt ended."""
        session_id, transaction_id, outcome, now = values
        held = self._locks_of(session_id, transaction_id)
        for row in held:
            self._release(row, outcome, now, effects)
        return bool(held)

    def release_phones(self, values: Any) -> list[Row]:
        """Release the phone locks of several attempts."""
        ended = zip(values["session_ids"], values["transaction_ids"], values["outcomes"], strict=True)
        released = [self.release_phone((*each, values["now"]), Effects()) for each in ended]
        return [{"released": True} for was_locked in released if was_locked]

    def _release(self, row: Row, outcome: str, now: datetime, effects: Effects) -> None:
        phone, counts = row["phone_digest"], self.prompt_counts[row["user_id"], row["phone_digest"]]
        before = dict(counts)
        effects.undone_by(lambda: (self.phone_locks.update({phone: row}), counts.update(before)))
        del self.phone_locks[phone]
        if outcome == "not_sent":
            counts |= {name: max(counts[name] - 1, 0) for name in ("prompts", "unpaid")}
            return
        counts["last"] = now
        if outcome == "paid":
            counts |= {"prompts": 0, "unpaid": 0, "paid": now}

    def _locks_of(self, session_id: UUID, transaction_id: int) -> list[Row]:
        wanted = session_id, transaction_id
        return [
            row for row in self.phone_locks.values() if (row["session_id"], row["transaction_id"]) == wanted
        ]

    def purge_phone_locks(self, values: Any) -> int:
        """Delete expired phone locks."""
        dead = [digest for digest, row in self.phone_locks.items() if row["live_until"] <= values[0]]
        for digest in dead:
            del self.phone_locks[digest]
        return len(dead)

    def purge_counts(self, values: Any) -> int:
        """Delete counts that no limit looks at."""
        old = [
            key for key, row in self.prompt_counts.items() if row["paid"] is None and row["last"] <= values[0]
        ]
        for key in old:
            del self.prompt_counts[key]
        return len(old)

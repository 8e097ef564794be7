"""A request under an idempotency key, and its parts of the command's read and write."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec

from ledger import clock
from ledger.errors import Conflict, Rejected, Unavailable
from ledger.store.customer_keys import CustomerKey
from ledger.store.parts import Part
from ledger.store.vault import Vault

Show = Callable[[Any], tuple[int, str]]
"""Renders what a command returns, as the status and the text that are kept."""

CLAIM_LASTS = timedelta(seconds=90)
"""Longer than any request may take; after a crash, the same request may use its key again after this time."""

KEPT_ANSWER = "kept answer"
"""The purpose of an encrypted answer, whose row is its key."""

KEY_TAKEN = "DF008"

_READ = """(
    SELECT json_build_array(fingerprint, claimed_until > %s, status, sealed_body)::text
    FROM idempotency_keys WHERE user_id = %s AND key = %s
)"""
_CLAIM = "claim_idempotency_key(%s, %s, %s, %s, %s, %s, %s)"
_ANSWER = "answer_idempotency_key(%s, %s, %s, %s, %s)"


class KeyTaken(Exception):
    """A statement was refused because its key is another request's, or was answered: read it."""


class AnsweredBefore(Exception):
    """The request was answered before, with this status and body."""

    outcome = "repeated"
    """Under this it is counted."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class UnkeyedRequest:
    """A request without a key: it adds nothing to the read and the write of its command."""

    name: str | None = None

    def to_read(self) -> dict[str, Part]:
        """Return the part of a statement that reads the key; `check` its value first of all."""
        return {}

    def check(self, values: Mapping[str, Any]) -> None:
        """Return if the request is the first with its key, by what `to_read` read.

        Raises AnsweredBefore; Rejected IDEMPOTENCY_KEY_REUSED for another request under the same key; and Conflict
        IDEMPOTENCY_KEY_IN_USE while the first request is still running.
        """

    def to_claim(self, *_: object) -> dict[str, Part]:
        """Return the part of a statement that claims the key for a command of several commits; run it in `claiming`.

        It raises KeyTaken, and nothing of the statement stays, if `check` would raise by now.
        """
        return {}

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """Note that the key is claimed, if the block does not fail or may have had its effect all the same."""
        yield

    def to_answer(self, *_: Any, **__: Any) -> dict[str, Part]:
        """Return the part of a statement that keeps the answer; its first argument is the session it is written with.

        Without a claim it claims the key too, as `to_claim` does. Say `written` when the session's events are.
        """
        return {}

    def written(self, session: object) -> None:
        """Note that the answer is kept, if it was rendered for this session: it was written with its events."""


WITHOUT_KEY = UnkeyedRequest()


class KeyedRequest(UnkeyedRequest):
    """A request of a user under a key, and how far it is; `fingerprint` identifies what it asks for.

    `until` names its claim: who takes over one that has lapsed holds a later one. `show` renders its answer.
    """

    def __init__(self, vault: Vault, user_id: int, key: str, fingerprint: str) -> None:
        self.name = f"{key}:{fingerprint}"
        self.user_id = user_id
        self.key = key
        self.until = clock.now() + CLAIM_LASTS
        self.show: Show | None = None
        self.answer: tuple[int, str] | None = None
        self.is_read = self.is_claimed = self.is_kept = False
        self._vault = vault
        self._fingerprint = fingerprint
        self._rendered_for: object = None

    def to_read(self) -> dict[str, Part]:
        """See UnkeyedRequest."""
        self.is_read = True
        return {"idempotency_key": Part(_READ, (clock.now(), self.user_id, self.key))}

    def check(self, values: Mapping[str, Any]) -> None:
        """See UnkeyedRequest."""
        if values["idempotency_key"] is None:
            return
        fingerprint, is_running, status, sealed_body = msgspec.json.decode(values["idempotency_key"])
        if fingerprint != self._fingerprint:
            raise Rejected(
                "IDEMPOTENCY_KEY_REUSED",
                "This Idempotency-Key was used for another request. Use a new key for a new request.",
            )
        if status is not None:
            body = self._vault.decrypt(self.user_id, sealed_body, purpose=KEPT_ANSWER, row=self.key)
            raise AnsweredBefore(status, body)
        if is_running:
            raise key_in_use()

    def to_claim(self, *_: object) -> dict[str, Part]:
        """See UnkeyedRequest."""
        return self._claim(self.until, None, None)

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """See UnkeyedRequest."""
        try:
            yield
        except Unavailable:
            self.is_claimed = True
            raise
        self.is_claimed = True

    def to_answer(
        self, session: object, *_: object, shown: object = None, by: CustomerKey | None = None
    ) -> dict[str, Part]:
        """See UnkeyedRequest. Rendered is what is `shown`, or else the session. `by` is the user's key, if at hand."""
        assert self.show is not None
        self.answer = self.show(session if shown is None else shown)
        self._rendered_for = session
        return self.to_keep(*self.answer, by=by)

    def written(self, session: object) -> None:
        """See UnkeyedRequest."""
        self.is_kept = session is self._rendered_for

    def to_keep(self, status: int, body: str, *, by: CustomerKey | None = None) -> dict[str, Part]:
        """Return the part of a statement that keeps an answer; a claim that another has taken over stays theirs."""
        if not self.is_claimed:
            sealed = self._vault.encrypt(self.user_id, body, purpose=KEPT_ANSWER, row=self.key, by=by)
            return self._claim(None, status, sealed)
        # What the claim was for has happened, whether the caller was erased meanwhile or not.
        sealed = self._vault.encrypt_unless_erased(self.user_id, body, purpose=KEPT_ANSWER, row=self.key)
        return {"idempotency_key": Part(_ANSWER, (self.user_id, self.key, self.until, status, sealed))}

    def _claim(self, *claim: object) -> dict[str, Part]:
        values = (self.user_id, self.key, self._fingerprint, clock.now(), *claim)
        return {"idempotency_key": Part(_CLAIM, values, refusals={KEY_TAKEN: lambda _: KeyTaken()})}


def key_in_use() -> Conflict:
    """Return the refusal of a request while the first one with its key is still running."""
    return Conflict(
        "A request with this Idempotency-Key is still running. Ask again in a moment.",
        code="IDEMPOTENCY_KEY_IN_USE",
        retry_after_seconds=1,
    )

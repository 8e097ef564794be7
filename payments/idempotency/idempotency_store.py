"""One idempotency key, one effect: a request runs once, and a repeat gets its first answer."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import structlog

from ledger.errors import DatabaseUnavailable
from ledger.store.connection import Connection
from ledger.store.database import Database
from ledger.store.parts import Part, read_parts, run_parts
from ledger.store.vault import Vault
from payments.idempotency.keyed_request import KeyedRequest, KeyTaken, key_in_use

Answer = TypeVar("Answer")

MAX_UNRELEASED = 1_000
"""More requests than run at once in a process. Keys beyond it are free when their claims lapse."""

ANSWERS_LAST = timedelta(hours=24)

_RELEASE = "DELETE FROM idempotency_keys WHERE user_id = %s AND key = %s AND claimed_until = %s"

_log = structlog.get_logger(__name__)


class IdempotencyStore:
    """First answers by user and key. Bodies are encrypted, because they hold personal data."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._unreleased = set[KeyedRequest]()

    def request(self, user_id: int, key: str, fingerprint: str) -> KeyedRequest:
        """Return a user's request under a key, to be answered once; `fingerprint` identifies what it asks for."""
        return KeyedRequest(self._vault, user_id, key, fingerprint)

    def answer_once(
        self,
        request: KeyedRequest,
        run: Callable[[], Answer],
        kept_as: Callable[[Answer], tuple[int, str] | None],
        *,
        claims_first: bool = True,
    ) -> Answer:
        """Run a request under its key.

        Unless the key is claimed first, the command that runs reads and claims it in its own statements, by the parts
        of `request`. `kept_as` returns the status and the body to keep for an answer, or None for a temporary one:
        then, and if `run` raises, the key is released. Raises what `KeyedRequest.check` and `run` raise.
        """
        self._release_rest()
        if claims_first:
            self.claim(request)
        try:
            answer = run()
            kept = kept_as(answer)
            if kept and not request.is_kept:
                self.keep(request, *kept)
            elif not (kept or request.is_claimed):
                # The refusal may come from what another request with this key has just done.
                self._look(request)
        except KeyTaken:
            self._look(request)
            raise key_in_use() from None
        finally:
            if request.is_claimed and not request.is_kept:
                self.release(request)
        return answer

    def claim(self, request: KeyedRequest) -> None:
        """Claim the key of a request, in a commit of its own. Raises what `KeyedRequest.check` raises."""
        try:
            with request.claiming():
                self._write(request.to_claim())
        except KeyTaken:
            self._look(request)
            raise key_in_use() from None
        request.is_read = True

    def keep(self, request: KeyedRequest, status: int, body: str) -> None:
        """Keep the answer to a request, in a commit of its own, unless another has taken its claim over.

        Without a claim, raises KeyTaken if the key is another request's, or was answered.
        """
        self._write(request.to_keep(status, body))
        request.is_kept = True

    def release(self, request: KeyedRequest) -> None:
        """Release a claimed key, unless another has taken it over: its request got no answer to keep.

        Where the database does not answer, it is released before the next request with a key of this process: the
        outage that ended the request must not hold its key for long after.
        """
        try:
            with self._database.connection() as connection:
                _release(connection, request)
        except DatabaseUnavailable as error:
            if len(self._unreleased) < MAX_UNRELEASED:
                self._unreleased.add(request)
            _log.info("key_not_released", reason=str(error))

    def _look(self, request: KeyedRequest) -> None:
        request.check(read_parts(self._database, request.to_read()))

    def _write(self, parts: Mapping[str, Part]) -> None:
        with self._database.connection() as connection:
            run_parts(connection, parts)

    def _release_rest(self) -> None:
        """Release what could not be released; several threads may do so at once."""
        for request in tuple(self._unreleased):
            with self._database.connection() as connection:
                _release(connection, request)
            self._unreleased.discard(request)


def _release(connection: Connection, request: KeyedRequest) -> None:
    connection.execute(_RELEASE, (request.user_id, request.key, request.until))

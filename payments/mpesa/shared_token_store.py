"""The token store that every process of one consumer key shares, kept in PostgreSQL."""

import hashlib
from collections.abc import Callable
from threading import Lock

from daraja import AccessToken, Retryable, SubmissionError
from ledger import clock
from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.access_tokens import AccessTokens


def consumer_name(base_url: str, consumer_key: str) -> str:
    """Return the name under which a consumer key's token is stored: a digest, because the key is a secret."""
    return hashlib.sha256(f"{base_url}\0{consumer_key}".encode()).hexdigest()


class SharedTokenStore:
    """A `daraja.TokenStore` for all processes: read without waiting, refreshed by one of them at a time.

    The process remembers the last token, so that most requests do not ask PostgreSQL; a token that another process
    voided is refused by Daraja once, and then read again. Within the process one thread refreshes for all: each that
    waited in PostgreSQL would hold a connection, and the one at work needs two.
    """

    def __init__(self, database: Database, vault: Vault, consumer: str) -> None:
        self._tokens = AccessTokens(database, vault, consumer)
        self._last: AccessToken | None = None
        self._turn = Lock()
        self._rounds = 0
        self._failure: SubmissionError | None = None

    def read(self) -> AccessToken | None:
        """Return the stored token, fresh or not, without waiting for a refresh."""
        if self._last is None or not self._last.is_fresh(clock.now()):
            self._last = self._load()
        return self._last

    def refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
        """Return a usable token, fetched by the holder of the lock; see `daraja.TokenStore`.

        A thread that waited for another's refresh shares its outcome, including a failure.
        """
        rounds_before = self._rounds
        with self._turn:
            known = self._last
            if known is not None and known.value != refused and known.is_fresh(clock.now()):
                return known
            if self._failure is not None and self._rounds != rounds_before:
                raise type(self._failure)(*self._failure.args)
            self._rounds += 1
            try:
                self._last, self._failure = self._refresh(refused, fetch), None
            except SubmissionError as failure:
                self._failure = failure
                raise
            return self._last

    def _refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
        try:
            with self._tokens.lock():
                stored = self._load()
                if stored is None or stored.value == refused or not stored.is_fresh(clock.now()):
                    stored = fetch()
                    self._tokens.write(stored.value, stored.expires_at)
                return stored
        except Unavailable as error:
            message = "The shared access token cannot be reached. Try again shortly."
            raise Retryable("DARAJA_TOKEN_UNAVAILABLE", message) from error

    def _load(self) -> AccessToken | None:
        stored = self._tokens.read()
        return AccessToken(*stored) if stored else None

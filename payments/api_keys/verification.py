"""Verification of API keys: by a copy in memory of those that are good, found by their keyed digests.

A digest is made with a key of ours, so that a look-up tells nobody by its time how much of a guess is right. A key that
is not in the copy may have been made a moment ago, so it is read for; a flood of guesses reads MAX_UNKNOWN_READS times
in READ_EVERY_SECONDS, and no more.
"""

import time
from datetime import UTC, datetime, timedelta

import structlog

from ledger import clock
from ledger.errors import Unauthenticated, Unavailable
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.api_keys.api_key import LIVE, ApiKey
from payments.api_keys.key_store import COLUMNS, digest_of, key_of
from payments.kept_copy import READ_EVERY_SECONDS, KeptCopy

MAX_UNKNOWN_READS = 10
USE_NOTED_EVERY = timedelta(minutes=1)

_READ = f"""
SELECT {COLUMNS} FROM api_keys
WHERE prefix = %(prefix)s AND (revoked_at IS NULL OR revoked_at > %(now)s)
  AND (expires_at IS NULL OR expires_at > %(now)s)
"""  # noqa: S608 - made of a constant
# Who else notes it this moment is not waited for.
_NOTE_USE = """
UPDATE api_keys SET last_used_at = %(now)s WHERE key_id = (
    SELECT key_id FROM api_keys
    WHERE key_id = %(key_id)s AND (last_used_at IS NULL OR last_used_at <= %(since)s) FOR UPDATE SKIP LOCKED
)
"""
_NEVER = datetime.min.replace(tzinfo=UTC)

_log = structlog.get_logger(__name__)


class ApiKeys:
    """The keys that are good here, which begin with `prefix`. Safe to share between threads."""

    def __init__(self, database: Database, vault: Vault, prefix: str) -> None:
        self._database = database
        self._vault = vault
        self._prefix = prefix
        self._copy = KeptCopy(self._read)
        self._known: dict[str, ApiKey] = {}
        self._forged: set[str] = set()
        self._noted: dict[str, datetime] = {}
        self._counted_since, self._unknown_reads = 0.0, 0

    def find(self, text: str, address: str | None) -> ApiKey:
        """Return the key of this text, sent from the address of a client.

        Raises Unauthenticated, and Unavailable. A revocation is known to every process within READ_EVERY_SECONDS, a
        new key at once.
        """
        if not text.startswith(self._prefix):
            raise _invalid(_of_other_mode(self._prefix))
        key, now = self._lookup(digest_of(self._vault, text)), clock.now()
        if key is None or not key.is_good(now):
            raise _invalid("there is no such API key, or it was revoked or has expired")
        if not key.admits(address):
            _log.warning("api_key_from_elsewhere", key_name=key.name, key_id=key.key_id)
            raise _invalid(f"this API key is not for the address {address}")
        self._note_use(key, now)
        return key

    def _lookup(self, digest: str) -> ApiKey | None:
        self._copy.refresh()
        if digest not in self._known and self._may_read_more():
            self._copy.refresh(every_seconds=0)
        return self._known.get(digest)

    def _may_read_more(self) -> bool:
        now = time.monotonic()
        if now - self._counted_since >= READ_EVERY_SECONDS:
            self._counted_since, self._unknown_reads = now, 0
        self._unknown_reads += 1
        return self._unknown_reads <= MAX_UNKNOWN_READS

    def _read(self) -> None:
        with self._database.connection() as connection:
            rows = connection.execute(_READ, {"prefix": self._prefix, "now": clock.now()}).fetchall()
        keys = {row["digest"]: key_of(self._vault, row) for row in rows}
        forged = {key.key_id for key in keys.values() if not key.is_genuine}
        for key_id in forged - self._forged:
            _log.error("api_key_forged", key_id=key_id)
        self._forged = forged
        self._known = {digest: key for digest, key in keys.items() if key.is_genuine}

    def _note_use(self, key: ApiKey, now: datetime) -> None:
        """Note once a minute that a key is used; if the database does not take it, a later use is noted."""
        if timedelta(0) <= now - self._noted.get(key.key_id, _NEVER) < USE_NOTED_EVERY:
            return
        self._noted[key.key_id] = now
        try:
            with self._database.connection() as connection:
                connection.execute(
                    _NOTE_USE, {"key_id": key.key_id, "now": now, "since": now - USE_NOTED_EVERY}
                )
        except Unavailable:
            _log.warning("use_of_api_key_not_noted", key_id=key.key_id)


def _of_other_mode(prefix: str) -> str:
    here, other = ("production", "development") if prefix == LIVE else ("development", "production")
    return f"it is an API key of {other}, and this is {here}, whose keys begin with {prefix}"


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated("TOKEN_INVALID", f"This token is not accepted: {why}.")

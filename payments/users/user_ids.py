"""Users by text: a shop's tokens and checkouts may name a user by a UUID, an e-mail address or any other text.

The text of a whole number is that number. Any other text has a number from FIRST to LAST, drawn once and kept in
`user_texts` by the text's digest, until the user is erased: the same text is another user then. The text is kept
encrypted for its user, and only a row whose text opens is believed, so that the application's database login can lead
nobody to another's number.
"""

import re
import secrets
from datetime import datetime, timedelta

import structlog

from ledger import clock
from ledger.errors import InvalidValue, Unavailable
from ledger.identifiers import UNNAMED_USERS
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import Vault

MAX_CHARACTERS = 128
MAX_NUMBER = 2**63 - 1
FIRST, LAST = 2**52, 2**53 - 1
"""Numbers of users by text, and of unnamed buyers at their end. They are whole numbers for JavaScript too."""

KNOWN_FOR = timedelta(seconds=30)
"""So long a process goes on with a number that another process has erased: what is encrypted for it is refused."""

USER_TEXT = "user text"
"""The purpose of an encrypted text, whose row is its user."""

_MAX_KNOWN = 10_000
_MAX_DRAWS = 5
_NUMBER = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_TEXT = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_CHARACTERS}}}")
_FIND = "SELECT user_id, sealed_text FROM user_texts WHERE digest = %s"
_TEXT_OF = "SELECT sealed_text FROM user_texts WHERE user_id = %s"
_HAS_DATA = """
SELECT FROM customer_keys WHERE user_id = %(user)s AND wrapped_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM user_texts WHERE user_id = %(user)s)
  AND NOT EXISTS (SELECT FROM payment_sessions JOIN checkouts USING (session_id)
                  WHERE user_id = %(user)s AND NOT has_buyer)
"""
_IS_TAKEN = "SELECT FROM customer_keys WHERE user_id = %s"
_ADD = """
INSERT INTO user_texts (user_id, digest, sealed_text, created_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

_log = structlog.get_logger(__name__)


class UserIds:
    """The numbers of users by text. Safe to share between threads and processes."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._known: dict[str, tuple[int, datetime]] = {}

    def user_id_of(self, text: str) -> int:
        """Return the number of the user whom a text names, as `sub` of a token or `buyer.id` of a checkout does.

        The first call with a text gives it its number. The text is taken as it is, without trimming. That of a number
        costs no statement, any other one in KNOWN_FOR. Raises InvalidValue for what names nobody, and Unavailable.
        """
        number = _number_in(text)
        if number is not None:
            self._refuse_given_out(number)
            return number
        known, now = self._known.get(text), clock.now()
        if known is not None and timedelta(0) <= now - known[1] < KNOWN_FOR:
            return known[0]
        found = self._stored(text) or self._add(text)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[text] = found, now
        return found

    def text_of(self, user_id: int) -> str:
        """Return the text that names a user: that of a number is the number. Raises Unavailable."""
        if not FIRST <= user_id <= LAST:
            return str(user_id)
        with self._database.connection() as connection:
            row = connection.execute(_TEXT_OF, (user_id,)).fetchone()
        try:
            return str(user_id) if row is None else self._opened(user_id, row["sealed_text"])
        except WrongKey:
            raise _forged(user_id) from None
        except Erased:  # Since the row was read.
            return str(user_id)

    def find(self, text: str) -> int | None:
        """Return the number of a user whom staff name, None for a text that has none.

        Any number is that user's: staff see those of users by text, and of buyers whom the shop did not name, who have
        no text. Raises InvalidValue for what names nobody, and Unavailable.
        """
        number = _number_in(text)
        return self._stored(text) if number is None else number

    def _refuse_given_out(self, number: int) -> None:
        """Raise InvalidValue for a number that no token and no checkout may claim."""
        if FIRST <= number <= LAST and not self._has_data(number):
            raise InvalidValue(f"The numbers from {FIRST} to {LAST} are given out to users by text.")

    def _has_data(self, number: int) -> bool:
        """Whether a number among those of users by text is that of an older user, who keeps it."""
        with self._database.connection() as connection:
            return connection.execute(_HAS_DATA, {"user": number}).rowcount > 0

    def _stored(self, text: str) -> int | None:
        with self._database.connection() as connection:
            row = connection.execute(_FIND, (self._vault.digest(USER_TEXT, text),)).fetchone()
        if row is None:
            return None
        user_id: int = row["user_id"]
        if not self._is_genuine(user_id, row["sealed_text"], text):
            raise _forged(user_id)
        return user_id

    def _is_genuine(self, user_id: int, sealed_text: str, text: str) -> bool:
        try:
            return self._opened(user_id, sealed_text) == text
        except WrongKey:
            return False

    def _opened(self, user_id: int, sealed_text: str) -> str:
        return self._vault.decrypt(user_id, sealed_text, purpose=USER_TEXT, row=user_id)

    def _add(self, text: str) -> int:
        """Give a text its number; of two processes at once the first one's counts."""
        digest = self._vault.digest(USER_TEXT, text)
        for _ in range(_MAX_DRAWS):
            drawn = FIRST + secrets.randbelow(UNNAMED_USERS.start - FIRST)
            if self._is_taken(drawn):
                continue
            sealed_text = self._vault.encrypt(drawn, text, purpose=USER_TEXT, row=drawn)
            with self._database.connection() as connection:
                connection.execute(_ADD, (drawn, digest, sealed_text, clock.now()))
            found = self._stored(text)
            if found is not None:
                return found
        raise Unavailable

    def _is_taken(self, number: int) -> bool:
        with self._database.connection() as connection:
            return connection.execute(_IS_TAKEN, (number,)).rowcount > 0


def _number_in(text: str) -> int | None:
    """Return the number that a text is, None for any other text; raise InvalidValue for what names nobody."""
    if _NUMBER.fullmatch(text) and int(text) <= MAX_NUMBER:
        return int(text)
    if not _TEXT.fullmatch(text):
        problem = f"A user is named by 1 to {MAX_CHARACTERS} characters, without control characters."
        raise InvalidValue(problem)
    return None


def _forged(user_id: int) -> Unavailable:
    """Return the refusal to go on with a row that is not ours, and log it."""
    _log.error("user_text_forged", user=user_id)
    return Unavailable("This user cannot be looked up. Please tell the shop.")

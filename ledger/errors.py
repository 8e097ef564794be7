"""Every refusal of the ledger.

LedgerError
├── InvalidValue      the input is malformed, whatever the history says
├── Unauthenticated   the caller is unknown
├── NotAllowed        the caller is known and lacks the role
├── Rejected          well-formed, but the history forbids it
├── NotFound          no such thing, or not yours
├── Conflict          someone else was first; reload and decide again
└── Unavailable       a dependency does not answer, and may have done what was asked: try again
    └── DatabaseUnavailable   it is the database, and any other command would meet the same
        └── ConnectionLost    it was this connection: another may do

Each carries a stable code that a client may rely on and a sentence that a person can read.
"""

from collections.abc import Mapping, Sequence

WRONG_MASTER_KEY = "WRONG_MASTER_KEY"
"""The code of what cannot be decrypted with the given master key."""


class LedgerError(Exception):
    """A refusal with a stable `code` (capitals, words joined by underscores) and a `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidValue(LedgerError):
    """The input is malformed; `errors` maps each field's name to sentences about it."""

    def __init__(
        self,
        message: str,
        errors: Mapping[str, Sequence[str]] | None = None,
        code: str = "INVALID_INPUT",
    ) -> None:
        super().__init__(code, message)
        self.errors = {field: list(sentences) for field, sentences in (errors or {}).items()}


def wrong_fields(errors: Mapping[str, Sequence[str]]) -> InvalidValue:
    """Return the refusal of fields, by each one's name."""
    return InvalidValue("Some fields are wrong; correct them and send again.", errors)


class Unauthenticated(LedgerError):
    """There is no valid proof of who the caller is."""


class NotAllowed(LedgerError):
    """The caller is known and lacks the role."""


class Rejected(LedgerError):
    """The input is well-formed and the history forbids it."""


class NotFound(LedgerError):
    """There is no such thing, or it is another's, which must look the same."""

    def __init__(self, message: str = "There is no such thing here.", code: str = "NOT_FOUND") -> None:
        super().__init__(code, message)


class Conflict(LedgerError):
    """Somebody else was first: reload, and decide again."""

    def __init__(
        self,
        message: str = "Somebody else changed this at the same moment. Please try again.",
        code: str = "CONFLICT",
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(LedgerError):
    """A dependency does not answer; `retry_after_seconds` says when to try again.

    Whether a write took effect is unknown, so it may only be repeated in a way that is safe to repeat.
    """

    def __init__(
        self,
        message: str = "The service cannot reach its database. Please try again shortly.",
        code: str = "UNAVAILABLE",
        retry_after_seconds: int = 2,
    ) -> None:
        super().__init__(code, message)
        self.retry_after_seconds = retry_after_seconds


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached, takes no writes, or has no room: any other command would meet the same."""


class ConnectionLost(DatabaseUnavailable):
    """The connection died or became read-only in use. What is safe to repeat may be repeated on another at once."""

"""Every way a call to Daraja ends without an answer, sorted by the one question that matters: is a prompt out there?

DarajaError
├── InvalidConfig       the configuration cannot work; say so at start-up
├── SubmissionError     a push did not end in an acceptance
│   ├── Refused         nothing was sent, and the same again will not help
│   ├── Retryable       nothing was sent; a new attempt may be made later
│   └── Uncertain       a prompt may be on the phone; never send this again by machine
└── MalformedCallback   the body is not an STK callback

Codes are ours and stable. Messages hold no address, no body, no number and no secret, so they may be logged
and shown.
"""


class DarajaError(Exception):
    """A refusal with a stable `code` (capitals, words joined by underscores) and a `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class InvalidConfig(DarajaError):
    """A setting cannot work; `setting` names it, its value is never repeated."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__("DARAJA_CONFIGURATION", message)
        self.args = (setting, message)
        self.setting = setting


class SubmissionError(DarajaError):
    """A push that was not accepted.

    `vendor_code` is Daraja's own code, if it gave one. `retry_after_seconds` is how long to wait before a new
    attempt for the same customer makes sense, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        vendor_code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.args = (code, message, vendor_code, retry_after_seconds)
        self.vendor_code = vendor_code
        self.retry_after_seconds = retry_after_seconds


class Refused(SubmissionError):
    """Nothing was sent, and the same request will be refused again until something is put right."""


class Retryable(SubmissionError):
    """Nothing was sent; a new attempt may be made after `retry_after_seconds`."""


class Uncertain(SubmissionError):
    """A prompt may be on the customer's phone: wait for the callback, never send again by machine."""


class MalformedCallback(DarajaError):
    """A body that cannot be read as an STK callback; `reason` is a stable slug that says where reading stopped."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "MALFORMED_CALLBACK", f"This is not an STK callback ({reason}); keep it and look at it."
        )
        self.args = (reason,)
        self.reason = reason

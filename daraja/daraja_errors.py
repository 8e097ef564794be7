"""Every way a call to Daraja fails, sorted by what matters: may money move because of it?

DarajaError
├── InvalidConfig       the configuration cannot work; raised at start-up
├── SubmissionError     a request did not end in an acceptance
│   ├── Refused         nothing was sent, and the same again will not help
│   ├── Retryable       nothing was sent, or nothing that moves money; a new attempt may be made later
│   └── Uncertain       a prompt may be on the phone, or money on its way; never resend automatically
└── MalformedBody       what was posted to us cannot be read; `reason` says where reading stopped
    ├── MalformedCallback   it is not an STK callback
    ├── MalformedResult     it is not the result of a reversal or a transaction status
    └── MalformedNotice     it is not a C2B validation or confirmation

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
    """A request that was not accepted.

    `vendor_code` is Daraja's own code, if it gave one. `retry_after_seconds` is how long to wait before a new
    attempt makes sense, if that is known.
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
    """Nothing was sent that could move money; a new attempt may be made after `retry_after_seconds`."""


class Uncertain(SubmissionError):
    """A prompt may be on the phone, or money on its way: wait for the result, never resend automatically."""


class MalformedBody(DarajaError):
    """A posted body that cannot be read; `reason` is a stable slug that says where reading stopped."""

    _code = "MALFORMED_BODY"
    _what = "a body of M-Pesa's"

    def __init__(self, reason: str) -> None:
        super().__init__(self._code, f"This is not {self._what} ({reason}); keep it and look at it.")
        self.args = (reason,)
        self.reason = reason


class MalformedCallback(MalformedBody):
    """A body that cannot be read as an STK callback."""

    _code = "MALFORMED_CALLBACK"
    _what = "an STK callback"


class MalformedResult(MalformedBody):
    """A body that cannot be read as the result of a reversal or a transaction status."""

    _code = "MALFORMED_RESULT"
    _what = "a result"


class MalformedNotice(MalformedBody):
    """A body that cannot be read as a C2B validation or confirmation."""

    _code = "MALFORMED_NOTICE"
    _what = "a C2B notice"

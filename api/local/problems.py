"""What can be wrong with the machine, always told as one sentence that ends in what to type or to do."""


class LocalRuntimeError(Exception):
    """Something outside our code must be put right by a person; `message` says what, and how."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FolderBusy(LocalRuntimeError):
    """Another process keeps this data folder; it is alive, so we leave it alone."""


class DatabaseProblem(LocalRuntimeError):
    """PostgreSQL is missing, too old, unreachable, or would not start."""

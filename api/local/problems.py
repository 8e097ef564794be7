"""Errors of the local runtime; each message is one sentence that ends in what to do."""


class LocalRuntimeError(Exception):
    """Something on this machine must be fixed; `message` says what, and how."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FolderBusy(LocalRuntimeError):
    """Another live process holds this data folder."""


class DatabaseProblem(LocalRuntimeError):
    """PostgreSQL is missing, too old, unreachable, or does not start."""


class PortBusy(LocalRuntimeError):
    """The address is in use or not available."""

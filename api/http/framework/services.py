"""What the doors ask of the rest of the house, built on first use so that a web server can fork before."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from ledger.errors import LedgerError

if TYPE_CHECKING:
    from api.wiring import Services

EXTENSION = "daftari"


class LazyServices:
    """Builds the services once in a process, when the first request needs them."""

    def __init__(self, build: "Callable[[], Services]") -> None:
        self._build = build
        self._lock = Lock()
        self._built: Services | None = None
        self._failures = 0
        self._failure: LedgerError | None = None

    def get(self) -> "Services":
        """Return the services, built at the first call; errors of building pass, and the next call tries again.

        Whoever waited while building failed shares the failure: each try takes seconds, and in a row they would add up.
        """
        failures_before = self._failures
        with self._lock:
            if self._built is None:
                if self._failure is not None and self._failures != failures_before:
                    raise self._failure.with_traceback(None)
                self._built = self._try_to_build()
            return self._built

    def _try_to_build(self) -> "Services":
        try:
            return self._build()
        except LedgerError as failure:
            self._failures, self._failure = self._failures + 1, failure
            raise


def install_services(app: Flask, build: "Callable[[], Services]") -> None:
    """Give the app its services, to be built later."""
    app.extensions[EXTENSION] = LazyServices(build)


def services() -> "Services":
    """Return the services of the current app."""
    return cast("LazyServices", current_app.extensions[EXTENSION]).get()

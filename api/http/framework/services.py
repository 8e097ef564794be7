"""The services and settings of the current application. Services are built on first use, after the server's fork."""

from collections.abc import Callable
from threading import Lock
from typing import cast

from flask import Flask, current_app

from api.settings import Settings
from ledger.errors import LedgerError
from payments.services import Services

SERVICES = "daftari_services"
SETTINGS = "daftari_settings"


class LazyServices:
    """Builds the services once in a process, when the first request needs them."""

    def __init__(self, build: Callable[[], Services]) -> None:
        self._build = build
        self._lock = Lock()
        self._built: Services | None = None
        self._failures = 0
        self._failure: LedgerError | None = None

    def get(self) -> Services:
        """Return the services, built at the first call. An error is raised, and the next call tries again.

        Callers who waited for a build that failed share its error: each try takes seconds, and they would add up.
        """
        if self._built is not None:
            return self._built
        failures_before = self._failures
        with self._lock:
            if self._built is None:
                if self._failure is not None and self._failures != failures_before:
                    raise self._failure.with_traceback(None)
                self._built = self._try_to_build()
            return self._built

    @property
    def built(self) -> Services | None:
        """The services, None before they are built."""
        return self._built

    def _try_to_build(self) -> Services:
        try:
            return self._build()
        except LedgerError as failure:
            self._failures, self._failure = self._failures + 1, failure
            raise


def install_services(app: Flask, settings: Settings, build: Callable[[], Services]) -> LazyServices:
    """Give the app its settings, and its services to be built later; return these."""
    app.extensions[SETTINGS] = settings
    lazy = app.extensions[SERVICES] = LazyServices(build)
    return lazy


def current_services() -> Services:
    """Return the services of the current app. Raises as the function that builds them does."""
    return cast("LazyServices", current_app.extensions[SERVICES]).get()


def current_settings() -> Settings:
    """Return the settings of the current app, as the environment says them: without stored credentials."""
    return cast("Settings", current_app.extensions[SETTINGS])

"""What the doors ask of the rest of the house, built on first use so that a web server can fork before."""

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

if TYPE_CHECKING:
    from api.wiring import Services

EXTENSION = "daftari"


class LazyServices:
    """Builds the services once in a process, when the first request needs them."""

    def __init__(self, build: "Callable[[], Services]") -> None:
        self._build = build
        self._lock = Lock()
        self._built: Services | None = None

    def get(self) -> "Services":
        """Return the services, built at the first call; errors of building pass, and the next call tries again."""
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built


def install_services(app: Flask, build: "Callable[[], Services]") -> None:
    """Give the app its services, to be built later."""
    app.extensions[EXTENSION] = LazyServices(build)


def services() -> "Services":
    """Return the services of the current app."""
    return cast("LazyServices", current_app.extensions[EXTENSION]).get()

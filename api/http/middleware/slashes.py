"""The slash at the end of an address under /api/ is optional, whatever the method: no redirect, no 404."""

from collections.abc import Callable, Iterable
from typing import Any

PREFIX = "/api/"

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class OptionalSlash:
    """Completes addresses before they are routed, so that a wrong method without the slash is 405 as with it."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, whose address is completed first."""
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX) and not path.endswith("/"):
            environ["PATH_INFO"] = f"{path}/"
        return self._app(environ, start_response)

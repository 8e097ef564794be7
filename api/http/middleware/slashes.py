"""The slash at the end of a path under /api/ is optional, whatever the method: no redirect, no 404."""

from collections.abc import Callable, Iterable
from typing import Any

from api.http.framework import API_PREFIX

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class OptionalSlash:
    """Completes paths before they are routed, so that a wrong method is 405 with and without the slash."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Complete the path of a request and answer it."""
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(API_PREFIX) and not path.endswith("/"):
            environ["PATH_INFO"] = f"{path}/"
        return self._app(environ, start_response)

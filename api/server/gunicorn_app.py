"""The API under gunicorn: processes with threads, keep-alive connections, and a limit on everything a client sends."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException

from api.server.concurrency import ConcurrencyLimiter, Wsgi
from api.settings import Settings

if TYPE_CHECKING:
    from api.server.long_poll_worker import LongPollWorker

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
GRACE_SECONDS = 10
CONNECTIONS = 512
"""How many a process serves at once, besides those of clients that long-poll or stream."""

_LIMITS = {
    "backlog": 512,
    "keepalive": 20,
    "timeout": 30,
    "graceful_timeout": GRACE_SECONDS,
    "limit_request_line": 4094,
    "limit_request_fields": 64,
    "limit_request_field_size": 8190,
    "forwarded_allow_ips": "",  # Headers of proxies are trusted by api/http/middleware/proxies.py alone.
}
_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn makes a file of its own in it


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn comes without types
    """gunicorn, configured by our settings alone. The app is made once, before the workers are forked; each worker
    opens its connections at the first request that needs them.
    """

    def __init__(self, settings: Settings, app: Flask, limiter: ConcurrencyLimiter) -> None:
        self._settings = settings
        self._app = app
        self._limiter = limiter
        super().__init__()

    def load_config(self) -> None:
        """Configure gunicorn, which reads no file and no variable of its own."""
        settings = self._settings
        host = f"[{settings.daftari_host}]" if ":" in settings.daftari_host else settings.daftari_host
        wanted: dict[str, Any] = {
            **_LIMITS,
            "bind": [f"{host}:{settings.daftari_port}"],
            "worker_class": "api.server.long_poll_worker.LongPollWorker",
            "worker_connections": CONNECTIONS + settings.daftari_web_waiters,
            "workers": settings.daftari_web_workers,
            # One for each request that computes, that waits for a slot, and that lingers on its connection; and one
            # for each that waits for M-Pesa.
            "threads": 3 * settings.daftari_web_threads + settings.daftari_max_waiting_pushes,
            "post_worker_init": self._let_threads_linger,
            "proc_name": "daftari",
            "control_socket_disable": True,
            "logger_class": RootLogger,
            "loglevel": "warning",
            "worker_tmp_dir": str(_MEMORY) if _MEMORY.is_dir() else None,
            "child_exit": _forget_worker,
        }
        for name, value in wanted.items():
            self.cfg.set(name, value)

    def _let_threads_linger(self, worker: "LongPollWorker") -> None:
        worker.let_linger(self._settings.daftari_web_threads)

    def load(self) -> Wsgi:
        """Return the app for a worker, with a limit on concurrent requests."""
        return with_framing_errors(self._limiter.limit(self._app))


class Body:
    """A request's body whose malformed framing is an OSError: a broken connection, to the application."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end. Raises OSError."""
        try:
            part: bytes = self._body.read(size)
        except ParseException as error:
            raise OSError("The body is not framed as HTTP says.") from error
        return part


def with_framing_errors(app: Wsgi) -> Wsgi:
    """Return the application, given bodies whose errors werkzeug turns into a 400."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        return app(environ, start_response)

    return answer


class RootLogger(Logger):  # type: ignore[misc]  # as above
    """Sends gunicorn's messages to the log of the process."""

    def setup(self, cfg: Any) -> None:
        """Set up gunicorn's logging, then remove its handlers."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def serve(settings: Settings, install_pages: Callable[[Flask], None]) -> None:
    """Serve the API and the pages until SIGTERM or SIGINT; open requests get GRACE_SECONDS to finish.

    Raises ConfigurationError. prometheus-client reads the folder of the workers' metrics when it is imported, so the
    app is imported after the folder is made.
    """
    folder = tempfile.mkdtemp(prefix="daftari-metrics-")
    os.environ[METRICS_FOLDER] = folder
    try:
        from api.http.app import create_app  # noqa: PLC0415 - as said above
        from api.wiring import build_services  # noqa: PLC0415 - imports the application too

        limiter = ConcurrencyLimiter(settings.daftari_web_threads)
        app = create_app(settings, partial(build_services, settings, limiter.released), install_pages)
        WebServer(settings, app, limiter).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_worker(_server: object, worker: Any) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415 - as serve() says

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped

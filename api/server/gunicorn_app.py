"""The API under gunicorn: processes with threads, kept-alive connections, and a bound on everything a client sends."""

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
"""How many a process serves at once, beside those whose clients wait for news."""

_LIMITS = {
    "backlog": 512,
    "keepalive": 20,
    "timeout": 30,
    "graceful_timeout": GRACE_SECONDS,
    "limit_request_line": 4094,
    "limit_request_fields": 64,
    "limit_request_field_size": 8190,
    "forwarded_allow_ips": "",  # What a proxy says is believed in api/http/middleware/proxies.py, and nowhere else.
}
_MEMORY = Path("/dev/shm")  # noqa: S108 - gunicorn makes a file of its own in it


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn comes without types
    """gunicorn, configured by our settings alone. The app is made once, before the workers are forked; it opens
    its connections at the first request that needs them, in the worker.
    """

    def __init__(self, settings: Settings, app: Flask, limiter: ConcurrencyLimiter) -> None:
        self._settings = settings
        self._app = app
        self._limiter = limiter
        super().__init__()

    def load_config(self) -> None:
        """Tell gunicorn what we want of it; it reads no file and no variable of its own."""
        settings = self._settings
        host = f"[{settings.daftari_host}]" if ":" in settings.daftari_host else settings.daftari_host
        wanted: dict[str, Any] = {
            **_LIMITS,
            "bind": [f"{host}:{settings.daftari_port}"],
            "worker_class": "api.server.long_poll_worker.LongPollWorker",
            "worker_connections": CONNECTIONS + settings.daftari_web_waiters,
            "workers": settings.daftari_web_workers,
            # One for each that works, for each that waits for a turn, and for each that stays with its connection; and
            # one for each that waits for M-Pesa.
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
        """Hand a worker the app, whose requests take turns."""
        return with_honest_bodies(self._limiter.limit(self._app))


class Body:
    """A request's body. What is not framed as HTTP says is a broken connection to the application, as it should be."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end. Raises OSError."""
        try:
            part: bytes = self._body.read(size)
        except ParseException as error:
            raise OSError("The body is not framed as HTTP says.") from error
        return part


def with_honest_bodies(app: Wsgi) -> Wsgi:
    """Return the application, given bodies whose errors it knows: werkzeug makes them 400."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        return app(environ, start_response)

    return answer


class RootLogger(Logger):  # type: ignore[misc]  # as above
    """Hands what gunicorn has to say to the process's own log, in its form."""

    def setup(self, cfg: Any) -> None:
        """Set gunicorn's logging up, then take its handlers away."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def serve(settings: Settings) -> None:
    """Answer HTTP until SIGTERM or SIGINT; open requests get some seconds to finish.

    Raises ConfigurationError where the app cannot be made of these settings. The workers' figures meet in a folder
    that prometheus-client learns of when it is imported, so the app is imported after the folder is made.
    """
    folder = tempfile.mkdtemp(prefix="daftari-metrics-")
    os.environ[METRICS_FOLDER] = folder
    try:
        from api.http.app import create_app  # noqa: PLC0415 - as said above
        from api.wiring import build_services  # noqa: PLC0415 - imports the application too

        limiter = ConcurrencyLimiter(settings.daftari_web_threads)
        app = create_app(settings, partial(build_services, settings, limiter.released))
        WebServer(settings, app, limiter).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_worker(_server: object, worker: Any) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415 - as serve() says

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped

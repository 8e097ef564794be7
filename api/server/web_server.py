"""The API and the pages as a web server: some processes, each with its threads, as the settings say."""

import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module

import structlog
from flask import Flask

from api.http.middleware.cross_origin import AllowedOrigins
from api.http.middleware.published_keys import MAX_WAITING
from api.server.connection import SEND_BUFFER_BYTES, Deadlines
from api.server.http1 import Request
from api.server.http_server import HttpServer, Task
from api.server.lanes import CALLBACK_SLOTS, HEALTH_SLOTS, Lanes
from api.server.open_connections import ConnectionLimits
from api.server.processes import WorkerProcesses
from api.server.wsgi import Environ, Headers, Wsgi
from api.setting_values import METRICS_FOLDER
from api.settings import Settings

GRACE_SECONDS = 10
BACKLOG = 512
MAX_CONNECTIONS = 4_096
"""How many a process has at once, besides those of clients that long-poll or stream."""

_OTHER_CONNECTIONS = 3
"""Those of the change notifier, of the dashboard's figures and of a health check."""

_OTHER_FILES = 256
_log = structlog.get_logger(__name__)


def serve(settings: Settings, install_pages: Callable[[Flask], None]) -> None:
    """Serve the API and the pages until SIGTERM or SIGINT; open requests get GRACE_SECONDS to finish.

    Raises ConfigurationError.
    """
    import_application()
    own_folder = None
    if not os.environ.get(METRICS_FOLDER):  # None is given that the worker shares.
        own_folder = os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="daftari-metrics-")
    try:
        from api.http.app import create_app  # noqa: PLC0415 - as import_application() says
        from api.wiring import build_services  # noqa: PLC0415 - imports the application too

        wanted = MAX_CONNECTIONS + settings.daftari_web_waiters + _OTHER_FILES
        files = _allow_files(wanted)
        if files < wanted:
            _log.warning("few_open_files_are_allowed", allowed=files, wanted=wanted)
        settings = replace(settings, daftari_web_waiters=waiters_of(settings, files))
        lanes = Lanes[Task](slots_of(settings), max_waiting_of(settings))
        app = create_app(settings, partial(build_services, settings, lanes.released), install_pages)
        with _listen(settings) as listener:
            workers = WorkerProcesses(
                settings.daftari_web_workers,
                partial(make_server, settings, files, listener, app, lanes, read_ahead=app.read_ahead),
                grace_seconds=GRACE_SECONDS,
                on_end=_forget_worker,
            )
            workers.run(on_stopping=listener.close)
    finally:
        if own_folder is not None:
            shutil.rmtree(own_folder, ignore_errors=True)


def import_application() -> None:
    """Import what the workers run."""
    for name in ("api.http.app", "api.wiring"):
        import_module(name)


def make_server(
    settings: Settings,
    files: int,
    listener: socket.socket,
    app: Wsgi,
    lanes: Lanes[Task],
    on_tick: Callable[[], None],
    read_ahead: Callable[[Sequence[Environ]], None] = lambda _: None,
) -> HttpServer:
    """Return the server of one process, which may open so many files, with a thread for each slot, for each request
    that may wait, and to lead.
    """
    return HttpServer(
        listener,
        app,
        lanes,
        Deadlines(settings.daftari_request_seconds, idle_seconds=2 * settings.daftari_request_seconds),
        ConnectionLimits(
            most=max(1, min(MAX_CONNECTIONS, files - settings.daftari_web_waiters - _OTHER_FILES)),
            of_an_address=settings.daftari_connections_of_address,
            unlimited=settings.daftari_unlimited_addresses,
        ),
        threads=slots_of(settings) + CALLBACK_SLOTS + HEALTH_SLOTS + max_waiting_of(settings) + 1,
        grace_seconds=GRACE_SECONDS,
        on_tick=on_tick,
        read_ahead=read_ahead,
        refusal_headers=partial(_cross_origin_headers, AllowedOrigins(settings.daftari_cors_origins)),
    )


def slots_of(settings: Settings) -> int:
    """Return how many buyers' requests compute at once in a process: never so many that callbacks lack a connection to
    the database.
    """
    spared = settings.daftari_database_connections - CALLBACK_SLOTS - _OTHER_CONNECTIONS
    return max(1, min(settings.daftari_web_threads, spared))


def waiters_of(settings: Settings, files: int) -> int:
    """Return how many clients may long-poll or stream in a process: half of those whom its files allow at most."""
    return max(1, min(settings.daftari_web_waiters, (files - _OTHER_FILES) // 2))


def max_waiting_of(settings: Settings) -> int:
    """Return how many requests of a process wait for others at once without a slot."""
    return settings.daftari_max_waiting_pushes + MAX_WAITING


def _cross_origin_headers(allowed: AllowedOrigins, request: Request) -> Headers:
    path = request.target.partition(b"?")[0].decode("latin-1")
    return allowed.headers_for(path, dict(request.headers).get("origin"))


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.daftari_host else socket.AF_INET
    listener = socket.create_server(
        (settings.daftari_host, settings.daftari_port), family=family, backlog=BACKLOG
    )
    # Clients' sockets have what the listening one has.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


def _allow_files(wanted: int) -> int:
    """Let this process open this many files if the machine allows it; return how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return wanted if soft == resource.RLIM_INFINITY else soft


def _forget_worker(pid: int) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415 - as serve() says

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped

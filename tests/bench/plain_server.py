"""`python -m tests.bench.plain_server PORT`: serve the plain rows by Daftari's web server, at its default settings."""

import socket
import sys
from functools import partial

from api.local.local_settings import local_settings
from api.server.lanes import Lanes
from api.server.processes import WorkerProcesses
from api.server.web_server import BACKLOG, GRACE_SECONDS, make_server, max_waiting_of, slots_of
from tests.bench.plain_rows import app, daraja_token
from tests.support.ports import LOCALHOST

OPEN_FILES = 10_000
"""What the limit of connections is reckoned from, as where a machine sets none."""


def serve(port: int) -> None:
    """Serve until SIGTERM."""
    daraja_token()
    settings = local_settings({"DAFTARI_PORT": str(port)})
    with socket.create_server((LOCALHOST, port), backlog=BACKLOG) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        workers = WorkerProcesses(
            settings.daftari_web_workers,
            partial(
                make_server,
                settings,
                OPEN_FILES,
                listener,
                app,
                Lanes(slots_of(settings), max_waiting_of(settings)),
            ),
            grace_seconds=GRACE_SECONDS,
            on_end=lambda _: None,
        )
        workers.run(on_stopping=listener.close)


if __name__ == "__main__":
    serve(int(sys.argv[1]))

"""Ports for what a test starts."""

import secrets
import socket

LOCALHOST = "127.0.0.1"
# Below the range from which the system takes the near end of a connection, on Linux (32768-) and on macOS (49152-):
# a port that is handed out here and opened a moment later is not taken meanwhile by an outgoing call.
PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Return a port of the loopback address that was free a moment ago, for a process that opens it itself.

    A test that can open the port itself lets the system choose it, and keeps it.
    """
    while True:
        port = secrets.choice(PORTS)  # Not from `random`: two seeded runs would choose the same.
        with socket.socket() as probe:
            try:
                probe.bind((LOCALHOST, port))
            except OSError:
                continue
            return port

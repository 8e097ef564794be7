"""Ports of this machine: whether one is free, and whether a server answers on it."""

import contextlib
import errno
import http.client
import socket

from api.local.problems import PortBusy

_CONNECT_WITHIN_SECONDS = 1.0


def require_free_port(host: str, port: int, variable: str, command: str) -> None:
    """Raise PortBusy unless `host`:`port` is free; `variable` and `command` make the message's remedy."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortBusy(
                f"Port {port} of {host} is in use: stop what listens there, "
                f"or type `{variable}={port + 10 if port < 60_000 else port - 10} {command}`."
            ) from None
        raise PortBusy(
            f"{host}:{port} cannot be listened on ({error.strerror}): set {variable} to another port, "
            "or DAFTARI_HOST to an address of this machine."
        ) from error


def answers_http(host: str, port: int, path: str) -> bool:
    """Return whether a GET of `path` is answered with 200; 0.0.0.0 and :: are called on the loopback address."""
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=_CONNECT_WITHIN_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def reachable_host(host: str) -> str:
    """Return the host by which this machine reaches a listener on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked for by name, not listened on


def http_url(host: str, port: int) -> str:
    """Return the URL by which this machine reaches a listener."""
    name = reachable_host(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

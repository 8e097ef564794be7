"""Where webhooks may go: https URLs of public addresses, so that nobody makes Daftari call what is behind its walls."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from ledger.errors import InvalidValue, wrong_fields

MAX_URL_CHARACTERS = 2_000
DEFAULT_PORTS = {"https": 443, "http": 80}

_PRINTABLE = re.compile(r"[!-~]+")
_UNSAFE = re.compile(r"[\\\"<>^`{|}]")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*|[0-9A-Fa-f:.]{2,45}")
_GLOBAL_UNICAST = IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts. `authority` is the Host header, `resource` the path with its query."""

    is_encrypted: bool
    host: str
    port: int
    authority: str
    resource: str


def parse_target(url: str, *, allows_private: bool) -> Target:
    """Return the parts of a URL that webhooks may go to. Raises InvalidValue for the field `url`.

    With `allows_private`, http and this machine's own network will do: for development. Where a name leads is looked
    at whenever something is sent.
    """
    if not _PRINTABLE.fullmatch(url) or _UNSAFE.search(url) or len(url) > MAX_URL_CHARACTERS:
        raise _refused(f"Write a URL of at most {MAX_URL_CHARACTERS:,} characters of ASCII, without blanks.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("This is not a URL.") from None
    if parts.scheme not in DEFAULT_PORTS or (parts.scheme == "http" and not allows_private):
        raise _refused("Write a URL that begins with https://.")
    if "@" in parts.netloc:
        raise _refused("Leave user and password out: webhooks are signed.")
    if parts.fragment or "#" in url:
        raise _refused("Leave the fragment out.")
    host = (parts.hostname or "").rstrip(".")
    if not _HOST.fullmatch(host) or port == 0:
        raise _refused("Write the name of a host, and no port or one from 1 to 65535.")
    if not allows_private and _leads_inside(host):
        raise _refused("Choose an address that the whole Internet can reach.")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{shown}:{port}"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme == "https", host, port or DEFAULT_PORTS[parts.scheme], authority, resource)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, and none that only stands for another."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv4Address):
        return found.is_global and not found.is_multicast
    return found in _GLOBAL_UNICAST and found.is_global and not _stands_for_ipv4(found)


def _stands_for_ipv4(address: IPv6Address) -> bool:
    return address.sixtofour is not None or address.teredo is not None


def _leads_inside(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not is_public(host)
    except ValueError:  # It is a name.
        return False


def _refused(problem: str) -> InvalidValue:
    return wrong_fields({"url": [problem]})

"""How the text of a setting becomes a value. A ValueError's text continues a sentence that begins with the name."""

import base64
import binascii
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ledger.errors import InvalidValue
from ledger.money import Money

Parser = Callable[[str], Any]

COMMAND_FOR_A_SECRET = 'python3 -c "import secrets; print(secrets.token_hex(32))"'  # noqa: S105 - makes one, is none
COMMAND_FOR_A_KEY = (
    'python3 -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"'
)

_HIGHEST_PORT = 65_535


def text(given: str) -> str:
    """Take any text in one line."""
    if not given.isprintable():
        raise ValueError("has a line break or a control character in it: type it again, in one line.")
    return given


def key(given: str) -> str:
    """Take a key as a portal shows it: visible characters, no blanks inside."""
    if not given.isascii() or not given.isprintable() or " " in given:
        raise ValueError(
            "has a blank, a line break or a foreign character inside: copy it again, in one piece."
        )
    return given


def secret(shortest: int) -> Parser:
    """Make a parser of secrets with at least `shortest` characters."""

    def parse(given: str) -> str:
        if len(key(given)) < shortest:
            raise ValueError(
                f"is shorter than {shortest} characters: type `{COMMAND_FOR_A_SECRET}` to make one."
            )
        return given

    return parse


def key_bytes(length: int) -> Parser:
    """Make a parser of base64, of either alphabet, that stands for `length` bytes."""

    def parse(given: str) -> bytes:
        try:
            decoded = base64.b64decode(given.replace("-", "+").replace("_", "/"), validate=True)
        except binascii.Error:
            decoded = b""
        if len(decoded) != length:
            raise ValueError(f"must be base64 of {length} bytes: type `{COMMAND_FOR_A_KEY}` to make one.")
        return decoded

    return parse


def choice(*allowed: str) -> Parser:
    """Make a parser that takes one of a few words."""

    def parse(given: str) -> str:
        if given not in allowed:
            raise ValueError(f"must be one of: {', '.join(allowed)}.")
        return given

    return parse


def whole(lowest: int, highest: int) -> Parser:
    """Make a parser of whole numbers within bounds, both included."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", given) or not lowest <= int(given) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, without separators.")
        return int(given)

    return parse


port = whole(1, _HIGHEST_PORT)


def digits(fewest: int, most: int) -> Parser:
    """Make a parser of shortcodes and till numbers."""

    def parse(given: str) -> str:
        if not re.fullmatch(rf"[0-9]{{{fewest},{most}}}", given):
            raise ValueError(f"must be {fewest} to {most} digits, such as 174379.")
        return given

    return parse


def money(given: str) -> Money:
    """Take shillings and cents, zero or more."""
    try:
        amount = Money.parse(given)
    except InvalidValue:
        raise ValueError("must be an amount in shillings, such as 50.00.") from None
    if amount.cents < 0:
        raise ValueError("must be zero or more, such as 50.00.")
    return amount


def host(given: str) -> str:
    """Take an address or a host name to listen on."""
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", given):
        raise ValueError("must be an address such as 127.0.0.1 or 0.0.0.0.")
    return given


def url(given: str) -> str:
    """Take an https address; http too where it does not leave the machine."""
    parts = _parts_of(key(given))
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_near(given))):
        raise ValueError(
            "must be an https address (http only for 127.0.0.1), such as https://your.domain/path/."
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have no user, password or #fragment in it.")
    return given


def _parts_of(address: str) -> SplitResult | None:
    """Return the parts of an address, None where it names no host or no port that there can be."""
    try:
        parts = urlsplit(address)
        is_whole = parts.hostname is not None and parts.port != 0
    except ValueError:
        return None
    return parts if is_whole else None


def base_url(given: str) -> str:
    """Take an address, as url() does, that others are made of by adding to its path."""
    if "?" in url(given):
        raise ValueError(
            "must end with a path, without ? and what follows it: more of the path is added to it."
        )
    return given


def is_near(address: str) -> bool:
    """Say whether an address is of this machine itself."""
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def database_url(given: str) -> str:
    """Take what libpq takes: a URL, or words such as `host=... dbname=...`."""
    if not re.match(r"postgres(ql)?://|[a-z_]+ *=", given):
        raise ValueError(
            "must be an address of PostgreSQL, such as postgresql://user:password@host:5432/daftari."
        )
    return given


def folder(given: str) -> Path:
    """Take a folder, made when it is missing, so that it need not exist."""
    return Path(text(given)).expanduser().absolute()


def file(given: str) -> Path:
    """Take a file that can be read."""
    path = folder(given)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read ({error.strerror}).") from None
    return path

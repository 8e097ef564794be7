"""Parsers of settings: text in, value out. A ValueError's text continues a sentence that begins with the variable."""

import base64
import binascii
import re
import shlex
from collections.abc import Callable
from dataclasses import field
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from ledger.errors import InvalidValue
from ledger.money import Money

Parser = Callable[[str], Any]
Network = IPv4Network | IPv6Network

MASTER_KEY_BYTES = 32
MAX_FILE_BYTES = 64 * 1024
COMMAND_FOR_A_SECRET = 'python3 -c "import secrets; print(secrets.token_hex(32))"'  # noqa: S105 - makes one, is none
COMMAND_FOR_A_KEY = (
    'python3 -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"'
)
COMMAND_FOR_A_SIGNING_SECRET = f"echo whsec_$({COMMAND_FOR_A_KEY})"

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable, prometheus-client's, of the folder through which processes of a machine add up what they count."""

_SIGNING_PREFIX = "whsec_"
_SIGNING_BYTES = (24, 64)
_MIN_SECRET = 32
_MIN_DISTINCT = 10
_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "secret",
    "password",
    "example",
    "placeholder",
    "default",
    "insecure",
    "letmein",
    "daftari",
)
_KEYBOARD = "qwertyuiop asdfghjkl zxcvbnm"
_ENGLISH = " th he in er an re nd on en at ou ed ha to or it is hi es ng st ar te se le al me ea nt ne ve ti io ro ri "
"""The most frequent pairs of letters in English: half of all pairs in a text, few among letters drawn by chance."""

_MIN_ENGLISH = 8
_MAX_ENGLISH = 0.28
_MAX_PORT = 65_535
MAX_ORIGINS = 100
_USUAL_PORTS = {"https": 443, "http": 80}
_ORIGIN = re.compile(r"(https?)://([0-9a-z._-]+|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?")


def setting(parse: Parser, default: str, meaning: str, *, secret: bool = False) -> Any:
    """Describe a field of the settings: how its text is read, its default as text ("" for none), and what it means."""
    described = {"parse": parse, "default": default, "meaning": meaning}
    return field(metadata=described, repr=not secret)


def matching(pattern: str, problem: str) -> Parser:
    """Make a parser of text that a pattern describes whole; `problem` is what to say of any other."""

    def parse(given: str) -> str:
        if not re.fullmatch(pattern, given):
            raise ValueError(problem)
        return given

    return parse


def choice(*allowed: str) -> Parser:
    """Make a parser of one of a few words."""
    return matching("|".join(map(re.escape, allowed)), f"must be one of: {', '.join(allowed)}.")


def digits(fewest: int, most: int) -> Parser:
    """Make a parser of shortcodes and till numbers."""
    return matching(rf"[0-9]{{{fewest},{most}}}", f"must be {fewest} to {most} digits, such as 174379.")


def whole(lowest: int, highest: int) -> Parser:
    """Make a parser of whole numbers within bounds, both included."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", given) or not lowest <= int(given) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}, without separators.")
        return int(given)

    return parse


port = whole(1, _MAX_PORT)
host = matching(r"[A-Za-z0-9.:_-]{1,253}", "must be an address such as 127.0.0.1 or 0.0.0.0.")
key = matching(
    r"[!-~]+", "has a blank, a line break or a foreign character inside: copy it again, in one piece."
)
database_url = matching(
    r"(?s:(postgres(ql)?://|[a-z_]+ *=).*)",
    "must be an address of PostgreSQL, such as postgresql://user:password@host:5432/daftari.",
)

periods = matching(
    r"\s*[a-z_]+\s*=\s*([0-9]+|never)\s*(,\s*[a-z_]+\s*=\s*([0-9]+|never)\s*)*",
    "must be kind=days or kind=never, with commas between, such as kept_answers=3, payers=never.",
)

role = matching(
    r"[a-z_][a-z0-9_]{0,62}",
    "must be a role of PostgreSQL in small letters, digits and _, such as daftari_app.",
)


def text(given: str) -> str:
    """Parse any text in one line."""
    if not given.isprintable():
        raise ValueError("has a line break or a control character in it: type it again, in one line.")
    return given


def secret(given: str) -> str:
    """Parse a secret, which is a key of some length."""
    if len(key(given)) < _MIN_SECRET:
        raise ValueError(
            f"is shorter than {_MIN_SECRET} characters: type `{COMMAND_FOR_A_SECRET}` to make one."
        )
    return given


def signing_secrets(given: str) -> tuple[str, ...]:
    """Parse secrets of Standard Webhooks, separated by commas: "whsec_" and the base64 of 24 to 64 bytes."""
    found = tuple(part.strip() for part in given.split(","))
    if not all(_is_signing_secret(part) for part in found):
        raise ValueError(f"must be whsec_ and the base64 of 32 bytes: type `{COMMAND_FOR_A_SIGNING_SECRET}`.")
    return found


def _is_signing_secret(given: str) -> bool:
    try:
        key = base64.b64decode(given.removeprefix(_SIGNING_PREFIX), validate=True)
    except binascii.Error:
        return False
    return given.startswith(_SIGNING_PREFIX) and _SIGNING_BYTES[0] <= len(key) <= _SIGNING_BYTES[1]


def weakness_of(given: str) -> str | None:
    """Return why a secret could be guessed, as the end of a sentence; None if it looks as if drawn by chance.

    Whoever guesses it makes operators' tokens, and can try as fast as their machine hashes: length alone is no defence.
    """
    low = given.lower()
    pairs = list(pairwise(low))
    if any(word in low for word in _PLACEHOLDERS):
        return "it contains a word that examples use"
    if any(given == (given[:period] * len(given))[: len(given)] for period in range(1, len(given) // 2 + 1)):
        return "it repeats itself"
    if len(set(given)) < _MIN_DISTINCT:
        return f"it has fewer than {_MIN_DISTINCT} different characters"
    if (
        sum(abs(ord(one) - ord(other)) <= 1 or one + other in _KEYBOARD for one, other in pairs)
        > len(pairs) / 2
    ):
        return "it follows the alphabet, the digits or the keyboard"
    letters = [f" {one}{other} " for one, other in pairs if one.isalpha() and other.isalpha()]
    english = sum(pair in _ENGLISH for pair in letters)
    if english >= _MIN_ENGLISH and english > _MAX_ENGLISH * len(letters):
        return "it is made of words"
    return None


def master_key(given: str) -> bytes:
    """Parse base64, of either alphabet, into the bytes of a master key."""
    try:
        decoded = base64.b64decode(given.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        decoded = b""
    if len(decoded) != MASTER_KEY_BYTES:
        raise ValueError(
            f"must be base64 of {MASTER_KEY_BYTES} bytes: type `{COMMAND_FOR_A_KEY}` to make one."
        )
    return decoded


def day(given: str) -> date:
    """Parse a day of the calendar."""
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise ValueError("must be a day, such as 2026-11-27.") from None


def money(given: str) -> Money:
    """Parse shillings and cents, zero or more."""
    try:
        amount = Money.parse(given)
    except InvalidValue:
        raise ValueError("must be an amount in shillings, such as 50.00.") from None
    if amount.cents < 0:
        raise ValueError("must be zero or more, such as 50.00.")
    return amount


def url(given: str) -> str:
    """Parse an https address, or an http address of this machine."""
    parts = _parts_of(key(given))
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and is_near(given))):
        raise ValueError(
            "must be an https address (http only for 127.0.0.1), such as https://your.domain/path/."
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have no user, password or #fragment in it.")
    return given


def base_url(given: str) -> str:
    """Parse an address, as url() does, to which more of a path is added."""
    if "?" in url(given):
        raise ValueError(
            "must end with a path, without ? and what follows it: more of the path is added to it."
        )
    return given


def origins(given: str) -> tuple[str, ...]:
    """Parse origins, separated by commas, into the form in which browsers send them."""
    found = [part.strip() for part in given.split(",") if part.strip()]
    if len(found) > MAX_ORIGINS:
        raise ValueError(f"must be {MAX_ORIGINS} origins at most.")
    return tuple(_origin(part) for part in found)


def _origin(given: str) -> str:
    if "*" in given:
        raise ValueError("must name each origin in full: with a * pages of strangers could use the API.")
    match = _ORIGIN.fullmatch(given.lower())
    if match is None or _parts_of(given) is None:
        raise ValueError(
            "must be origins such as https://shop.example, without a path or a slash at the end."
        )
    scheme, host, port = match.groups()
    if scheme == "http" and not is_near(given):
        raise ValueError("must be https origins (http only for this machine), such as https://shop.example.")
    is_usual = port is None or int(port) == _USUAL_PORTS[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{int(port)}"


def is_near(address: str) -> bool:
    """Return whether an address is this machine's own."""
    return is_loopback(urlsplit(address).hostname or "")


def is_loopback(name: str) -> bool:
    """Return whether only this machine can reach a host of this name or address."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def networks(given: str) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas; none is allowed, as "none"."""
    if given == "none":
        return ()
    try:
        return tuple(ip_network(part.strip()) for part in given.split(","))
    except ValueError:
        raise ValueError(
            'must be addresses or networks, separated by commas, such as 127.0.0.0/8,10.0.0.7; or "none".'
        ) from None


def destinations(given: str) -> tuple[str, ...]:
    """Parse where heads are published: paths of files, addresses and `command:…`, separated by semicolons."""
    found = [part.strip() for part in text(given).split(";") if part.strip()]
    for part in found:
        if part.startswith("command:"):
            if not shlex.split(
                part.removeprefix("command:")
            ):  # Raises ValueError for an open quotation mark.
                raise ValueError("has a command: without a program after it.")
            continue
        if "://" in part:
            url(part)
        elif not Path(part).is_absolute():
            raise ValueError(
                "must be paths of files from / on, https addresses, or command:PROGRAM, separated by semicolons."
            )
    return tuple(found)


def notified(given: str) -> tuple[str, ...]:
    """Parse who is notified: https addresses and smtp(s)://USER:PASSWORD@HOST:PORT/?from=…&to=…, by semicolons."""
    found = [key(part.strip()) for part in given.split(";") if part.strip()]
    for part in found:
        if not part.startswith(("smtp://", "smtps://")):
            url(part)
            continue
        parts = _parts_of(part)
        query = parse_qs(parts.query) if parts is not None else {}
        mailboxes = query.get("to", []) + query.get("from", [])
        if parts is None or not parts.hostname or {*query} != {"from", "to"} or len(query["from"]) != 1:
            raise ValueError("must name one sender and who gets the mail: smtp://host:587/?from=…&to=…&to=….")
        if not all(re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", mailbox) for mailbox in mailboxes):
            raise ValueError("must have email addresses such as shop@example.co.ke as from and to.")
    return tuple(found)


def folder(given: str) -> Path:
    """Parse the path of a folder, which need not exist yet."""
    return Path(text(given)).expanduser().absolute()


def file(given: str) -> Path:
    """Parse the path of a file that can be read."""
    path = folder(given)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read ({error.strerror}).") from None
    return path


def content(path: Path | None) -> bytes | None:
    """Return the first MAX_FILE_BYTES of a file, None without one; raise ValueError if it cannot be read."""
    if path is None:
        return None
    try:
        with path.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"names {path}, which cannot be read ({error.strerror}).") from error


def _parts_of(address: str) -> SplitResult | None:
    """Return the parts of an address, None if its host is missing or its port impossible."""
    try:
        parts = urlsplit(address)
        is_whole = parts.hostname is not None and parts.port != 0
    except ValueError:
        return None
    return parts if is_whole else None

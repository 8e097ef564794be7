"""What an address must be like for Daraja to call back: its form, and the words that Safaricom does not want in it."""

import re
from urllib.parse import urlsplit

FORBIDDEN_WORDS: tuple[str, ...] = ("m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query")
"""As the portal lists them for C2B. For STK a path with `mpesa` was accepted by the sandbox: avoid, do not refuse."""

_URL = re.compile(r"[\x21-\x7e]{1,1000}")


def forbidden_words_in(url: str) -> tuple[str, ...]:
    """Return the forbidden words that occur anywhere in a URL, in any case, in the order of the list."""
    lowered = url.lower()
    return tuple(word for word in FORBIDDEN_WORDS if word in lowered)


def is_callback_url(url: str) -> bool:
    """Say whether a URL has the form that Daraja takes: http(s), and a host in small letters."""
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts.scheme in ("http", "https") and bool(parts.hostname) and host == host.lower()
    except ValueError:
        return False

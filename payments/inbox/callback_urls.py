"""The URL under which M-Pesa reaches our endpoints, derived from the callback URL of the settings."""

from urllib.parse import urlsplit

API_PREFIX = "/api/payments/"


def endpoints_url(callback_url: str) -> str:
    """Return the base URL of our payment endpoints, with a slash at its end.

    That is the callback URL up to `/api/payments/`, after the path of a proxy if there is one; if it has no such part,
    that path on its host.
    """
    before, begins, _ = callback_url.partition(API_PREFIX)
    parts = urlsplit(callback_url)
    return f"{before if begins else f'{parts.scheme}://{parts.netloc}'}{API_PREFIX}"

"""Where M-Pesa reaches our doors from outside, by the one address that the settings name."""

from urllib.parse import urlsplit

API_PREFIX = "/api/payments/"


def endpoints_url(callback_url: str) -> str:
    """Return the address under which our doors of payments are reached, with a slash at its end.

    That is the callback address up to `/api/payments/`, whatever proxy's path comes before it, and the same path on
    its host where it has no such part.
    """
    before, begins, _ = callback_url.partition(API_PREFIX)
    parts = urlsplit(callback_url)
    return f"{before if begins else f'{parts.scheme}://{parts.netloc}'}{API_PREFIX}"

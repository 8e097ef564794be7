"""The words that Safaricom does not want to see in a callback URL."""

FORBIDDEN_WORDS: tuple[str, ...] = ("m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query")
"""As the portal lists them for C2B. For STK a path with `mpesa` was accepted by the sandbox: avoid, do not refuse."""


def forbidden_words_in(url: str) -> tuple[str, ...]:
    """Return the forbidden words that occur anywhere in a URL, in any case, in the order of the list."""
    lowered = url.lower()
    return tuple(word for word in FORBIDDEN_WORDS if word in lowered)

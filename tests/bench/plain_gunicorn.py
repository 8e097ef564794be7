"""The plain rows as gunicorn loads them before it forks: M-Pesa honours the newest access token alone."""

from tests.bench.plain_rows import app, daraja_token

daraja_token()

__all__ = ["app"]

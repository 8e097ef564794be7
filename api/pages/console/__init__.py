"""The console of the staff at /console/: one navigation, and in it what a role allows. Also in production."""

from api.pages.console import audit, books, cases, dashboard, payments, sign_in, statements, webhooks, work
from api.pages.console.blueprint import pages

__all__ = [
    "audit",
    "books",
    "cases",
    "dashboard",
    "pages",
    "payments",
    "sign_in",
    "statements",
    "webhooks",
    "work",
]

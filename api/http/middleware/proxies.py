"""Proxy headers that are trusted, and the base URL under which clients reach us."""

from flask import current_app, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.http.middleware.slashes import WsgiApp

PUBLIC_URL = "DAFTARI_PUBLIC_URL"
"""The key of our base URL in the app's configuration, without a slash at its end."""


def behind_proxies(app: WsgiApp, hops: int) -> WsgiApp:
    """Return `app` with the client's address and scheme as the last `hops` proxies wrote them; with 0, `app` itself.

    X-Forwarded-Host, -Port and -Prefix are never read: few proxies overwrite what a client sends there.
    """
    return ProxyFix(app, x_for=hops, x_proto=hops, x_host=0, x_port=0, x_prefix=0) if hops else app


def base_url() -> str:
    """Return the base URL of all our links: as configured, else that of the requested host."""
    configured: str = current_app.config[PUBLIC_URL]
    return configured or request.root_url.rstrip("/")

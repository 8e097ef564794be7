"""Where clients reach us: what proxies write down about a request, and our own address as clients know it."""

from flask import current_app, request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.http.middleware.slashes import WsgiApp

PUBLIC_URL = "DAFTARI_PUBLIC_URL"
"""The key of the app's configuration under which our address is, without a slash at its end."""


def behind_proxies(app: WsgiApp, hops: int) -> WsgiApp:
    """Let `app` see the client's address and scheme as the last `hops` proxies wrote them; with 0, as they are.

    X-Forwarded-Host, -Port and -Prefix are never read: few proxies overwrite what a client sends there.
    """
    return ProxyFix(app, x_for=hops, x_proto=hops, x_host=0, x_port=0, x_prefix=0) if hops else app


def base_url() -> str:
    """Return what every address of ours begins with: as configured, else on the host that was asked."""
    configured: str = current_app.config[PUBLIC_URL]
    return configured or request.root_url.rstrip("/")

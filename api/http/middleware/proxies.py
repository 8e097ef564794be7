"""Proxy headers that are trusted, and the base URL under which clients reach us."""

from urllib.parse import urlsplit

from flask import request
from werkzeug.middleware.proxy_fix import ProxyFix

from api.http.framework.services import current_settings
from api.http.middleware.slashes import WsgiApp
from api.setting_values import is_loopback

FORWARDING = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")
"""The headers by which a proxy gives itself away."""


def behind_proxies(app: WsgiApp, hops: int) -> WsgiApp:
    """Return `app` with the client's address and scheme as the last `hops` proxies wrote them; with 0, `app` itself.

    X-Forwarded-Host, -Port and -Prefix are never read: few proxies overwrite what a client sends there.
    """
    return ProxyFix(app, x_for=hops, x_proto=hops, x_host=0, x_port=0, x_prefix=0) if hops else app


def base_url() -> str:
    """Return the base URL of all our links, without a slash at its end: the public URL, which production has.

    Without one it is the requested host if that is this machine, else our own address: no link repeats a forged Host.
    """
    settings = current_settings()
    if settings.daftari_public_url:
        return settings.daftari_public_url.rstrip("/")
    if is_loopback(requested_host()):
        return request.root_url.rstrip("/")
    return f"{request.scheme}://127.0.0.1:{settings.daftari_port}"


def payment_url(link: str) -> str:
    """Return the address of the payment page of a payment link."""
    return f"{base_url()}/pay/{link}/"


def requested_host() -> str:
    """Return the name or address in the request's Host, without the port; "" if it is not a valid one."""
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def is_from_this_machine() -> bool:
    """Tell whether a request came straight to this machine's own address, through no proxy that says so.

    A page of another site that was made to resolve to this machine names its own host, and so counts as another.
    """
    return is_loopback(requested_host()) and not any(name in request.headers for name in FORWARDING)

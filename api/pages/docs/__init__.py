"""The API documentation for people, /docs/: rendered from the OpenAPI document, without a script or a CDN."""

from functools import partial

from flask import Blueprint, Response, render_template

from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.openapi import document, kept
from api.http.middleware.proxies import base_url
from api.pages.docs.reading import groups_of
from ledger.clock import now

pages = Blueprint(
    "docs", __name__, template_folder="templates", static_folder="static", static_url_path="/docs/static"
)


@pages.get("/docs/")
def show_docs() -> Response:
    """Show every operation with its fields and a curl command, and every error code."""
    address = base_url()
    page = kept("docs", partial(_page, address), of=(address, now().date()))
    return Response(page, mimetype="text/html")


def _page(address: str) -> bytes:
    made = document()
    shown = render_template(
        "docs.html", info=made["info"], groups=groups_of(made, address), error_codes=ERROR_CODES
    )
    return shown.encode()

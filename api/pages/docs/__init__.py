"""The API documentation for people, /docs/: a guide from the pages in docs/, then every documented operation.

Rendered here, without a script or a CDN.
"""

from functools import partial

from flask import Blueprint, Response, render_template

from api.http.framework.openapi import document, kept
from api.http.middleware.proxies import base_url
from api.pages.docs.reading import groups_of
from ledger.clock import now

pages = Blueprint(
    "docs", __name__, template_folder="templates", static_folder="static", static_url_path="/docs/static"
)


@pages.get("/docs/")
def show_docs() -> Response:
    """Show the guide, then every operation with its fields and a curl command."""
    address = base_url()
    page = kept("docs", partial(_page, address), of=(address, now().date()))
    return Response(page, mimetype="text/html")


def _page(address: str) -> bytes:
    from api.pages.docs.guide import guide  # noqa: PLC0415 - to load its parser takes a tenth of a second

    made = document()
    shown = render_template(
        "docs.html", info=made["info"], groups=groups_of(made, address), guide=guide(address)
    )
    return shown.encode()

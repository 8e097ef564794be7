"""The API documentation for people, /docs/: rendered from the OpenAPI document, without a script or a CDN."""

from flask import Blueprint, render_template

from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.openapi import document
from api.http.middleware.proxies import base_url
from api.pages.docs.reading import groups_of

pages = Blueprint(
    "docs", __name__, template_folder="templates", static_folder="static", static_url_path="/docs/static"
)


@pages.get("/docs/")
def show_docs() -> str:
    """Show every operation with its fields and a curl command, and every error code."""
    made = document()
    return render_template(
        "docs.html",
        info=made["info"],
        groups=groups_of(made, base_url()),
        error_codes=ERROR_CODES,
    )

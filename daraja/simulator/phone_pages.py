"""The phones page: what a payer would see, and the buttons a payer would press."""

from flask import Blueprint, Response, abort, make_response, render_template

from daraja.simulator.gateway_requests import is_phone
from daraja.simulator.outcomes import KINDS
from daraja.simulator.simulator_settings import SimulatorSettings

_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:"
"""Nothing from elsewhere; framing is allowed, so that a shop can show one phone beside its checkout."""


def phone_pages(settings: SimulatorSettings) -> Blueprint:
    """Return the pages for a Flask application: all phones at `/` and `/phones/`, one at `/phones/<number>`."""
    pages = Blueprint(
        "phones",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/phones/static",
    )

    def page(phone: str | None = None) -> Response:
        if phone is not None and not is_phone(phone):
            abort(404)
        html = render_template("phones.html", phone=phone, settings=settings, kinds=KINDS)
        response = make_response(html)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    for path in ("/", "/phones/", "/phones/<phone>", "/phones/<phone>/"):
        pages.add_url_rule(path, view_func=page, endpoint="page", methods=["GET"])
    return pages

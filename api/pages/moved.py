"""The old paths of the work page, which lead to the console; forms that were open in a browser too."""

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response as AnyResponse

pages = Blueprint("moved", __name__)

SHARED = frozenset({"sign-in", "sign-out", "static"})
"""What is of the whole console now, and not of its list of cases."""


@pages.route("/work/", defaults={"rest": ""}, methods=["GET", "POST"])
@pages.route("/work/<path:rest>", methods=["GET", "POST"])
def go_to_the_console(rest: str) -> AnyResponse:
    """Redirect to the console, with the method, the body and the query as they are."""
    base = "/console/" if rest.partition("/")[0] in SHARED else "/console/work/"
    query = request.query_string.decode("latin-1")
    return redirect(f"{base}{rest}{'?' if query else ''}{query}", 308)

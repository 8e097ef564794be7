"""Signing in to the console with a token, and out of it for good."""

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.services import current_services
from api.pages.console import staff
from api.pages.console.blueprint import pages


@pages.post("/sign-in/")
def sign_in() -> AnyResponse:
    """Take the token of a member of the staff, or in development that of a demo user."""
    staff.require_proof()
    given = request.form.get
    token = staff.demo_token(given("demo", "")) if "demo" in request.form else staff.check(given("token", ""))
    response = redirect(staff.page_asked_for(given("page", "")), 303)
    staff.sign_in(response, token)
    return response


@pages.post("/sign-out/")
def sign_out() -> AnyResponse:
    """Sign out, for good: the token is refused from now on, in a cookie that was kept and in the API too."""
    staff.require_proof()
    response = redirect(url_for("console.show_dashboard"), 303)
    if (here := staff.signed_in()) is not None:
        here.revoke_own_token(current_services().revocations)
    staff.sign_out(response)
    return response

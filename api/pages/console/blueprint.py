"""The console's blueprint: each page belongs to a section, which says who may see it and who is refused."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from flask import Blueprint, current_app, g, redirect, render_template, request, url_for
from marshmallow import Schema, ValidationError
from werkzeug.wrappers import Response as AnyResponse

from api.http.framework.blueprint import Parser
from api.http.framework.error_responses import refusal_of
from api.http.middleware.auth import Caller
from api.http.middleware.refused_access import record_refusal
from api.issued_tokens import Role
from api.pages import wording
from api.pages.console import staff
from api.pages.console.navigation import DASHBOARD, Section, sections_of
from ledger.errors import InvalidValue, NotAllowed, NotFound
from ledger.store import metadata
from ledger.store.metadata import Cause

View = TypeVar("View", bound=Callable[..., Any])

pages = Blueprint(
    "console",
    __name__,
    url_prefix="/console",
    template_folder="../templates",
    static_folder="../static",
    static_url_path="/static",
)
for show in (
    wording.shillings,
    wording.as_moment,
    wording.moment,
    wording.moment_to_the_second,
    wording.age,
    wording.case_detail,
    wording.cause,
    wording.readable,
    wording.shillings_of,
    wording.words_of,
):
    pages.add_app_template_filter(show)


class _LacksRole(NotAllowed):
    """The page is for another role, which a token can give."""


def in_section(section: Section, *roles: Role) -> Callable[[View], View]:
    """Let only the section's roles use a view, or fewer if `roles` are given; goes beneath the route.

    Who is not signed in gets the form to sign in. Who lacks the role is refused, and the attempt recorded.
    """
    allowed = frozenset(roles) or section.roles

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            here = staff.signed_in()
            if here is None:
                return (
                    redirect(url_for("console.show_dashboard"), 303) if _is_form() else staff.sign_in_form()
                )
            if here.roles.isdisjoint(allowed):
                record_refusal(here.actor, here.roles, kwargs, is_staff=True)
                raise _LacksRole("ROLE_REQUIRED", f"This is for the role {' or '.join(sorted(allowed))}.")
            if _is_form():
                staff.require_proof()
                if Role.OPERATOR in here.roles:
                    metadata.add(Cause.OPERATOR, actor=here.actor)
            return view(*args, **kwargs)

        checked.section = section  # type: ignore[attr-defined]  # functions take attributes; mypy has no type for it
        return checked  # type: ignore[return-value]  # wraps keeps the signature

    return decorate


def read_query(schema: type[Schema], given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the query by the schema of an endpoint, or what is given in its place; empty fields count as left out.

    Raises InvalidValue.
    """
    texts = request.args if given is None else given
    try:
        query: dict[str, Any] = schema().load({name: text for name, text in texts.items() if text.strip()})
    except ValidationError as error:
        Parser().handle_error(ValidationError({"query": error.messages}))
    return query


def _is_form() -> bool:
    return request.method == "POST"


@pages.context_processor
def show_frame() -> dict[str, Any]:
    """Give each page what its frame shows: who is here, and the sections of their roles."""
    here: Caller | None = g.get(staff.HERE)
    view = current_app.view_functions.get(request.endpoint or "")
    return {
        "here": here,
        "sections": sections_of(here.roles) if here else [],
        "section": getattr(view, "section", None),
        "proof": staff.proof_of(staff.form_secret()) if here else None,
    }


@pages.after_request
def keep_out_of_caches(response: AnyResponse) -> AnyResponse:
    """Keep pages out of caches: they name sessions and amounts."""
    if response.mimetype == "text/html":
        response.headers["Cache-Control"] = "no-store"
    return response


@pages.errorhandler(Exception)
def show_error(error: Exception) -> tuple[str, int, Mapping[str, str]]:
    """Show a refusal, or a fault, as a page."""
    refusal = refusal_of(error)
    messages = [refusal.message]
    if isinstance(error, InvalidValue):
        messages = [message for found in error.errors.values() for message in found] or messages
    lacks_role = isinstance(error, _LacksRole)
    shown = render_template("console/error.html", messages=messages, lacks_role=lacks_role)
    return shown, refusal.status, refusal.headers


@pages.get("/<path:rest>")
@in_section(DASHBOARD)
def show_nothing(rest: str) -> str:  # noqa: ARG001 - Flask passes it
    """Raise NotFound, as a page, for a path that leads nowhere."""
    raise NotFound("There is no such page.")

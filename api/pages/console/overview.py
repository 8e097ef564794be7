"""The console's first page: what a role allows, and how things stand there."""

from flask import render_template
from werkzeug.wrappers import Response as AnyResponse

from api.pages.console.blueprint import in_section, pages
from api.pages.console.navigation import OVERVIEW


@pages.get("/")
@in_section(OVERVIEW)
def show_overview() -> AnyResponse | str:
    """Show the sections that the role allows."""
    return render_template("console/overview.html")

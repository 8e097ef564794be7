"""The web pages for people: the API's documentation, the shop in development, the operators' work list."""

from flask import Flask

from api.pages import docs, views, work


def install_pages(app: Flask) -> None:
    """Register the pages with the application; they are no part of its OpenAPI document."""
    for module in (docs, views, work):
        app.register_blueprint(module.pages)

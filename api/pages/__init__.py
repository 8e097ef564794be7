"""The web pages for people: the API's documentation, the shop in development, the console; and the client for pages."""

from flask import Flask

from api.pages import console, docs, moved, sdk, views
from api.pages.console.readings import install_readings


def install_pages(app: Flask) -> None:
    """Register the pages with the application; they are no part of its OpenAPI document."""
    for module in (docs, views, console, moved, sdk):
        app.register_blueprint(module.pages)
    install_readings(app)

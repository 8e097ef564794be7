"""The web pages for people, the payment page among them, and the client for pages of others."""

from flask import Flask

from api.pages import console, docs, moved, pay, sdk, views
from api.pages.console.readings import install_readings


def install_pages(app: Flask) -> None:
    """Register the pages with the application; they are no part of its OpenAPI document."""
    for module in (docs, views, console, moved, pay, sdk):
        app.register_blueprint(module.pages)
    install_readings(app)

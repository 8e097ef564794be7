"""The web pages for people: the documentation, the shop in development, the console, the payment page and its SDK."""

from flask import Flask

from api.pages import console, docs, moved, pay, sdk, views
from api.pages.console.readings import install_readings


def install_pages(app: Flask) -> None:
    """Register the pages with the application; they are no part of its OpenAPI document."""
    for module in (docs, views, console, moved, pay, sdk):
        app.register_blueprint(module.pages)
    install_readings(app)

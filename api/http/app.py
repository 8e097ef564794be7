"""The Flask application: middleware in request order, then the endpoints."""

from collections.abc import Callable
from importlib import import_module

from flask import Flask

from api.http.framework import json
from api.http.framework.application import Application
from api.http.framework.blueprint import install_warnings
from api.http.framework.error_responses import install_error_handlers
from api.http.framework.openapi import install_openapi
from api.http.framework.services import install_services
from api.http.middleware.auth import install_authentication
from api.http.middleware.cross_origin import across_origins
from api.http.middleware.headers import install_security_headers
from api.http.middleware.lean_forms import install_lean_forms
from api.http.middleware.proxies import base_url, behind_proxies
from api.http.middleware.rate_limit import install_rate_limit
from api.http.middleware.request_log import install_request_log
from api.http.middleware.request_metrics import install_metrics
from api.http.middleware.slashes import OptionalSlash
from api.http.schemas.named_enums import NAMED_ENUMS
from api.http.streaming.notifier import ChangeNotifier, install_notifier
from api.settings import Settings
from payments.services import Services

RESOURCES = (
    "api.http.resources.sessions",
    "api.http.resources.checkouts",
    "api.http.resources.stk_callbacks",
    "api.http.resources.c2b_callbacks",
    "api.http.resources.result_callbacks",
    "api.http.resources.catalogue",
    "api.http.resources.cart",
    "api.http.resources.places",
    "api.http.resources.orders",
    "api.http.resources.work_list",
    "api.http.resources.switches",
    "api.http.resources.metrics",
    "api.http.resources.reports",
    "api.http.resources.signed_blocks",
    "api.http.resources.audit_payments",
    "api.http.resources.proofs",
    "api.http.resources.audit_events",
    "api.http.resources.audit_log",
    "api.http.resources.evidence",
    "api.http.resources.audit_books",
    "api.http.resources.erasure",
    "api.http.resources.retention",
    "api.http.resources.refunds",
    "api.http.resources.session_refunds",
    "api.http.resources.webhook_endpoints",
    "api.http.resources.reconciliations",
    "api.http.resources.message_feed",
    "api.http.resources.tokens",
    "api.http.resources.health",
)
"""The modules whose `blueprint` is documented, in the order of the document."""


def create_app(
    settings: Settings,
    build_services: Callable[[], Services],
    install_pages: Callable[[Flask], None] | None = None,
) -> Application:
    """Return the application, with the web pages that `install_pages` registers. Its services are built at the first
    request that needs them, in the process that serves it, because connections do not survive a fork.

    Raises ConfigurationError where the settings for tokens cannot work.
    """
    app = Application("api.http", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = json.MAX_BODY_BYTES
    app.json = json.Json(app)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    completed = OptionalSlash(across_origins(app, settings.daftari_cors_origins))
    app.wsgi_app = behind_proxies(completed, settings.daftari_trusted_proxies)  # type: ignore[method-assign,assignment]  # Flask's way
    services = install_services(app, settings, build_services)
    install_notifier(app, ChangeNotifier(services.get, settings.daftari_web_waiters))
    install_metrics(app)
    install_error_handlers(app)
    install_request_log(app)
    install_authentication(app, settings)
    install_rate_limit(app, settings)
    install_security_headers(app)
    install_warnings(app)
    api = install_openapi(app, base_url, NAMED_ENUMS)
    blueprints = [import_module(name).blueprint for name in RESOURCES]
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    install_lean_forms(app, {name: read for each in blueprints for name, read in each.lean_reads.items()})
    if install_pages is not None:
        install_pages(app)
    return app

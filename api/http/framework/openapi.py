"""The OpenAPI 3.1 document, made from the views: security, roles and refusals included."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib.metadata import version
from threading import Lock
from typing import Any

from flask import Blueprint, Flask, Response, current_app
from flask_smorest import Api  # type: ignore[import-untyped]  # it has no types
from flask_smorest.spec.plugins import FlaskPlugin  # type: ignore[import-untyped]  # it has no types
from marshmallow import Schema, fields, validate

from api.http.framework import API_PREFIX, json
from api.http.framework.document_parts import NamedEnum, add_example, name_enums, tell_defaults
from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.error_responses import PLAIN_JSON
from api.http.framework.operation_ids import operation_id
from api.http.framework.refusals import refusals

DESCRIPTION = """\
Payments through M-Pesa for a shop: the buyer pays first, then the order is created.

Send a bearer token with every request under /api/. The slash at the end of a path is optional. Amounts in text have two
decimals; times are RFC 3339 in UTC. Accept `application/problem+json` to read errors as RFC 9457 problem details."""

EXTENSION = "daftari.api"
_SCHEME = "bearerToken"
_SUCCESS = "2"
_CONFIG = {"API_TITLE": "Daftari", "OPENAPI_VERSION": "3.1.0", "JSON_SORT_KEYS": False}


class Error(Schema):
    """An error, in the form of the checkout contract."""

    status = fields.String(required=True, validate=validate.Equal("error"))
    message = fields.String(required=True, metadata={"description": "A message for people."})
    error_code = fields.String(
        required=True,
        validate=validate.OneOf(list(ERROR_CODES)),
        metadata={"description": "A stable code for programs."},
    )
    errors = fields.Dict(
        fields.String(),
        fields.List(fields.String()),
        metadata={
            "description": "Messages by field, a nested field named with dots; only if the input is wrong."
        },
    )
    request_id = fields.String(metadata={"description": "What to report; only if the fault is ours."})


class Problem(Schema):
    """An error, as RFC 9457 problem details."""

    type = fields.String(required=True, metadata={"description": "The page that explains this code."})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    error_code = fields.String(required=True, validate=validate.OneOf(list(ERROR_CODES)))
    errors = fields.Dict(fields.String(), fields.List(fields.String()))
    request_id = fields.String()


class DocumentedApi(Api):  # type: ignore[misc]  # flask-smorest has no types
    """The registry of documented blueprints. Errors are answered by framework/error_responses.py, not by flask-smorest.

    Writing the document takes longer than making the app, and most processes never serve it: blueprints add themselves
    to it at the first request for it.
    """

    ERROR_SCHEMA = Error

    def __init__(
        self, app: Flask, base_url: Callable[[], str], enums: Mapping[str, NamedEnum], **kwargs: Any
    ) -> None:
        self.base_url = base_url
        self.enums = enums
        self.kept: dict[str, tuple[object, bytes]] = {}
        """What is made of the document once and served to all: making it takes as long as ten requests."""
        self._unwritten: list[Callable[[], None]] = []
        self._writing = Lock()
        super().__init__(app, **kwargs)

    def write_later(self, write: Callable[[], None]) -> None:
        """Register how a blueprint adds itself to the document."""
        self._unwritten.append(write)

    def document(self) -> dict[str, Any]:
        """Return the document of all blueprints as JSON-ready dictionaries, which are shared: do not change them."""
        with self._writing:
            while self._unwritten:
                self._unwritten.pop(0)()
            made: dict[str, Any] = self.spec.to_dict()
            return made

    def _register_responses(self) -> None:
        """Register only the schema of errors: what an operation can refuse is documented by `refusals`."""
        self.spec.components.schema("Error", schema=Error)

    def _register_error_handlers(self) -> None:
        return None


def install_openapi(app: Flask, base_url: Callable[[], str], enums: Mapping[str, NamedEnum]) -> DocumentedApi:
    """Create the document of an app and serve it at /openapi.json.

    `base_url` tells where clients reach the app that answers them; `enums` are those of its schemas, by their names.
    """
    app.config.update(_CONFIG, API_VERSION=version("daftari"))
    api = DocumentedApi(app, base_url, enums, spec_kwargs={"info": {"description": DESCRIPTION}})
    api.spec.components.schema("Problem", schema=Problem)
    api.spec.components.security_scheme(_SCHEME, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    app.extensions[EXTENSION] = api
    app.register_blueprint(_blueprint)
    return api


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the current app, as JSON-ready dictionaries."""
    api: DocumentedApi = current_app.extensions[EXTENSION]
    made: dict[str, Any] = deepcopy(api.document())
    made["servers"] = [{"url": api.base_url()}]
    made["components"]["schemas"].pop("PaginationMetadata", None)
    tell_defaults(made["components"]["schemas"])
    for path, method, endpoint in _documented_endpoints(made):
        operation = made["paths"][path][method]
        operation["operationId"] = operation_id(endpoint)
        _finish(operation, path, method, current_app.view_functions[endpoint])
        add_example(operation)
    return name_enums(made, api.enums)


def kept(name: str, make: Callable[[], bytes], of: object = None) -> bytes:
    """Return what `make` makes of the document of the current app, as it was made at the first request since `of`, of
    which it is made too, is another.
    """
    found: dict[str, tuple[object, bytes]] = current_app.extensions[EXTENSION].kept
    made = found.get(name)
    if made is None or made[0] != of:
        made = found[name] = (of, make())
    return made[1]


_blueprint = Blueprint("openapi", __name__)


@_blueprint.get("/openapi.json")
def openapi_json() -> Response:
    """Serve the document."""
    address = current_app.extensions[EXTENSION].base_url()
    return Response(kept("openapi.json", lambda: json.encode(document()), of=address), mimetype=PLAIN_JSON)


def _documented_endpoints(made: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (path, method, rule.endpoint)
        for rule in current_app.url_map.iter_rules()
        for path in [FlaskPlugin.flaskpath2openapi(rule.rule)]
        for method in made["paths"].get(path, {})
        if method.upper() in (rule.methods or ())
    ]


def _finish(operation: dict[str, Any], path: str, method: str, view: Any) -> None:
    """Add security and roles, and replace flask-smorest's error responses by those that are really sent."""
    needs_token = getattr(view, "is_guarded", False) or (
        path.startswith(API_PREFIX) and not getattr(view, "is_public", False)
    )
    operation["security"] = [{_SCHEME: []}] if needs_token else []
    roles = getattr(view, "required_roles", ())
    if roles:
        operation["x-roles"] = [str(role) for role in roles]
    if hasattr(view, "key_parameter"):
        operation.setdefault("parameters", []).append(view.key_parameter)
    if hasattr(view, "reason_parameter"):
        operation.setdefault("parameters", []).append(view.reason_parameter)
    responses = sorted(operation["responses"].items())
    successes = {status: response for status, response in responses if status.startswith(_SUCCESS)}
    operation["responses"] = successes | refusals(operation, path, method, view)

"""The blueprint of every resource: parses requests by our rules and documents itself in OpenAPI.

A name that no schema knows, in a query or a body, is refused like any other wrong field: a client that misspells
`amount` must not believe that it was heard. The checkout contract's endpoints and M-Pesa's are older than this rule:
views marked by `@blueprint.reports_unknown_names` ignore such names, and the response names them in WARNINGS.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote
from uuid import UUID

from flask import Flask, Response, request
from flask.globals import app_ctx, request_ctx
from flask_smorest import Blueprint  # type: ignore[import-untyped]  # it has no types
from marshmallow import EXCLUDE, Schema, ValidationError, fields
from marshmallow.exceptions import SCHEMA
from webargs.flaskparser import FlaskParser

from api.http.framework import json
from api.http.framework.application import Shown
from api.http.framework.lean import lean_dump, lean_load
from ledger.errors import wrong_fields

View = TypeVar("View", bound=Callable[..., Any])
LeanRead = Callable[[Any, Sequence[tuple[Any, UUID]]], list[Any]]
"""Of the services, and of each request its caller and the id in its path: what each is shown, or its refusal."""
WARNINGS = "Daftari-Warnings"
UNKNOWN = "There is no field of this name here."
MAX_NAMES_TOLD = 10
MAX_NAME_TOLD = 60

_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Parser(FlaskParser):
    """Parses bodies and queries; reports everything that is wrong with them in one InvalidValue."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION = {"json": None, "query": None, "headers": EXCLUDE}  # noqa: RUF012 - webargs' name; None leaves it to the schema

    def load_json(self, *_: Any, **__: Any) -> Any:
        """Read the body as one bounded JSON object."""
        return json.json_object()

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Raise marshmallow's messages as InvalidValue."""
        fields: dict[str, list[str]] = {}
        for messages in error.messages_dict.values():
            fields |= _flatten(messages)
        raise wrong_fields(fields)


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint whose views are documented by their schemas and docstrings.

    The first line of a view's docstring is its summary, the rest its description. A view returns what its schema
    dumps, or a Response, which is sent as it is.
    """

    ARGUMENTS_PARSER = Parser()
    is_lean = True
    """Whether requests are loaded and responses dumped without webargs' and flask-smorest's machinery, which document
    them. A test switches it off and compares.
    """

    def __init__(self, name: str, import_name: str, *, description: str, **kwargs: Any) -> None:
        super().__init__(name, import_name, description=description, **kwargs)
        self.lean_reads: dict[str, LeanRead] = {}
        """The lean forms of views that read, by endpoint."""

    def register_views_in_doc(self, api: Any, *args: Any, **kwargs: Any) -> None:
        """Add the views to the document of an app, once it is requested."""
        api.write_later(lambda: super(ApiBlueprint, self).register_views_in_doc(api, *args, **kwargs))

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Register a view; a slash at the end is optional for clients, whichever way the rule is written."""
        register: Callable[[View], View] = super().route(rule, **options)
        return lambda view: register(_checking_names(view))

    def reports_unknown_names(self, view: View) -> View:
        """Mark a view that ignores names it does not know, and whose response names them in WARNINGS."""
        view.reports_unknown_names = True  # type: ignore[attr-defined]  # functions take attributes; mypy has no type for it
        return view

    def arguments(
        self,
        schema: type[Schema],
        *,
        location: str = "json",
        required: bool = True,
        example: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Parse the body ("json") or the query ("query") by a schema and pass the result to the view."""
        ready = _shared(schema)
        decorate: Callable[[View], View] = super().arguments(
            ready, location=location, required=required, example=example, **options
        )
        load = _load_of(ready, location)

        def with_schema(view: View) -> View:
            full = decorate(view)

            @wraps(full)
            def lean(*args: Any, **kwargs: Any) -> Any:
                loaded = load() if self.is_lean else None
                return full(*args, **kwargs) if loaded is None else view(*args, loaded, **kwargs)

            lean.schemas = {**getattr(view, "schemas", {}), location: ready}  # type: ignore[attr-defined]  # as above
            return lean  # type: ignore[return-value]  # wraps keeps the signature

        return with_schema

    def hot(self, view: View) -> View:
        """Mark a view, for customers or public, whose requests go a shorter way to it; see lean_forms.py."""
        view.is_hot = True  # type: ignore[attr-defined]  # as above
        return view

    def lean_form_of(self, view: Callable[..., Any], schema: Schema) -> Callable[[LeanRead], LeanRead]:
        """Mark a function as what a view does for customers' plain GETs; it gives what `schema` dumps, or refusals."""
        dump = lean_dump(schema)
        assert dump is not None

        def register(read: LeanRead) -> LeanRead:
            self.lean_reads[f"{self.name}.{view.__name__}"] = lambda services, asked: [
                found if isinstance(found, Exception) else dump(found) for found in read(services, asked)
            ]
            return read

        return register

    def refuses(self, *codes: str) -> Callable[[View], View]:
        """Document the codes that a view itself returns; those of tokens, bodies and keys are added to all."""

        def decorate(view: View) -> View:
            view.refuses = codes  # type: ignore[attr-defined]  # read by the OpenAPI document
            return view

        return decorate

    def response(
        self,
        status_code: int,
        schema: type[Schema] | dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Dump what the view returns by a schema; a dictionary is the JSON Schema of a ready Response."""
        ready: Any = _shared(schema) if isinstance(schema, type) else schema
        decorate: Callable[[View], View] = super().response(status_code, ready, **options)
        dump = lean_dump(ready) if isinstance(ready, Schema) else None

        def with_schema(view: View) -> View:
            full = decorate(view)

            @wraps(full)
            def lean(*args: Any, **kwargs: Any) -> Any:
                if dump is None or not self.is_lean:
                    return full(*args, **kwargs)
                shown, status = view(*args, **kwargs), status_code
                if isinstance(shown, tuple):
                    shown, status = shown
                if isinstance(shown, Response):
                    return shown
                return Shown(json.write(dump(shown)), status)

            return lean  # type: ignore[return-value]  # wraps keeps the signature

        return with_schema

    @staticmethod
    def _make_doc_response_schema(schema: Any) -> Any:
        """Document the class: of an instance each decorator around the view would keep a copy, and of its fields."""
        return type(schema) if isinstance(schema, Schema) else schema


@cache
def _shared(schema: type[Schema]) -> Schema:
    """Return the one instance that all views share: each has copies of its class's fields."""
    return schema()


def install_warnings(app: Flask) -> None:
    """Tell a client which of the names that it sent were ignored."""

    def warn(response: Response) -> Response:
        for name, value in warnings():
            response.headers[name] = value
        return response

    app.after_request(warn)


def warnings() -> Iterator[tuple[str, str]]:
    """Yield the header that names what the current request's view has ignored, if it has."""
    names: list[str] = app_ctx.g.get("ignored_names", [])
    if names:
        told = [quote(name[:MAX_NAME_TOLD], safe=" ._-[]") for name in names[:MAX_NAMES_TOLD]]
        yield WARNINGS, ", ".join(f'"unknown name ignored: {name}"' for name in told)


def check_names() -> None:
    """Raise InvalidValue for names in the request that its view does not know, or note them for WARNINGS.

    Where the view has a schema that refuses them by itself, they are left to that, and told with everything else.
    """
    asked = request_ctx.request
    view = app_ctx.app.view_functions[asked.endpoint or ""]
    schemas: Mapping[str, Schema] = getattr(view, "schemas", {})
    unknown = {"query": list(_unknown(schemas.get("query"), asked.args)) if asked.query_string else []}
    if asked.method in _WRITING and not getattr(view, "is_public", False):
        unknown["json"] = list(_unknown(schemas.get("json"), json.json_object()))
    if getattr(view, "reports_unknown_names", False):
        app_ctx.g.ignored_names = [name for names in unknown.values() for name in names]
    elif stray := [name for place, names in unknown.items() if place not in schemas for name in names]:
        raise wrong_fields({name: [UNKNOWN] for name in stray[:MAX_NAMES_TOLD]})


def _load_of(schema: Schema, location: str) -> Callable[[], Any]:
    """Return what loads a body, or a query that is empty; it returns None where that is left to the Parser."""
    load_good = lean_load(schema)

    def load_body() -> Any:
        given = json.json_object()
        if load_good is not None:
            with suppress(ValidationError):  # The schema says all that is wrong.
                return load_good(given)
        try:
            return schema.load(given)
        except ValidationError as error:
            raise wrong_fields(_flatten(error.messages_dict)) from None

    def load_empty_query() -> Any:
        with suppress(ValidationError):  # The Parser says what is missing.
            return None if request.query_string else schema.load({})
        return None

    if location == "json":
        return load_body
    if location != "query":
        return lambda: None
    if not getattr(schema, "empty_is_constant", False):
        return load_empty_query
    empty = schema.load({})
    return lambda: None if request.query_string else empty


def _checking_names(view: View) -> View:
    """Return a view that checks names first; one that requires a role does so once the role is known."""
    if hasattr(view, "required_roles") or hasattr(view, "checks_names"):
        return view

    @wraps(view)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_names()
        return view(*args, **kwargs)

    checked.checks_names = True  # type: ignore[attr-defined]  # so that a view with several routes checks once
    return checked  # type: ignore[return-value]  # wraps keeps the signature


def _unknown(schema: Schema | None, given: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names in a query or a body that a schema does not know, a nested one with dots."""
    known: Mapping[str, Any] = schema.fields if schema is not None else {}
    for name in given:
        field = known.get(name)
        if field is None:
            yield f"{prefix}{name}"
        elif isinstance(field, fields.Nested) and isinstance(given[name], Mapping):
            yield from _unknown(field.schema, given[name], f"{prefix}{name}.")


def _flatten(messages: Mapping[str, Any], prefix: str = "") -> dict[str, list[str]]:
    """Return marshmallow's nested messages as lists by field, a nested field named with dots."""
    flat: dict[str, list[str]] = {}
    for name, given in messages.items():
        path = prefix.removesuffix(".") if name == SCHEMA and prefix else f"{prefix}{name}"
        if isinstance(given, Mapping):
            flat |= _flatten(given, f"{path}.")
        else:
            flat[path] = [str(message) for message in ([given] if isinstance(given, str) else given)]
    return flat

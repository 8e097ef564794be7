"""The blueprint that every resource is a page of: parses bodies by our rules and writes itself into OpenAPI."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from flask_smorest import Blueprint  # type: ignore[import-untyped]  # it has no types
from marshmallow import Schema, ValidationError
from marshmallow.exceptions import SCHEMA
from webargs.flaskparser import FlaskParser

from api.http.framework import json
from ledger.errors import wrong_fields

View = TypeVar("View", bound=Callable[..., Any])


class Parser(FlaskParser):
    """Reads bodies and queries; says all that is wrong with them in one InvalidValue."""

    DEFAULT_VALIDATION_STATUS = 400

    def load_json(self, *_: Any, **__: Any) -> Any:
        """Read the body as one bounded JSON object."""
        return json.json_object()

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Raise what marshmallow found as our own error."""
        fields: dict[str, list[str]] = {}
        for found in error.messages_dict.values():
            fields |= _flatten(found)
        raise wrong_fields(fields)


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint whose views are documented by their schemas and docstrings.

    The first line of a view's docstring is its summary, the rest its description. A view may return what its
    schema dumps, or a ready Response, which then passes as it is.
    """

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, import_name: str, *, description: str, **kwargs: Any) -> None:
        super().__init__(name, import_name, description=description, **kwargs)

    def register_views_in_doc(self, api: Any, *args: Any, **kwargs: Any) -> None:
        """Add the views to the document of an app, when somebody asks for it."""
        api.write_later(lambda: super(ApiBlueprint, self).register_views_in_doc(api, *args, **kwargs))

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Register a view; slashes at the end are optional for clients, whichever way the rule is written."""
        decorate: Callable[[View], View] = super().route(rule, **options)
        return decorate

    def arguments(
        self,
        schema: type[Schema] | Schema,
        *,
        location: str = "json",
        required: bool = True,
        example: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Parse the body ("json") or the query ("query") by a schema and pass the result on as an argument."""
        ready = (
            schema() if isinstance(schema, type) else schema
        )  # Of a class, each request would make a new one.
        decorate: Callable[[View], View] = super().arguments(
            ready, location=location, required=required, example=example, **options
        )
        return decorate

    def refuses(self, *codes: str) -> Callable[[View], View]:
        """Document codes that a view's own rules refuse with; those of tokens, bodies and keys go without saying."""

        def decorate(view: View) -> View:
            view.refuses = codes  # type: ignore[attr-defined]  # read by the OpenAPI document
            return view

        return decorate

    def response(
        self,
        status_code: int,
        schema: type[Schema] | Schema | dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Show what the view returns, by a schema, under a status; a dictionary is JSON Schema of a ready answer."""
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate


def _flatten(messages: Mapping[str, Any], prefix: str = "") -> dict[str, list[str]]:
    """Turn marshmallow's nested messages into sentences by field, a nested field named with dots."""
    flat: dict[str, list[str]] = {}
    for name, found in messages.items():
        path = prefix.removesuffix(".") if name == SCHEMA and prefix else f"{prefix}{name}"
        if isinstance(found, Mapping):
            flat |= _flatten(found, f"{path}.")
        else:
            flat[path] = [str(description) for description in ([found] if isinstance(found, str) else found)]
    return flat

"""The blueprint of every resource: parses requests by our rules and documents itself in OpenAPI."""

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
    """Parses bodies and queries; reports everything that is wrong with them in one InvalidValue."""

    DEFAULT_VALIDATION_STATUS = 400

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

    def __init__(self, name: str, import_name: str, *, description: str, **kwargs: Any) -> None:
        super().__init__(name, import_name, description=description, **kwargs)

    def register_views_in_doc(self, api: Any, *args: Any, **kwargs: Any) -> None:
        """Add the views to the document of an app, once it is requested."""
        api.write_later(lambda: super(ApiBlueprint, self).register_views_in_doc(api, *args, **kwargs))

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Register a view; a slash at the end is optional for clients, whichever way the rule is written."""
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
        """Parse the body ("json") or the query ("query") by a schema and pass the result to the view."""
        # A class would be instantiated anew at each request.
        ready = schema() if isinstance(schema, type) else schema
        decorate: Callable[[View], View] = super().arguments(
            ready, location=location, required=required, example=example, **options
        )
        return decorate

    def refuses(self, *codes: str) -> Callable[[View], View]:
        """Document the codes that a view itself returns; those of tokens, bodies and keys are added to all."""

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
        """Dump what the view returns by a schema; a dictionary is the JSON Schema of a ready Response."""
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate


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

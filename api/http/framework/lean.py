"""The lean forms of schemas: made from their fields, they give what marshmallow would, without its walk.

A response is dumped so if all its fields are known here, else by marshmallow. A body is loaded so if its schema says
that it loads by field; what is wrong with one is said by marshmallow alone.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

Convert = Callable[[Any], Any]
Dump = Callable[[Any], dict[str, Any]]
Load = Callable[[Any], Any]


class Unknown(Exception):
    """The lean form does not know this kind of field."""


def _same(value: Any) -> Any:
    return value


def _number(value: Any) -> Decimal:
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError("JSON has no number for an infinite or undefined amount.")
    return number


CONVERTS: dict[type[fields.Field[Any]], Convert] = {
    fields.String: str,
    fields.Integer: int,
    fields.Boolean: _same,
    fields.UUID: str,
    fields.Decimal: _number,
}
"""How a value that is not None is written, by the exact class of its field; other modules add their own classes."""


def lean_dump(schema: Schema) -> Dump | None:
    """Return a function that dumps an object as `schema` does, None where it has a field of an unknown kind."""
    try:
        return _dump_of(schema)
    except Unknown:
        return None


def _dump_of(schema: Schema) -> Dump:
    named = [(name, field.data_key or name, _convert_of(field)) for name, field in schema.dump_fields.items()]

    def dump(source: Any) -> dict[str, Any]:
        if not isinstance(source, dict):  # An object, whose attributes marshmallow reads.
            dumped: dict[str, Any] = schema.dump(source)
            return dumped
        shown = {}
        for name, key, convert in named:
            if name in source:
                value = source[name]
                shown[key] = None if value is None else convert(value)
        return shown

    return dump


def _convert_of(field: fields.Field[Any]) -> Convert:
    if type(field) is fields.Nested and not field.many:
        return _dump_of(field.schema)
    if type(field) is fields.List:
        convert = _convert_of(field.inner)
        return lambda values: [None if value is None else convert(value) for value in values]
    if type(field) not in CONVERTS:
        raise Unknown
    return CONVERTS[type(field)]


def lean_load(schema: Schema) -> Load | None:
    """Return a function that loads what `schema` finds good, and raises ValidationError for all else.

    None where the schema does not say `loads_by_field`: that it ignores unknown names, and has no hook but `made_of`.
    """
    if not getattr(schema, "loads_by_field", False):
        return None
    made_of: Load = schema.made_of  # type: ignore[attr-defined]  # every schema of requests has it
    parts = [(name, field.data_key or name, _loader_of(field)) for name, field in schema.load_fields.items()]

    def load(given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValidationError("This is no object.")
        loaded = {}
        for name, key, load_field in parts:
            value = load_field(given.get(key, missing))
            if value is not missing:
                loaded[name] = value
        return made_of(loaded)

    return load


def _loader_of(field: fields.Field[Any]) -> Load:
    if type(field) is fields.Nested and field.required and not field.many and not field.allow_none:
        return lean_load(field.schema) or field.deserialize
    return field.deserialize

"""The lean form of a response's schema: made from its fields, it gives what marshmallow would, without its walk.

It is there for schemas all of whose fields it knows; others are dumped by marshmallow.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from marshmallow import Schema, fields

Convert = Callable[[Any], Any]
Dump = Callable[[Any], dict[str, Any]]


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

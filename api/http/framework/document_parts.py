"""What the OpenAPI document says once: each enum under a name, each default in words, each example from its file."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

EXAMPLES = Path(__file__).with_name("examples")
_SCHEMAS = "#/components/schemas/"


class NamedEnum(NamedTuple):
    """What the words of an enum are about, and the words."""

    description: str
    values: Sequence[str]


def name_enums(document: dict[str, Any], enums: Mapping[str, NamedEnum]) -> dict[str, Any]:
    """Return a document in which each enum of these words, wherever it stands, refers to one component.

    Generators of clients make one type of a component, and another type at each place of an enum without a name.
    """
    names = {frozenset(enum.values): name for name, enum in enums.items()}
    named: dict[str, Any] = _named(document, names)
    for name, enum in enums.items():
        named["components"]["schemas"][name] = {
            "type": "string",
            "description": enum.description,
            "enum": list(map(str, enum.values)),
        }
    return named


def tell_defaults(schemas: Mapping[str, dict[str, Any]]) -> None:
    """Say the defaults of bodies in words.

    By their keyword, generators of TypeScript take a field for one that is always there, and demand it of callers.
    """
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            default = field.pop("default", None)
            if default is not None:
                told = f"{json.dumps(default)} where it is left out."
                field["description"] = f"{field.get('description', '')} {told}".strip()


@cache
def examples() -> dict[str, Any]:
    """Return the examples by operation id, each with `status`, `answer` and, if it has a body, `request`.

    The tests send them to a running instance, and `make examples` writes its answers.
    """
    return {
        path.stem: json.loads(path.read_text("utf-8"), parse_float=Decimal)
        for path in sorted(EXAMPLES.glob("*.json"))
    }


def add_example(operation: dict[str, Any]) -> None:
    """Add the example of an operation, if there is one, to its body and its response."""
    example = examples().get(operation["operationId"], {})
    if "request" in example:
        _media(operation["requestBody"])["example"] = example["request"]
    if "answer" in example:
        _media(operation["responses"][str(example["status"])])["example"] = example["answer"]


def _media(carrier: dict[str, Any]) -> dict[str, Any]:
    (media,) = carrier["content"].values()
    found: dict[str, Any] = media
    return found


def _named(node: Any, names: Mapping[frozenset[str], str]) -> Any:
    if isinstance(node, list):
        return [_named(part, names) for part in node]
    if not isinstance(node, dict):
        return node
    made = {key: _named(part, names) for key, part in node.items()}
    values = made.get("enum")
    if not isinstance(values, list) or (name := names.get(frozenset(values) - {None})) is None:
        return made
    rest = {key: part for key, part in made.items() if key not in ("type", "enum")}
    reference = {"$ref": f"{_SCHEMAS}{name}"}
    return rest | ({"anyOf": [reference, {"type": "null"}]} if None in values else reference)

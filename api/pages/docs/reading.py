"""The OpenAPI document prepared for a page: operations by group, fields as flat rows, a curl command for each."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from api.http.framework import json
from ledger.clock import now

MAX_DEPTH = 6
Schema = dict[str, Any]

_PLACEHOLDERS: dict[str, Any] = {
    "string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}
}  # fmt: skip
_UUID = "550e8400-e29b-41d4-a716-446655440000"
_DAYS_AHEAD = timedelta(days=7)


@dataclass(frozen=True)
class Row:
    """One field or parameter; a nested field's name has dots."""

    name: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    description: str
    roles: tuple[str, ...]
    needs_token: bool
    parameters: tuple[Row, ...]
    body: tuple[Row, ...]
    answer_status: str
    answer: tuple[Row, ...]
    curl: str

    @property
    def anchor(self) -> str:
        """The id of this operation on the page, for links."""
        return f"{self.method}{self.path}".lower().translate(str.maketrans("/{}_", "----")).strip("-")


@dataclass(frozen=True)
class Group:
    """The operations of one tag."""

    name: str
    description: str
    operations: tuple[Operation, ...]


def groups_of(document: dict[str, Any], base_url: str) -> list[Group]:
    """Return the operations of an OpenAPI document by tag, in the document's order."""
    reader = _Reader(document, base_url)
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", [])}
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                found[operation["tags"][0]].append(reader.operation(method, path, operation, shared))
    described = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    return [Group(name, described[name], tuple(found[name])) for name in found if found[name]]


class _Reader:
    def __init__(self, document: dict[str, Any], base_url: str) -> None:
        self._document = document
        self._base_url = base_url

    def operation(self, method: str, path: str, made: Schema, shared: list[Schema]) -> Operation:
        parameters = [self._resolved(p) for p in [*shared, *made.get("parameters", [])]]
        media = _json_of(made.get("requestBody", {}))
        status = next(iter(sorted(made["responses"])))
        return Operation(
            method=method.upper(),
            path=path,
            summary=made.get("summary", ""),
            description=made.get("description", ""),
            roles=tuple(made.get("x-roles", ())),
            needs_token=bool(made.get("security")),
            parameters=tuple(map(_parameter_row, parameters)),
            body=tuple(self._rows(media.get("schema", {}))),
            answer_status=status,
            answer=tuple(self._rows(_json_of(self._resolved(made["responses"][status])).get("schema", {}))),
            curl=self._curl(method.upper(), path, bool(made.get("security")), media),
        )

    def _curl(self, method: str, path: str, needs_token: bool, media: Schema) -> str:
        shown = path.replace("{session_id}", "$SESSION").replace("{", "$").replace("}", "")
        parts = ["curl" if method == "GET" else f"curl -X {method}", f'"{self._base_url}{shown}"']
        if needs_token:
            parts.append('-H "Authorization: Bearer $TOKEN"')
        if media:
            example = media.get("example") or self._example(media.get("schema", {}))
            parts.append("-H 'Content-Type: application/json'")
            parts.append("-d " + shlex.quote(json.encode(example).decode()))
        return " \\\n  ".join(parts)

    def _rows(self, schema: Schema, prefix: str = "", depth: int = MAX_DEPTH) -> Iterator[Row]:
        schema = self._resolved(schema)
        if schema.get("type") == "array":
            schema = self._resolved(schema["items"])
        for name, given in schema.get("properties", {}).items():
            part = self._resolved(given)
            path = f"{prefix}{name}"
            yield Row(path, _kind(part), name in schema.get("required", ()), part.get("description", ""))
            if depth:
                yield from self._rows(
                    part, f"{path}[]." if part.get("type") == "array" else f"{path}.", depth - 1
                )

    def _example(self, schema: Schema, depth: int = MAX_DEPTH) -> Any:
        schema = self._resolved(schema)
        if "example" in schema:
            return schema["example"]
        if "enum" in schema:
            return schema["enum"][0]
        if "properties" in schema and depth:
            return {name: self._example(part, depth - 1) for name, part in schema["properties"].items()}
        if schema.get("format") == "date":
            return f"{now() + _DAYS_AHEAD:%Y-%m-%d}"  # A day in the past would be refused.
        return _UUID if schema.get("format") == "uuid" else _PLACEHOLDERS[_type(schema)]

    def _resolved(self, schema: Schema) -> Schema:
        """Follow a reference, or one that may be null; keys beside it, such as a description, override its own."""
        for kind in ("allOf", "anyOf"):
            parts = [part for part in schema.get(kind, ()) if part != {"type": "null"}]
            if len(parts) == 1:
                whole = self._resolved(parts[0])
                nullable = {"type": [_type(whole), "null"]} if len(schema[kind]) > 1 else {}
                schema = {**whole, **nullable, **{k: v for k, v in schema.items() if k != kind}}
        if "$ref" not in schema:
            return schema
        found: Any = self._document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return {**found, **{k: v for k, v in schema.items() if k != "$ref"}}


def _json_of(carrier: Schema) -> Schema:
    media: Schema = carrier.get("content", {}).get("application/json", {})
    return media


def _parameter_row(parameter: Schema) -> Row:
    name = parameter["name"] if parameter["in"] != "header" else f"{parameter['name']} (header)"
    kind = _kind(parameter.get("schema", {}))
    return Row(name, kind, parameter.get("required", False), parameter.get("description", ""))


def _type(schema: Schema) -> str:
    kind = schema.get("type", "object")
    return next((k for k in kind if k != "null"), "object") if isinstance(kind, list) else str(kind)


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object")
    words = [" or ".join(kind) if isinstance(kind, list) else kind]
    if "format" in schema:
        words.append(f"({schema['format']})")
    if "enum" in schema:
        words.append("one of " + ", ".join(str(choice) for choice in schema["enum"]))
    if "maxLength" in schema:
        words.append(f"up to {schema['maxLength']} characters")
    return " ".join(words)

"""What the simulator's own JSON doors have in common: objects in, sentences out where something is wrong."""

from collections.abc import Mapping

from flask import Response, jsonify, request
from werkzeug.exceptions import BadRequest


def problem(status: int, error: object) -> tuple[Response, int]:
    """Return an error's sentence as JSON."""
    return jsonify(error=str(error)), status


def read_object() -> dict[str, object]:
    """Return the request's JSON object; raise BadRequest."""
    document = request.get_json(force=True, silent=True)
    if not isinstance(document, dict):
        raise BadRequest("Send a JSON object.")
    return document


def read_names(wanted: Mapping[str, object], key: str) -> list[str]:
    """Return a list of names, [] where there is none; raise BadRequest."""
    value = wanted.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest(f'{key} is a list of names, such as ["busy", "busy"].')
    return value


def read_number(document: Mapping[str, object], key: str, most: float) -> float:
    """Return a number from 0 to `most`; raise BadRequest."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise BadRequest(f"{key} is a number from 0 to {most:g}.")
    return value


def read_whole(document: Mapping[str, object], key: str, least: int, most: int) -> int:
    """Return a whole number from `least` to `most`; raise BadRequest."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{key} is a whole number from {least} to {most}.")
    return value

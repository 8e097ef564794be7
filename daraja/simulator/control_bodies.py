"""What the control endpoints have in common: objects in, error messages out."""

from collections.abc import Mapping

from flask import Response, jsonify, request
from werkzeug.exceptions import BadRequest


def problem(status: int, error: object) -> tuple[Response, int]:
    """Return an error's message as JSON."""
    return jsonify(error=str(error)), status


def read_object() -> dict[str, object]:
    """Return the request's JSON object; raise BadRequest."""
    document = request.get_json(force=True, silent=True)
    if not isinstance(document, dict):
        raise BadRequest("Send a JSON object.")
    return document


def read_names(document: Mapping[str, object], key: str) -> list[str]:
    """Return a list of names, [] if there is none; raise BadRequest."""
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadRequest(f'{key} is a list of names, such as ["busy", "busy"].')
    return value


def read_number(document: Mapping[str, object], key: str, maximum: float) -> float:
    """Return a number from 0 to `maximum`; raise BadRequest."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= maximum:
        raise BadRequest(f"{key} is a number from 0 to {maximum:g}.")
    return value


def read_whole(document: Mapping[str, object], key: str, minimum: int, maximum: int) -> int:
    """Return a whole number from `minimum` to `maximum`; raise BadRequest."""
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise BadRequest(f"{key} is a whole number from {minimum} to {maximum}.")
    return value

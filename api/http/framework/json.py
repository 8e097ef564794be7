"""JSON as the checkout contract prints it, and JSON as we accept it.

Out: amounts keep their digits (150.00), moments are whole seconds of UTC with a Z. In: one object, bounded in
size and depth, with text that PostgreSQL can store.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import msgspec
from flask import Request, Response
from flask.globals import app_ctx, request_ctx
from flask.json.provider import JSONProvider
from werkzeug.exceptions import UnsupportedMediaType

from ledger.errors import InvalidValue

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16
"""How deep objects and lists may nest in a body; the deepest that we document is 2."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_SORTING_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_SEND_AN_OBJECT = 'Send one JSON object, such as {"phone_number": "0712345678"}.'


def encode(value: object) -> bytes:
    """Write JSON: Decimal as a number with its digits, datetime as `2024-01-15T10:30:00Z`, UUID and Enum as text."""
    return _ENCODER.encode(_presentable(value))


def write(dumped: dict[str, Any]) -> bytes:
    """Write as JSON what a schema has dumped, in which moments are text and numbers finite."""
    return _ENCODER.encode(dumped)


def canonical(value: object) -> bytes:
    """Write what was read from JSON with sorted keys, so that equal values have equal bytes."""
    return _SORTING_ENCODER.encode(value)


def amount(cents: int) -> Decimal:
    """Return whole cents as shillings with two decimals, for a JSON number: 15000 is 150.00."""
    return Decimal(cents).scaleb(-2)


def amount_text(cents: int) -> str:
    """Return whole cents as text with two decimals: 35000 is "350.00"."""
    return f"{amount(cents):.2f}"


def quantity(thousandths: int) -> Decimal:
    """Return thousandths as a JSON number with as many decimals as needed, at least one: 2000 is 2.0."""
    exact = Decimal(thousandths).scaleb(-3)
    for places in (Decimal("0.1"), Decimal("0.01")):
        if exact == exact.quantize(places):
            return exact.quantize(places)
    return exact


def moment_text(moment: datetime) -> str:
    """Return an aware datetime as RFC 3339 in UTC, whole seconds, rounded down: `2024-01-15T10:30:00Z`."""
    if moment.tzinfo is None:
        raise ValueError("A moment without a time zone cannot be shown; make it aware.")
    return f"{moment.astimezone(UTC).isoformat(timespec='seconds')[:19]}Z"


def whole_body(asked: Request) -> bytes | None:
    """Return a body that lies in memory whole, as our server gives it; None for one that has to be read and bounded."""
    stream = asked.environ.get("wsgi.input")
    if type(stream) is not BytesIO:
        return None
    body = stream.getvalue()
    return body if asked.environ.get("CONTENT_LENGTH") == str(len(body)) else None


def json_object() -> dict[str, Any]:
    """Return the request's body as a dictionary; an absent body is an empty one.

    Numbers with a fraction arrive as Decimal. Raises InvalidValue MALFORMED_JSON for anything but one JSON object of
    text that can be stored, UnsupportedMediaType for another content type, and werkzeug's RequestEntityTooLarge.
    """
    state = app_ctx.g
    if "json_object" not in state:
        state.json_object = _read_object(request_ctx.request)
    return dict(state.json_object)


def _read_object(asked: Request) -> dict[str, Any]:
    body = whole_body(asked)
    if body is None or len(body) > MAX_BODY_BYTES:
        body = asked.get_data()
    if not body:
        return {}
    if asked.environ.get("CONTENT_TYPE") != "application/json" and not asked.is_json:
        raise UnsupportedMediaType
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        raise _malformed("The body is not JSON that we can read. " + _SEND_AN_OBJECT) from None
    if not isinstance(value, dict):
        raise _malformed(_SEND_AN_OBJECT)
    # Without an escaped NUL or so many brackets there is no NUL in it, and nothing that could nest so deep.
    if b"\\u0000" in body or body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _refuse_the_unstorable(value, MAX_DEPTH)
    return value


def _refuse_the_unstorable(value: object, depth_left: int) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise _malformed("The body holds a NUL character, which no text of ours may have. Remove it.")
    elif isinstance(value, dict | list):
        if depth_left == 0:
            raise _malformed(f"The body is nested deeper than {MAX_DEPTH} levels.")
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            _refuse_the_unstorable(part, depth_left - 1)


def _malformed(message: str) -> InvalidValue:
    return InvalidValue(message, code="MALFORMED_JSON")


def _presentable(value: object) -> object:
    """Return the value with its moments as text: msgspec would write them with microseconds, and NaN as it is."""
    if value is None or isinstance(value, str | int):
        return value  # Most are.
    if isinstance(value, dict):
        return {key: _presentable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_presentable(part) for part in value]
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError("JSON has no number for an infinite or undefined amount.")
    return value


class Json(JSONProvider):
    """Flask's JSON, on msgspec, by the rules above. Formatting options are ignored: there is one form."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return JSON text."""
        return encode(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Read JSON text."""
        return _DECODER.decode(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a response with a JSON body."""
        prepared = self._prepare_response_obj(args, kwargs)
        return Response(encode(prepared), mimetype="application/json")
